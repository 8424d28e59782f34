"""A recording as it is paused and resumed with others: by its SID, below the call or the conference that it is of."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import NotNowError, TwilioUnavailableError
from call_recording.recordings.row import Row
from call_recording.twilio.api import RecordingResource, TwilioAccount
from call_recording.twilio.patience import Patience

_CALL: Final = "call"
_CONFERENCE: Final = "conference"


class Found(NamedTuple):
    """A recording, and what it is of: a `call` or a `conference`, and the SID of that."""

    sid: str
    of_a: Literal["call", "conference"]
    owner_sid: str

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return what the row names. One of a conference names a call, too, but is not among that call's recordings."""
        if "conference_sid" in row:
            return cls(row["recording_sid"], _CONFERENCE, row["conference_sid"])
        return cls(row["recording_sid"], _CALL, row["call_sid"])

    @classmethod
    def noted(cls, recording_sid: str, entry: Mapping[str, Any]) -> Self:
        """Return what a pause has noted of it."""
        of_a: Any = _CONFERENCE if _CONFERENCE in entry else _CALL
        return cls(recording_sid, of_a, entry[of_a])

    def entry(self, was: str, *, is_late: bool = False) -> dict[str, Any]:
        """Return what a pause notes of it."""
        return {"was": was, self.of_a: self.owner_sid} | ({"late": True} if is_late else {})

    def change(
        self, twilio: TwilioAccount, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        """Ask Twilio once to change it as the form says; return what it answers, and raise what TwilioAccount does."""
        change = twilio.update_conference_recording if self.of_a == _CONFERENCE else twilio.update_call_recording
        return change(self.owner_sid, self.sid, form, deadline=deadline)

    def change_in_time(
        self, twilio: TwilioAccount, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> tuple[RecordingResource, bool]:
        """Do the same until Twilio answers; return that, and whether it is known that nothing changed by it.

        Nobody knows where Twilio was asked more than once.
        """
        patience = Patience(NotNowError, TwilioUnavailableError, deadline=deadline)
        asked: list[float] = []

        def attempt() -> RecordingResource:
            patience.refuse_without_time()
            asked.append(clock.monotonic())
            return self.change(twilio, form, deadline=deadline)

        recording = patience(attempt)
        return recording, len(asked) == 1 and recording.was_so_before(clock.monotonic() - asked[0])
