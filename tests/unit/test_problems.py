"""Every error has one HTTP answer, and says it as a problem document."""

import json

import pytest

from call_recording import errors
from call_recording.errors import CALLER, OURS, TWILIO, CallRecordingError, RateLimitedError
from call_recording.http.responses import problem_response
from call_recording.problems import _ANSWERS, _CAUSES, cause, http_status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallRecordingError)]


def test_every_problem_is_named_once() -> None:
    names = [name for _, name, _ in _ANSWERS.values()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_an_answer(kind: type[CallRecordingError]) -> None:
    assert 400 <= http_status(kind.__new__(kind)) < 600


def test_every_error_that_has_an_answer_of_its_own_has_a_cause_of_its_own() -> None:
    assert _CAUSES.keys() == _ANSWERS.keys(), "a new one must say who can change it"
    assert set(_CAUSES.values()) == {CALLER, TWILIO, OURS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_told_to_be_the_caller_s_mistake_is_never_ours(kind: type[CallRecordingError]) -> None:
    error = kind.__new__(kind)

    assert cause(error) in (CALLER, TWILIO, OURS)
    if 400 <= http_status(error) < 500:
        assert cause(error) != OURS
    if http_status(error) == 500:
        assert cause(error) == OURS


def test_an_exception_that_nobody_expected_is_ours() -> None:
    assert cause(KeyError("sid")) == OURS


def test_waiting_is_named_where_it_helps() -> None:
    error = RateLimitedError(retry_after_seconds=None, code=20429, message="Too many", more_info=None)

    answer = problem_response(error)

    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "1")
    assert json.loads(answer["body"])["status"] == 503
