"""A recording that is paused and resumed with others: its SID, and its call or conference."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from call_recording import clock
from call_recording.commands.pauses import Noted, Pause, Pauses
from call_recording.deadline import Deadline
from call_recording.errors import NotNowError, TwilioUnavailableError
from call_recording.recordings.facts import moment
from call_recording.recordings.row import Row
from call_recording.twilio.api import RecordingResource, TwilioAccount
from call_recording.twilio.patience import Patience

_CALL: Final = "call"
_CONFERENCE: Final = "conference"


class Found(NamedTuple):
    """A recording, and its source: a `call` or a `conference`, with its SID."""

    sid: str
    of_a: Literal["call", "conference"]
    owner_sid: str

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the row's recording. One of a conference also names a call, but is not in that call's list."""
        if "conference_sid" in row:
            return cls(row["recording_sid"], _CONFERENCE, row["conference_sid"])
        return cls(row["recording_sid"], _CALL, row["call_sid"])

    @classmethod
    def noted(cls, recording_sid: str, entry: Mapping[str, Any]) -> Self:
        """Return the recording from a pause's item."""
        of_a: Any = _CONFERENCE if _CONFERENCE in entry else _CALL
        return cls(recording_sid, of_a, entry[of_a])

    def note(self, pause: Pause, row: Row | None, *, pauses: Pauses, is_late: bool) -> Noted:
        """Save the recording with the pause before it is paused: see `Pauses.note`."""
        return pauses.note(pause, self.sid, {self.of_a: self.owner_sid}, row, is_late=is_late)

    def note_unchanged(  # noqa: PLR0913 (what there is to know of it)
        self,
        pause: Pause,
        noted: Noted,
        answer: RecordingResource,
        row: Row | None,
        *,
        pauses: Pauses,
        may_be_ours: bool,
    ) -> Noted:
        """Save that pausing the recording had no effect: see `Pauses.note_unchanged`."""
        changed_at = moment(answer.get("date_updated")) or ""
        return pauses.note_unchanged(pause, self.sid, noted, row, changed_at=changed_at, may_be_ours=may_be_ours)

    def change(
        self, twilio: TwilioAccount, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> RecordingResource:
        """Send the change to Twilio once; return the answer, and raise what TwilioAccount raises."""
        change = twilio.update_conference_recording if self.of_a == _CONFERENCE else twilio.update_call_recording
        return change(self.owner_sid, self.sid, form, deadline=deadline)

    def change_in_time(
        self, twilio: TwilioAccount, form: Sequence[tuple[str, str]], *, deadline: Deadline
    ) -> tuple[RecordingResource, bool]:
        """Do the same until Twilio answers; return the answer, and whether the change is known to have had no effect.

        That is not known if Twilio was asked more than once.
        """
        patience = Patience(NotNowError, TwilioUnavailableError, deadline=deadline)
        asked: list[float] = []

        def attempt() -> RecordingResource:
            patience.refuse_without_time()
            asked.append(clock.monotonic())
            return self.change(twilio, form, deadline=deadline)

        recording = patience(attempt)
        return recording, len(asked) == 1 and recording.was_so_before(clock.monotonic() - asked[0])
