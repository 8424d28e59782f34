"""What happens when a monitored pause times out: if it has not ended, an event is published."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.bus import STILL_PAUSED, Bus
from call_recording.commands.pauses import Pauses
from call_recording.control.active import MOST
from call_recording.control.asking import Asking
from call_recording.control.request import CURRENT, PAUSED, RESUMED, ControlRequest
from call_recording.control.resume_timers import ResumeTimer
from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError, ControlledSinceError
from call_recording.problems import reason
from call_recording.recordings import watches
from call_recording.recordings.facts import Control, Facts, moment
from call_recording.recordings.row import Row, as_json, recorded
from call_recording.recordings.statuses import is_open, may_be_active
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Twilio, TwilioAccount

_READS_UNTIL_SECONDS: Final = 12.0
"""Time reserved for Twilio and the bus while rows are searched: other accounts can have many under the same call."""

logger = Logger(child=True)


@dataclass(frozen=True)
class OverduePauses:
    """Everything that is needed to check a pause."""

    recordings: RecordingsTable
    twilio: Twilio
    bus: Bus
    pauses: Pauses

    def look_after(self, timer: ResumeTimer, *, deadline: Deadline) -> bool:
        """Publish an event and return True, unless the timer's pause is known to have ended.

        If that cannot be known, because Twilio's answer to the pause never reached the table or there was another
        one in the same second, the reported status is `unknown`. If the pause requested it and is certainly the
        latest change of the recording, the recording is resumed first.

        Raises EventNotPublishedError, or what reading the table raises: then the timer must be
        delivered again.
        """
        row, is_over = self._find(timer, deadline)
        if is_over:
            return False
        word = row.get("timers", {}).get(timer.name) if row else None
        is_found = word == watches.RESUMED or (word is not None and row is not None and row["status"] == PAUSED)
        detail: dict[str, Any] = {
            "timer": timer.name,
            "account_sid": timer.account_sid,
            "call_sid": timer.call_sid,
            "recording_sid": row["recording_sid"] if row else timer.recording_sid,
            "status": "paused" if is_found else "unknown",
            "paused_at": timer.asked_at,
            "resume_within_seconds": timer.resume_within_seconds,
            "auto_resume": timer.auto_resume,
            # By an earlier delivery of this timer.
            "resumed": word == watches.RESUMED,
        }
        if row and "reference" in row:
            detail["reference"] = as_json(row["reference"])
        if timer.auto_resume and row and _is_own(row, timer):
            detail |= self._resume(timer, row["recording_sid"], deadline)
        try:
            self.bus.publish(STILL_PAUSED, detail)
        except Exception:
            if row and not detail["resumed"]:
                self._note(Facts.about(row)._replace(timers={timer.name: watches.OVERDUE}))
            raise
        logger.warning("recording still paused", recording_sid=detail["recording_sid"], resumed=detail["resumed"])
        return True

    def _find(self, timer: ResumeTimer, deadline: Deadline) -> tuple[Row | None, bool]:
        """Return the row of the paused recording, if known, and whether the pause is known to have ended."""
        if timer.recording_sid != CURRENT:
            row = self._own_row(timer.recording_sid, timer)
            return row, row is not None and _has_ended(row, timer)
        rows = self.recordings.reader.all_of_call(
            timer.call_sid,
            account_sid=timer.account_sid,
            is_enough=lambda: deadline.remaining_seconds() < _READS_UNTIL_SECONDS,
        )
        for found in rows:
            if timer.name in found.get("timers", {}):
                row = self._own_row(found["recording_sid"], timer)  # the index may lag behind
                return row, row is not None and _has_ended(row, timer)
        return self._find_at_twilio(timer, deadline)

    def _find_at_twilio(self, timer: ResumeTimer, deadline: Deadline) -> tuple[Row | None, bool]:
        """Do the same if the table does not have the pause: it may be any recording that is open at Twilio."""
        try:
            listed = self.twilio.of(timer.account_sid).list_call_recordings(timer.call_sid, deadline=deadline)
        except CallRecordingError as error:
            logger.warning("recordings of the call not listed", reason=reason(error))
            return None, False
        sids = [recording["sid"] for recording in listed if is_open(recording["status"])]
        rows = self.recordings.reader.watched(sids[:MOST]) if sids else {}
        own = {sid: row for sid, row in rows.items() if row["account_sid"] == timer.account_sid}
        for row in own.values():
            if timer.name in row.get("timers", {}):
                return row, _has_ended(row, timer)
        # Twilio lists no recording also for an unknown call, and a request in flight may still be carried out.
        is_certain = bool(listed) and clock.now() >= datetime.fromisoformat(timer.asked_at) + watches.IN_FLIGHT
        return None, is_certain and all(sid in own and _has_ended(own[sid], timer) for sid in sids)

    def _own_row(self, recording_sid: str, timer: ResumeTimer) -> Row | None:
        row = self.recordings.reader.get(recording_sid)
        return row if row and row["account_sid"] == timer.account_sid else None

    def _resume(self, timer: ResumeTimer, recording_sid: str, deadline: Deadline) -> dict[str, Any]:
        twilio = self.twilio.of(timer.account_sid)
        request = ControlRequest(timer.account_sid, timer.call_sid, recording_sid, RESUMED)
        asking = Asking(twilio, request, deadline=deadline)
        held: Row = {}

        def look() -> None:
            changed_at = "" if asking.is_unknown else self._changed_at(twilio, recording_sid, deadline)
            row = self._own_row(recording_sid, timer)
            if not row or not _is_own(row, timer) or changed_at > row["control"]["changed_at"]:
                raise ControlledSinceError(recording_sid)
            if self._is_paused_with_others(timer, row):
                raise ControlledSinceError(recording_sid)
            held.update(row)

        try:
            recording = asking(look)
        except CallRecordingError as error:
            logger.exception("recording not resumed", recording_sid=recording_sid, reason=reason(error))
            return {"resumed": False, "reason": reason(error)}
        # With the timer's name, so that its second delivery recognizes who resumed.
        self._note(Facts.from_updated(recording, timer=timer.name, before=held))
        return {"resumed": True}

    def _is_paused_with_others(self, timer: ResumeTimer, row: Row) -> bool:
        """Return whether a pause of everything has found the recording, and lasts: its proof must stay true."""
        near = self.pauses.near(timer.account_sid, recorded(row) | {timer.call_sid})
        return any(pause.is_active and row["recording_sid"] in pause.recordings for pause in near)

    def _changed_at(self, twilio: TwilioAccount, recording_sid: str, deadline: Deadline) -> str:
        """Return when the recording was last changed according to Twilio, including changes that never reached the row.

        Our own attempt would look like somebody else's. Twilio refuses to resume an ended recording, and says why.
        """
        fetched = twilio.fetch_recording(recording_sid, deadline=deadline)
        return moment(fetched.get("date_updated")) or "" if is_open(fetched["status"]) else ""

    def _note(self, facts: Facts) -> None:
        try:
            self.recordings.record(facts, needs_row=True)
        except CallRecordingError as error:
            logger.exception("row not written", recording_sid=facts.recording_sid, reason=reason(error))


def _has_ended(row: Row, timer: ResumeTimer) -> bool:
    """Return whether the pause ended in time, or within the possible delay of the timer."""
    if watches.is_to_be_told(row, timer.name):
        return False
    asked_at = datetime.fromisoformat(timer.asked_at)
    ended_at = watches.ended_at(row, timer.name, unknown_until=clock.iso_seconds(asked_at + watches.UNSETTLED))
    if ended_at is None:
        return not may_be_active(row["status"])
    return ended_at <= clock.iso_seconds(timer.due_at + clock.SKEW)


def _is_own(row: Row, timer: ResumeTimer) -> bool:
    """Return whether the timer's own pause is the latest change of the recording."""
    control = Control(**row["control"]) if "control" in row else None
    return row["status"] == PAUSED and control is not None and control.timer == timer.name and control.is_surely_last
