"""Pausing, resuming and stopping a recording, and noticing a pause that nobody ended."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aws_lambda_powertools import Logger

from call_recording.bus import STILL_PAUSED, Bus
from call_recording.control.request import CURRENT, PAUSED, RESUMED, ControlRequest
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline, refuse_if_too_old
from call_recording.errors import (
    CallRecordingError,
    OutcomeUnknownError,
    RateLimitedError,
    SeveralActiveRecordingsError,
    TwilioUnavailableError,
    TwilioUnreachableError,
    may_have_acted,
)
from call_recording.problems import reason
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import ACTIVE, is_open, may_be_active
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, TwilioAccount
from call_recording.twilio.patience import Patience

_MOST_CANDIDATES: Final = 100

logger = Logger(child=True)


@dataclass(frozen=True)
class Controller:
    """Everything that controlling a recording needs."""

    accounts: Accounts
    recordings: RecordingsTable
    twilio: Twilio
    timers: ResumeTimers
    bus: Bus

    def control(
        self, request: ControlRequest, *, deadline: Deadline, sent_at: datetime | None = None
    ) -> dict[str, Any]:
        """Return Twilio's recording resource after the change, which then is in the table too.

        A watched pause has its timer before Twilio is asked: whatever happens in between, somebody
        will hear of it. `sent_at` is when the request was sent, for requests that can grow old on
        their way.

        Raises RequestTooOldError, UnknownAccountError and the other credential errors,
        TimerNotSetError, TwilioRefusedError or TwilioUnavailableError and their kinds, or what
        RecordingsTable.record raises.
        """
        self.twilio.credentials.get(request.account_sid)
        self.accounts.note(request.account_sid)
        if request.resume_within_seconds is None:
            return self._merge(self._ask(request, deadline=deadline, sent_at=sent_at), timer="")
        timer = ResumeTimer.of(
            request, name=self.timers.new_name(), resume_within_seconds=request.resume_within_seconds
        )
        refuse_if_too_old(sent_at)
        self.timers.set(timer, json.dumps(timer.as_event()))
        try:
            recording = self._ask(request, deadline=deadline, sent_at=sent_at)
        except CallRecordingError as error:
            # A timer that cannot be taken back raises a false alarm, no more.
            if not may_have_acted(error) and not self.timers.cancel(timer):
                logger.warning("timer of a pause that was refused could not be taken back", timer=timer.name)
            raise
        return self._merge(recording, timer=timer.name)

    def on_timer(self, timer: ResumeTimer, *, deadline: Deadline) -> bool:
        """Tell the bus, and return True, if the pause that the timer watches over has not ended.

        If the pause asked for it, the recording is resumed first. That Twilio's answer to the pause
        never reached the table counts as paused, too: nobody can know better. But then nothing is
        resumed: what is paused can be somebody else's pause.

        Raises EventNotPublishedError, or what reading the table raises: then the timer is to be
        handed over again.
        """
        rows = self._watched_rows(timer)
        watched = next((row for row in rows if _control(row).get("timer") == timer.name), None)
        if rows and not (may_be_active(watched["status"]) if watched else _is_unknown(rows, timer)):
            return False
        row = watched or (rows[0] if timer.recording_sid != CURRENT and rows else None)
        detail: dict[str, Any] = {
            "timer": timer.name,
            "account_sid": timer.account_sid,
            "call_sid": timer.call_sid,
            "recording_sid": row["recording_sid"] if row else timer.recording_sid,
            "status": "paused" if watched else "unknown",
            "paused_at": timer.asked_at,
            "resume_within_seconds": timer.resume_within_seconds,
            "auto_resume": timer.auto_resume,
            # By an earlier delivery of this timer.
            "resumed": watched is not None and watched["status"] == RESUMED,
        }
        if timer.auto_resume and watched and not detail["resumed"]:
            detail |= self._resume(timer, detail["recording_sid"], deadline)
        self.bus.publish(STILL_PAUSED, detail)
        logger.warning("recording still paused", recording_sid=detail["recording_sid"], resumed=detail["resumed"])
        return True

    def _resume(self, timer: ResumeTimer, recording_sid: str, deadline: Deadline) -> dict[str, Any]:
        request = ControlRequest(timer.account_sid, timer.call_sid, recording_sid, RESUMED)
        try:
            # Under the timer's name, so that a second delivery of it knows who resumed.
            self._merge(self._ask(request, deadline=deadline, sent_at=None), timer=timer.name)
        except CallRecordingError as error:
            logger.exception("recording not resumed", recording_sid=recording_sid, reason=reason(error))
            return {"resumed": False, "reason": reason(error)}
        return {"resumed": True}

    def _watched_rows(self, timer: ResumeTimer) -> list[Row]:
        """Return the rows that the pause may be about."""
        if timer.recording_sid == CURRENT:
            return self.recordings.reader.all_of_call(timer.call_sid)
        row = self.recordings.reader.get(timer.recording_sid)
        return [row] if row else []

    def _ask(self, request: ControlRequest, *, deadline: Deadline, sent_at: datetime | None) -> RecordingResource:
        """Ask Twilio until it answers.

        A request that may have been carried out is only repeated where that changes nothing more:
        `Twilio.CURRENT` could name another recording by then.
        """
        twilio = self.twilio.of(request.account_sid)
        again = TwilioUnreachableError if request.recording_sid == CURRENT else TwilioUnavailableError
        patience = Patience(RateLimitedError, again, deadline=deadline)
        unknown: list[TwilioUnavailableError] = []

        def ask() -> RecordingResource:
            refuse_if_too_old(sent_at)
            patience.refuse_without_time()
            try:
                return twilio.update_call_recording(
                    request.call_sid, request.recording_sid, request.to_form(), deadline=deadline
                )
            except TwilioUnavailableError as error:
                if may_have_acted(error):
                    unknown.append(error)
                raise

        try:
            recording = patience(ask)
        except SeveralActiveRecordingsError as error:
            raise error.naming(self._active(twilio, request.call_sid, deadline)) from error
        except CallRecordingError as error:
            if unknown and not may_have_acted(error):  # refused now, perhaps because it was done before
                raise OutcomeUnknownError("changed the recording") from error
            raise
        return recording

    def _merge(self, recording: RecordingResource, *, timer: str) -> RecordingResource:
        """Merge Twilio's answer into the row, and return it.

        Pausing what is paused already, without a timer of its own, leaves it to the one that watches.
        """
        if recording["status"] == PAUSED and not timer:
            held = self.recordings.reader.get(recording["sid"])
            timer = _control(held).get("timer", "") if held and held["status"] == PAUSED else ""
        self.recordings.record(Facts.from_updated(recording, timer=timer))
        return recording

    def _active(self, twilio: TwilioAccount, call_sid: str, deadline: Deadline) -> list[str]:
        """Return the call's recordings that are running or paused, oldest first.

        Twilio lists one that was stopped a moment ago like one that runs; the table knows better.
        Where Twilio does not answer, the table's word must do.
        """
        try:
            listed = [
                recording["sid"]
                for recording in twilio.list_call_recordings(call_sid, deadline=deadline)
                if is_open(recording["status"])
            ][:_MOST_CANDIDATES]
        except CallRecordingError:
            rows = self.recordings.reader.all_of_call(call_sid)
            return [row["recording_sid"] for row in reversed(rows) if row["status"] in ACTIVE]
        known = self.recordings.reader.statuses(listed) if listed else {}
        return [sid for sid in listed if may_be_active(known.get(sid, RESUMED))]


def _control(row: Row) -> dict[str, str]:
    held: dict[str, str] = row.get("control", {})
    return held


def _is_unknown(rows: list[Row], timer: ResumeTimer) -> bool:
    """Tell whether nothing says that the pause has ended: something runs, and nobody controlled it since."""
    is_active = any(may_be_active(row["status"]) for row in rows)
    return is_active and not any(_control(row).get("seen_at", "") > timer.asked_at for row in rows)
