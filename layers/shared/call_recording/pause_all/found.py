"""A recording that is paused and resumed with others: its SID, and its call or conference."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

from call_recording import clock
from call_recording.commands.pauses import PAUSED, RUNNING, Noted, Pause, Pauses
from call_recording.deadline import Deadline
from call_recording.errors import NotNowError, TwilioUnavailableError
from call_recording.recordings.facts import moment
from call_recording.recordings.row import Row
from call_recording.recordings.table import RecordingsTable
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
        recordings: RecordingsTable,
        may_be_ours: bool,
    ) -> Noted:
        """Save that pausing the recording had no effect, if another program had paused it, directly at Twilio.

        No row says so: neither the one before the request nor the one now, in case others have paused it in between. An
        earlier attempt of the pause can have done it without a row, if it `may_be_ours`.

        Raises RowsUnavailableError, and what `note` raises.
        """
        changed_at = moment(answer.get("date_updated")) or ""
        if _paused_at(row) < changed_at:
            held = recordings.reader.get(self.sid)
            row = held if held and held["account_sid"] == pause.account_sid else None
            noted = self.note(pause, row, pauses=pauses, is_late=noted.is_late)
        if _paused_at(row) >= changed_at or (may_be_ours and not _paused_at(row)):
            return noted
        if noted.was == RUNNING:
            pauses.correct(pause, self.sid, PAUSED)
        return noted._replace(was=PAUSED, by="")

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


def _paused_at(row: Row | None) -> str:
    """Return when Twilio paused the row's recording, as far as the row knows; empty if it does not."""
    is_known = row is not None and row["status"] == PAUSED and "control" in row
    return str(row["control"]["changed_at"]) if row and is_known else ""
