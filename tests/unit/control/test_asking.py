"""A change is asked for until Twilio answers, and never again where that could be another change."""

from typing import Any

import pytest

from call_recording.control.asking import Asking
from call_recording.control.request import CURRENT, PAUSED, ControlRequest
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallRecordingError,
    ControlledSinceError,
    NotActionableError,
    OutcomeUnknownError,
    RateLimitedError,
    TwilioRefusedError,
    TwilioUnavailableError,
    TwilioUnreachableError,
)
from tests.conftest import Time

ACCOUNT, CALL, SID = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
PAUSED_RECORDING = {"sid": SID, "status": PAUSED}
REFUSED = TwilioRefusedError(http_status=400, code=21220, message="no")
BUSY = NotActionableError(http_status=408, code=16114, message="no")
LIMITED = RateLimitedError(retry_after_seconds=1, code=20429, message="slowly", more_info=None)
UNAVAILABLE = TwilioUnavailableError("Twilio answered 500")
UNREACHABLE = TwilioUnreachableError("no connection")


class Script:
    """A Twilio that raises these errors, one at a time, and then does what it is asked."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.deadlines: list[Deadline] = []

    def update_call_recording(
        self, call_sid: str, recording_sid: str, form: list[tuple[str, str]], *, deadline: Deadline
    ) -> Any:
        self.asked.append((call_sid, recording_sid, dict(form)))
        self.deadlines.append(deadline)
        if self.errors:
            raise self.errors.pop(0)
        return PAUSED_RECORDING


def asking(twilio: Any, recording_sid: str = SID, *, seconds: float = 20) -> Asking:
    return Asking(twilio, ControlRequest(ACCOUNT, CALL, recording_sid, PAUSED), deadline=Deadline(seconds))


def nothing() -> None:
    """Speak against nothing."""


def test_what_is_asked_for_is_what_twilio_is_told_within_the_deadline(time: Time) -> None:
    twilio = Script()
    made = asking(twilio)

    assert made(nothing) == PAUSED_RECORDING
    assert twilio.asked == [(CALL, SID, {"Status": PAUSED})]
    assert not made.is_unknown
    assert [deadline.remaining_seconds() for deadline in twilio.deadlines] == [20]


@pytest.mark.parametrize("recording_sid", [SID, CURRENT])
@pytest.mark.parametrize("error", [LIMITED, BUSY, UNREACHABLE], ids=["rate limited", "busy", "unreachable"])
def test_what_was_surely_not_done_is_asked_for_again(time: Time, recording_sid: str, error: Exception) -> None:
    made = asking(twilio := Script(error), recording_sid)

    assert made(nothing) == PAUSED_RECORDING
    assert len(twilio.asked) == 2
    assert not made.is_unknown


def test_what_may_have_been_done_is_asked_for_again_of_a_recording_with_a_name_alone(time: Time) -> None:
    made = asking(twilio := Script(UNAVAILABLE))
    assert made(nothing) == PAUSED_RECORDING
    assert (len(twilio.asked), made.is_unknown) == (2, True)

    made = asking(twilio := Script(UNAVAILABLE), CURRENT)
    with pytest.raises(TwilioUnavailableError):
        made(nothing)
    assert (len(twilio.asked), made.is_unknown) == (1, True)


def test_a_refusal_is_that_unless_it_may_have_been_done_before(time: Time) -> None:
    with pytest.raises(TwilioRefusedError):
        asking(twilio := Script(REFUSED))(nothing)
    assert len(twilio.asked) == 1

    with pytest.raises(OutcomeUnknownError):
        asking(Script(UNAVAILABLE, REFUSED))(nothing)
    with pytest.raises(OutcomeUnknownError):
        asking(Script(UNAVAILABLE, LIMITED, REFUSED))(nothing)


def test_what_stays_unavailable_is_that(time: Time) -> None:
    with pytest.raises(TwilioUnavailableError) as raised:
        asking(Script(*[UNAVAILABLE] * 20))(nothing)

    assert raised.value is UNAVAILABLE


def test_a_look_comes_before_each_attempt_and_what_it_raises_is_the_end(time: Time) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(len(twilio.asked))

    asking(twilio := Script(UNAVAILABLE, UNAVAILABLE))(look)
    assert looks == [0, 1, 2]

    def refuse() -> None:
        if twilio.asked:
            raise error

    for error in (ControlledSinceError(SID), LIMITED):
        twilio = Script(*[UNAVAILABLE] * 20)
        expected: type[CallRecordingError] = type(error) if error is not LIMITED else OutcomeUnknownError
        with pytest.raises(expected):
            asking(twilio)(refuse)
        assert len(twilio.asked) == 1


def test_without_time_for_an_answer_nothing_is_sent(time: Time) -> None:
    with pytest.raises(TwilioUnreachableError):
        asking(twilio := Script(), seconds=1.9)(nothing)

    assert twilio.asked == []
