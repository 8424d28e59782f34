"""Pauses, resumes and stops a recording: once for each request, and with a timer for a monitored pause."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.bus import Bus
from call_recording.commands.failures import will_never_be_met
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import Pauses
from call_recording.control.active import active_on_call, nothing_is_active
from call_recording.control.asking import Asking
from call_recording.control.overdue import OverduePauses
from call_recording.control.request import CURRENT, ControlRequest
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline, refuse_if_too_old
from call_recording.errors import (
    CallRecordingError,
    ControlledSinceError,
    NothingRecordsError,
    OutcomeLostError,
    OutcomeUnknownError,
    RowsUnavailableError,
    SeveralActiveRecordingsError,
    TwilioNotFoundError,
)
from call_recording.recordings.facts import Control, Facts
from call_recording.recordings.row import Row
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio

_READS_UNTIL_SECONDS: Final = 5.0

logger = Logger(child=True)


@dataclass(frozen=True)
class Controller:
    """Everything that is needed to control a recording."""

    accounts: Accounts
    recordings: RecordingsTable
    twilio: Twilio
    timers: ResumeTimers
    bus: Bus
    pauses: Pauses

    def control(
        self, request: ControlRequest, *, intent: Intent, deadline: Deadline, sent_at: datetime | None = None
    ) -> dict[str, Any]:
        """Return Twilio's recording resource after the change, which is then in the table too.

        The timer of a monitored pause is set before Twilio is asked, so that a failure in between is
        reported as well. `sent_at` is when the request was sent, for requests that may be delayed on
        their way.

        Raises RequestTooOldError, UnknownAccountError and the other credential errors,
        TimerNotSetError, OutcomeLostError, ControlledSinceError, TwilioRefusedError or
        TwilioUnavailableError and their kinds, RowsUnavailableError (nothing was done), or what
        RecordingsTable.record raises.
        """
        self.twilio.credentials.to_send(request.account_sid)
        self.accounts.note(request.account_sid)
        delivery = _Delivery(self, request, intent, deadline=deadline, sent_at=sent_at)
        if intent.may_exist and (answer := delivery.answer_of_an_earlier_one()):
            return answer
        if request.resume_within_seconds is None:
            return delivery.ask()
        refuse_if_too_old(sent_at, was_begun=intent.may_exist)
        timer = ResumeTimer.of(
            request, name=self.timers.new_name(), resume_within_seconds=request.resume_within_seconds
        )
        self.timers.set(timer, json.dumps(timer.as_event()))
        return delivery.ask(timer)

    def on_timer(self, timer: ResumeTimer, *, deadline: Deadline) -> bool:
        """Publish an event and return True, unless the timer's pause is known to have ended.

        Raises what OverduePauses.look_after raises: then the timer must be delivered again.
        """
        return OverduePauses(self.recordings, self.twilio, self.bus, self.pauses).look_after(timer, deadline=deadline)


class _Delivery:
    """One delivery of a request, and its state for the next one: `intent.may_exist` and `intent.known`.

    `known` contains the row's `control` from `before` Twilio was first asked, and Twilio's answer as soon as
    there is one (`answered`). Then the outcome is final, and the next delivery only writes the row.
    """

    def __init__(
        self,
        controller: Controller,
        request: ControlRequest,
        intent: Intent,
        *,
        deadline: Deadline,
        sent_at: datetime | None,
    ) -> None:
        self.controller = controller
        self.reader = controller.recordings.reader
        self.request = request
        self.intent = intent
        self.deadline = deadline
        self.sent_at = sent_at
        self.asking = Asking(controller.twilio.of(request.account_sid), request, deadline=deadline)
        self.was_begun = intent.may_exist
        self.rows: Mapping[str, Row] = {}

    def answer_of_an_earlier_one(self) -> dict[str, Any] | None:
        """Return Twilio's answer to an earlier delivery, or None if Twilio may be asked again.

        Raises OutcomeLostError if `Twilio.CURRENT` could be another recording by now.
        """
        if "answered" in self.intent.known:
            return self._record(self.intent.known["answered"])
        rows = self._rows_of_call() if self.request.recording_sid == CURRENT else self._rows_of_recording()
        for row in rows.values():
            if row.get("control", {}).get("by") == self.intent.by:
                twilio = self.controller.twilio.of(self.request.account_sid)
                return twilio.fetch_recording(row["recording_sid"], deadline=self.deadline) | {"status": row["status"]}
        if self.request.recording_sid == CURRENT:
            raise OutcomeLostError
        return None

    def ask(self, timer: ResumeTimer | None = None) -> dict[str, Any]:
        """Send the request to Twilio, and write the answer to the row."""
        self.intent.may_exist = True
        try:
            recording = self.asking(self._look)
        except CallRecordingError as error:
            self.intent.may_exist = self.was_begun or self.asking.is_unknown
            if timer and not self.asking.is_unknown and not self.controller.timers.cancel(timer.name):
                # It only causes a false alarm.
                logger.warning("timer of a failed pause not deleted", timer=timer.name)
            if isinstance(error, SeveralActiveRecordingsError):
                raise error.naming(self._active()) from error
            if self.was_begun and will_never_be_met(error) and not isinstance(error, ControlledSinceError):
                raise OutcomeLostError from error  # refused now, perhaps because it was already done
            if isinstance(error, TwilioNotFoundError) and self._is_about_nothing():
                raise NothingRecordsError(
                    http_status=error.http_status,
                    code=error.code,
                    message="the call has no recording that runs or is paused",
                    more_info=error.more_info,
                ) from error
            raise
        facts = Facts.from_updated(
            recording,
            timer=timer.name if timer else "",
            by=self.intent.by,
            before=self.rows.get(recording["sid"]),
            is_repeated=self.asking.is_unknown or self.was_begun,
        )
        self.intent.known["answered"] = {
            "recording": recording,
            "seen_at": facts.seen_at,
            "control": facts.control.as_dict() if facts.control else None,
            "timers": dict(facts.timers),
            "pauses_ended_at": facts.pauses_ended_at,
        }
        return self._record(self.intent.known["answered"])

    def _record(self, answered: Mapping[str, Any]) -> RecordingResource:
        recording = RecordingResource(answered["recording"], api_url=self.controller.twilio.api_url)
        self.controller.recordings.record(
            Facts.from_recording(recording)._replace(
                seen_at=answered["seen_at"],
                control=Control(**answered["control"]),
                timers=answered["timers"],
                pauses_ended_at=answered["pauses_ended_at"],
            )
        )
        return recording

    def _look(self) -> None:
        """Read the recording's state before Twilio is asked, to distinguish it from later changes.

        Once Twilio may have acted, a change by another request is not undone.
        """
        refuse_if_too_old(self.sent_at, was_begun=self.was_begun)
        is_current = self.request.recording_sid == CURRENT
        is_begun = self.was_begun or self.asking.is_unknown
        try:
            self.rows = self._rows_of_call(is_enough=True) if is_current else self._rows_of_recording()
        except RowsUnavailableError as error:
            if self.asking.is_unknown:
                raise OutcomeUnknownError("changed the recording") from error
            if self.was_begun:
                raise
            self.rows = {}
            return
        if is_current:
            return
        control = self.rows.get(self.request.recording_sid, {}).get("control")
        if not is_begun:
            self.intent.known["before"] = control
        elif not self._is_as_before(control):
            raise ControlledSinceError(self.request.recording_sid)

    def _is_as_before(self, control: dict[str, str] | None) -> bool:
        if "before" in self.intent.known:
            return bool(control == self.intent.known["before"])
        # The earlier delivery was killed, or could not read the row.
        return control is None or control["changed_at"] < clock.iso_seconds(self.intent.asked_at - clock.SKEW)

    def _rows_of_recording(self) -> dict[str, Row]:
        row = self.reader.get(self.request.recording_sid)
        return {row["recording_sid"]: row} if row and row["account_sid"] == self.request.account_sid else {}

    def _rows_of_call(self, *, is_enough: bool = False) -> dict[str, Row]:
        rows = self.reader.all_of_call(
            self.request.call_sid,
            account_sid=self.request.account_sid,
            is_enough=lambda: is_enough or self.deadline.remaining_seconds() < _READS_UNTIL_SECONDS,
        )
        return {row["recording_sid"]: row for row in rows}

    def _is_about_nothing(self) -> bool:
        """Return whether `Twilio.CURRENT` was not found because nothing is active on a call that Twilio knows."""
        request, twilio = self.request, self.controller.twilio.of(self.request.account_sid)
        return request.recording_sid == CURRENT and nothing_is_active(
            self.reader, twilio, request.call_sid, deadline=self.deadline
        )

    def _active(self) -> list[str]:
        twilio = self.controller.twilio.of(self.request.account_sid)
        return active_on_call(self.reader, twilio, self.request.call_sid, deadline=self.deadline)
