"""Asking Twilio to pause, resume or stop, until it answers: never again where that could be another change."""

from collections.abc import Callable

from call_recording.control.request import CURRENT, ControlRequest
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallRecordingError,
    ControlledSinceError,
    NotNowError,
    OutcomeUnknownError,
    TwilioUnavailableError,
    TwilioUnreachableError,
    may_have_acted,
)
from call_recording.twilio.api import RecordingResource, TwilioAccount
from call_recording.twilio.patience import Patience


class Asking:
    """One change, asked for by one delivery. `is_unknown` is true once Twilio may have done it without saying so.

    What it surely did not do is asked for again; what it may have done only of a recording that is named by its SID:
    `Twilio.CURRENT` could name another one by then.
    """

    def __init__(self, twilio: TwilioAccount, request: ControlRequest, *, deadline: Deadline) -> None:
        self.twilio = twilio
        self.request = request
        self.is_unknown = False
        self._deadline = deadline

    def __call__(self, look: Callable[[], None]) -> RecordingResource:
        """Return what Twilio answers.

        `look` is called before each attempt, and raises what speaks against it.

        Raises OutcomeUnknownError where Twilio refused only after it may have acted, and what `look` and
        TwilioAccount.update_call_recording raise.
        """
        again = TwilioUnreachableError if self.request.recording_sid == CURRENT else TwilioUnavailableError
        patience = Patience(NotNowError, again, deadline=self._deadline)

        def attempt() -> RecordingResource:
            look()
            patience.refuse_without_time()
            return self._once()

        try:
            return patience(attempt)
        except CallRecordingError as error:
            if self.is_unknown and not (may_have_acted(error) or isinstance(error, ControlledSinceError)):
                raise OutcomeUnknownError("changed the recording") from error
            raise

    def _once(self) -> RecordingResource:
        try:
            return self.twilio.update_call_recording(
                self.request.call_sid, self.request.recording_sid, self.request.to_form(), deadline=self._deadline
            )
        except CallRecordingError as error:
            self.is_unknown = self.is_unknown or may_have_acted(error)
            raise
