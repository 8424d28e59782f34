"""Deletes a recording permanently: at Twilio and in the archive, with a receipt and a tombstone in the table."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from call_recording import clock
from call_recording.archive.bucket import Archive
from call_recording.archive.custody import Custody, until
from call_recording.deadline import Deadline
from call_recording.errors import (
    CredentialsRefusedError,
    NotNowError,
    RecordingNotFinishedError,
    RecordingNotFoundError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
)
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import WITHOUT_AUDIO, is_open
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Twilio, TwilioAccount
from call_recording.twilio.patience import Patience

REMOVED: Final = "removed"
GONE_BEFORE: Final = "gone-before"
"""Somebody else deleted it, or a request whose answer was lost."""

NEVER_THERE: Final = "never-there"
"""There was nothing to remove."""

_TWILIO_FORGETS_AFTER: Final = timedelta(days=40)
"""How long Twilio keeps a deleted recording's resource."""


@dataclass(frozen=True)
class Deleter:
    """Everything that is needed to delete a recording."""

    recordings: RecordingsTable
    twilio: Twilio
    default_account_sid: str
    archive: Archive

    @property
    def custody(self) -> Custody:
        """Decides whether audio may be deleted."""
        return Custody(self.archive)

    def delete(
        self,
        recording_sid: str,
        *,
        account_sid: str | None,
        asked_by: str,
        deadline: Deadline,
    ) -> dict[str, Any]:
        """Return the receipt: who asked, when, and what was removed where.

        A recording that was deleted before keeps its first receipt. Everything here can be repeated:
        if an answer is lost, a retry returns the receipt.

        Raises RecordingNotFoundError (neither the table nor Twilio has it, or it belongs to another
        account), RecordingNotFinishedError, ArchiveLockedError, credential errors, TwilioRefusedError or
        TwilioUnavailableError and their kinds, or what RecordingsTable.record raises.
        """
        row = self.recordings.reader.get(recording_sid)
        if row and account_sid not in {None, row["account_sid"]}:
            raise RecordingNotFoundError(recording_sid)
        if row and "deletion" in row:
            return self._receipt(row)
        owner = row["account_sid"] if row else account_sid or self.default_account_sid
        twilio = self.twilio.of(owner)
        patience = Patience(NotNowError, TwilioUnavailableError, deadline=deadline)
        if row is None:
            row = patience(self._adopt, twilio, recording_sid, deadline)
        # From here on no function starts to store its audio, which Object Lock could protect.
        row = self.recordings.note(row, deleting_until=until(deadline))
        if "deletion" in row:
            return self._receipt(row)
        self.custody.refuse_if_locked(row)
        at_twilio = patience(self._delete_at_twilio, twilio, row, deadline)
        in_archive = self._delete_in_archive(row)
        receipt = {
            "recording_sid": recording_sid,
            "account_sid": owner,
            **({"call_sid": row["call_sid"]} if "call_sid" in row else {}),
            "requested_by": asked_by,
            "deleted_at": clock.iso_milliseconds(clock.now()),
            "removed": {"twilio": at_twilio, "archive": in_archive},
        }
        self.recordings.record(Facts.gone(recording_sid, owner, deletion=receipt))
        return self._receipt(self.recordings.reader.one(recording_sid))

    def _receipt(self, tombstone: Row) -> dict[str, Any]:
        """Return the first receipt, which counts, and remove audio that was being archived meanwhile.

        A function that stores audio after this sees the tombstone.
        """
        self.custody.remove(tombstone)
        return dict(tombstone["deletion"])

    def _delete_in_archive(self, row: Row) -> str:
        if self.custody.remove(row):
            return REMOVED
        return GONE_BEFORE if "archive" in row else NEVER_THERE

    def _adopt(self, twilio: TwilioAccount, recording_sid: str, deadline: Deadline) -> Row:
        """Create a row for a recording that only Twilio has, so that its tombstone says what it was."""
        try:
            fetched = twilio.fetch_recording(recording_sid, deadline=deadline)
        except TwilioNotFoundError as error:
            raise RecordingNotFoundError(recording_sid) from error
        if fetched["account_sid"] != twilio.account_sid:
            raise RecordingNotFoundError(recording_sid)
        self.recordings.record(Facts.from_fetched(fetched))
        return self.recordings.reader.one(recording_sid)

    def _delete_at_twilio(self, twilio: TwilioAccount, row: Row, deadline: Deadline) -> str:
        if row["status"] in WITHOUT_AUDIO and not self._is_completed_after_all(twilio, row, deadline):
            return NEVER_THERE  # Twilio deletes only completed recordings, and would always refuse
        try:
            twilio.delete_recording(row["recording_sid"], deadline=deadline)
        except (NotNowError, CredentialsRefusedError):
            raise
        except TwilioRefusedError as error:
            return self._gone(twilio, row, error, deadline)
        return REMOVED

    @staticmethod
    def _is_completed_after_all(twilio: TwilioAccount, row: Row, deadline: Deadline) -> bool:
        """Return whether Twilio has audio of a recording that ended without audio according to its row."""
        try:
            status = twilio.fetch_recording(row["recording_sid"], deadline=deadline)["status"]
        except TwilioNotFoundError:
            return False
        if is_open(status):
            raise RecordingNotFinishedError(row["recording_sid"])
        return status not in WITHOUT_AUDIO

    @staticmethod
    def _gone(twilio: TwilioAccount, row: Row, refusal: TwilioRefusedError, deadline: Deadline) -> str:
        """Return the state of a recording that Twilio does not delete, or raise if it may still exist.

        A 404 can also mean the wrong region. Twilio shows a deleted recording's resource for
        40 days. After that, Twilio's own 404 is the only evidence.
        """
        try:
            status = twilio.fetch_recording(row["recording_sid"], deadline=deadline)["status"]
        except TwilioNotFoundError:
            is_old = row["start_time"] < clock.iso_seconds(clock.now() - _TWILIO_FORGETS_AFTER)
            if isinstance(refusal, TwilioNotFoundError) and refusal.code is not None and is_old:
                return GONE_BEFORE
            raise refusal from None
        if status == "deleted":
            return GONE_BEFORE
        if status in WITHOUT_AUDIO:
            return NEVER_THERE
        if is_open(status) or is_open(row["status"]):
            raise RecordingNotFinishedError(row["recording_sid"]) from refusal
        raise refusal
