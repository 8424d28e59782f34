"""Deleting a recording for good: at Twilio and in the archive, with a receipt, leaving a tombstone in the table."""

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
"""Somebody else had deleted it, or it was deleted by a request whose answer was lost."""

NEVER_THERE: Final = "never-there"
"""There was nothing to remove."""

_TWILIO_FORGETS_AFTER: Final = timedelta(days=40)
"""How long Twilio shows a deleted recording's resource."""


@dataclass(frozen=True)
class Deleter:
    """Everything that deleting a recording needs."""

    recordings: RecordingsTable
    twilio: Twilio
    default_account_sid: str
    archive: Archive

    @property
    def custody(self) -> Custody:
        """What decides whether audio may go."""
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

        A recording that was deleted before has its first receipt still. Everything here can be done
        again: when an answer is lost, asking once more gives the receipt.

        Raises RecordingNotFoundError (neither the table nor Twilio knows it, or it is another
        account's), RecordingNotFinishedError, ArchiveLockedError, credential errors, TwilioRefusedError or
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
        # From here on nobody begins to store its audio, which Object Lock could keep.
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
        """Return the receipt that counts, the first one, and leave nothing that was being archived meanwhile.

        Whoever stores audio after this sees the tombstone.
        """
        self.custody.remove(tombstone)
        return dict(tombstone["deletion"])

    def _delete_in_archive(self, row: Row) -> str:
        if self.custody.remove(row):
            return REMOVED
        return GONE_BEFORE if "archive" in row else NEVER_THERE

    def _adopt(self, twilio: TwilioAccount, recording_sid: str, deadline: Deadline) -> Row:
        """Give a recording that only Twilio knows a row, so that its tombstone says what it was."""
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
            return NEVER_THERE  # Twilio deletes completed recordings only, and would refuse for ever
        try:
            twilio.delete_recording(row["recording_sid"], deadline=deadline)
        except (NotNowError, CredentialsRefusedError):
            raise
        except TwilioRefusedError as error:
            return self._gone(twilio, row, error, deadline)
        return REMOVED

    @staticmethod
    def _is_completed_after_all(twilio: TwilioAccount, row: Row, deadline: Deadline) -> bool:
        """Tell whether there is audio at Twilio of a recording whose row says that it ended without."""
        try:
            status = twilio.fetch_recording(row["recording_sid"], deadline=deadline)["status"]
        except TwilioNotFoundError:
            return False
        if is_open(status):
            raise RecordingNotFinishedError(row["recording_sid"])
        return status not in WITHOUT_AUDIO

    @staticmethod
    def _gone(twilio: TwilioAccount, row: Row, refusal: TwilioRefusedError, deadline: Deadline) -> str:
        """Return what became of a recording that Twilio does not delete, or raise what speaks against its being gone.

        A 404 can also mean that we asked in the wrong region. Twilio shows a deleted recording's resource for
        40 days. Only then its own 404 must do.
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
