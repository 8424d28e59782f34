"""Resumes what one pause of everything has paused, and nothing that others have paused."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.commands.pauses import RUNNING, Pause, Pauses
from call_recording.control.request import PAUSED, RESUMED
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    CallRecordingError,
    NotNowError,
    PauseEndedError,
    ResumedInPartError,
    ResumeUnprovenError,
    StillPausedError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    may_have_acted,
)
from call_recording.pause_all.found import Found
from call_recording.problems import reason
from call_recording.recordings import watches
from call_recording.recordings.facts import Control, Facts, moment
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import is_open, may_be_active
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import TwilioAccount

logger = Logger(child=True)


def resume_what_came_later(
    pause: Pause, *, twilio: TwilioAccount, recordings: RecordingsTable, pauses: Pauses, deadline: Deadline
) -> bool:
    """Resume what was paused after the pause had ended; return whether it has ended.

    The request that ended it cannot know of that, and nothing else would ever resume it.

    Raises what Resume.run raises.
    """
    now = pauses.of(pause.account_sid, pause.call_sid)
    if now is None or now.name != pause.name or now.is_active:
        return False
    Resume(now, twilio=twilio, recordings=recordings, pauses=pauses, deadline=deadline).run()
    return True


class Resume:
    """One attempt to resume; it continues an earlier one. `is_done` once Twilio has resumed everything."""

    def __init__(
        self,
        pause: Pause,
        *,
        twilio: TwilioAccount,
        recordings: RecordingsTable,
        pauses: Pauses,
        deadline: Deadline,
    ) -> None:
        self._pause = pause
        self._twilio = twilio
        self._recordings = recordings
        self._pauses = pauses
        self._deadline = deadline
        self._resumed: list[dict[str, str]] = []
        self._left_paused: list[dict[str, str]] = []
        self._errors: dict[str, CallRecordingError] = {}
        self._unwritten: CallRecordingError | None = None
        self.is_done = False

    def run(self) -> dict[str, Any]:
        """Resume the recordings that ran before the pause; return what was resumed, and what was left paused.

        Recordings stay paused if they were paused before, somebody paused them since, or another pause found them, too.

        Raises StillPausedError or ResumeUnprovenError with what is known by then, StateUnavailableError,
        RowsUnavailableError, and what RecordingsTable.record raises if a row could not be written.
        """
        owners = {Found.noted(sid, entry).owner_sid for sid, entry in self._pause.recordings.items()}
        near = self._pauses.near(self._pause.account_sid, self._pause.covered | owners)
        others = [other for other in near if other.is_active and other.call_sid != self._pause.call_sid]
        rows = self._recordings.reader.watched(list(self._pause.recordings))
        for sid, entry in self._pause.recordings.items():
            self._resume(sid, entry, rows.get(sid), others)
        if self._errors:
            raise self._failure()
        self.is_done = True
        if self._unwritten:
            raise self._unwritten
        return {"resumed": self._resumed, "left_paused": self._left_paused}

    def _resume(self, sid: str, entry: Mapping[str, Any], row: Row | None, others: list[Pause]) -> None:
        if row and not may_be_active(row["status"]):
            return
        if entry["was"] != RUNNING:
            # The row may not know that it is paused: an attempt to pause it could not write it.
            if row is None or row["status"] == PAUSED or not self._pause.may_precede(row):
                self._left_paused.append({"sid": sid})
        elif any(self._hand_over(sid, other) for other in others if sid in other.recordings):
            self._left_paused.append({"sid": sid})
        else:
            try:
                is_ours = self._is_ours(sid, entry, row)
            except CallRecordingError as error:
                self._errors[sid] = error
                return
            if is_ours:
                self._ask(sid, entry, row)
            elif is_ours is not None:
                self._left_paused.append({"sid": sid})

    def _hand_over(self, sid: str, other: Pause) -> bool:
        """Let the recording belong to that pause, and be resumed with it; return whether it has not ended by now."""
        try:
            self._pauses.correct(other, sid, RUNNING)
        except PauseEndedError:
            return False
        return True

    def _is_ours(self, sid: str, entry: Mapping[str, Any], row: Row | None) -> bool | None:
        """Return whether only pauses of everything changed the recording since this one, as far as row and Twilio know.

        Another one that also found it may have ended before. None if the latest change was that somebody resumed it.
        """
        if not row or "control" not in row:
            return True  # neither the answer to our pause nor a later one reached the row
        control = Control(**row["control"])
        is_own = control.is_of_everything
        if not control.is_surely_last or (row["status"] == PAUSED and not is_own):
            return False
        if row["status"] != PAUSED and is_own:
            return None  # by an earlier attempt
        fetched = self._twilio.fetch_recording(sid, deadline=self._deadline)
        changed_at = moment(fetched.get("date_updated")) or ""
        if not is_open(fetched["status"]) or changed_at <= control.changed_at:
            return is_own or None
        asked_at = entry.get("resuming_at")  # by an earlier attempt, whose answer never arrived
        until = datetime.fromisoformat(asked_at) + watches.UNSETTLED if asked_at else None
        return is_own and until is not None and changed_at <= clock.iso_seconds(until)

    def _ask(self, sid: str, entry: Mapping[str, Any], row: Row | None) -> None:
        found = Found.noted(sid, entry)
        # Once it has ended, nobody retries. Until then it may still be in progress, and learn whose the recording was.
        if self._pause.is_active and self._pauses.note_resuming(self._pause, sid)["was"] != RUNNING:
            self._left_paused.append({"sid": sid})
            return
        try:
            recording, _ = found.change_in_time(self._twilio, [("Status", RESUMED)], deadline=self._deadline)
        except (CallNotInProgressError, TwilioNotFoundError):
            return  # it has ended: there is nothing to resume
        except (TwilioRefusedError, TwilioUnavailableError) as error:
            self._errors[sid] = error
            return
        self._resumed.append({"sid": sid})
        try:
            self._recordings.record(Facts.from_updated(recording, by=self._pause.by, before=row))
        except CallRecordingError as error:
            logger.exception("row of a resumed recording not written", recording_sid=sid, reason=reason(error))
            self._unwritten = error

    def _failure(self) -> ResumedInPartError:
        is_unknown = any(isinstance(e, NotNowError) or may_have_acted(e) for e in self._errors.values())
        error = ResumeUnprovenError() if is_unknown else StillPausedError()
        error.still_paused = [{"sid": sid, "reason": reason(why)} for sid, why in self._errors.items()]
        error.resumed, error.left_paused = self._resumed, self._left_paused
        return error
