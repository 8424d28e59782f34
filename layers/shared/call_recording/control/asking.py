"""Asks Twilio to pause, resume or stop, until it answers, but never repeats what could be another change."""

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
    """One change, requested by one delivery. `is_unknown` is true if Twilio may have made it without confirming it.

    What Twilio certainly did not do is retried; what it may have done, only for a recording that is named by its SID:
    `Twilio.CURRENT` could be another one by then.
    """

    def __init__(self, twilio: TwilioAccount, request: ControlRequest, *, deadline: Deadline) -> None:
        self.twilio = twilio
        self.request = request
        self.is_unknown = False
        self._deadline = deadline

    def __call__(self, look: Callable[[], None]) -> RecordingResource:
        """Return Twilio's answer.

        `look` is called before each attempt, and raises if the attempt must not be made.

        Raises OutcomeUnknownError if Twilio refused only after it may have acted, and what `look` and
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
