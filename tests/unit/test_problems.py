"""Every error has one HTTP answer, and says it as a problem document."""

import json

import pytest

from call_recording import errors
from call_recording.errors import CallRecordingError, RateLimitedError
from call_recording.http.responses import problem_response
from call_recording.problems import _ANSWERS, http_status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CallRecordingError)]


def test_every_problem_is_named_once() -> None:
    names = [name for _, name, _ in _ANSWERS.values()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_an_answer(kind: type[CallRecordingError]) -> None:
    assert 400 <= http_status(kind.__new__(kind)) < 600


def test_waiting_is_named_where_it_helps() -> None:
    error = RateLimitedError(retry_after_seconds=None, code=20429, message="Too many", more_info=None)

    answer = problem_response(error)

    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "1")
    assert json.loads(answer["body"])["status"] == 503
