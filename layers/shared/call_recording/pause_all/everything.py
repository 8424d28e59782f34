"""Pauses and resumes everything on a call, and checks such a pause when its time is over."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.bus import STILL_PAUSED, Bus
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import RUNNING, Pause, Pauses, Span
from call_recording.control.request import ALL
from call_recording.control.request import PAUSED as TO_PAUSE
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline, refuse_if_too_old
from call_recording.errors import CallRecordingError, NotAParticipantError, PauseEndedError, TwilioNotFoundError
from call_recording.pause_all.request import NO_CONFERENCE, AllRequest
from call_recording.pause_all.resume import Resume, resume_what_came_later
from call_recording.pause_all.scope import Search
from call_recording.pause_all.sweep import Proof, Sweep
from call_recording.problems import reason
from call_recording.recordings.reader import WATCHED
from call_recording.recordings.statuses import may_be_active
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio
from call_recording.twilio.calls import Calls

NOT_COVERED: tuple[str, ...] = ("streams", "siprec", "transcriptions")
"""Features that also hear a call, and that Twilio does not list."""

_ROWS_UNTIL_SECONDS = 15.0

logger = Logger(child=True)


@dataclass(frozen=True)
class Everything:
    """Everything that is needed to pause everything on a call."""

    accounts: Accounts
    recordings: RecordingsTable
    twilio: Twilio
    timers: ResumeTimers
    bus: Bus
    pauses: Pauses

    def control(
        self, request: AllRequest, *, intent: Intent, deadline: Deadline, sent_at: datetime | None = None
    ) -> dict[str, Any]:
        """Return what is confirmed to be paused, or what was resumed.

        Can be repeated at any time: a later delivery continues the pause of the first one, and acts on no later pause.
        `sent_at` is when the request was sent, for requests that may be delayed.

        Raises RequestTooOldError or OutcomeLostError, UnknownAccountError and the other credential errors,
        TimerNotSetError, StateUnavailableError, RowsUnavailableError, PauseEndedError if the pause of an earlier
        delivery was resumed since, and what Sweep.run or Resume.run raises.
        """
        self.twilio.credentials.to_send(request.account_sid)
        self.accounts.note(request.account_sid)
        ended = self._ended_since(request, intent) if intent.may_exist else None
        if ended and request.status == TO_PAUSE:
            raise PauseEndedError
        if ended:
            return self._resume_what_is_left(ended, ended.ended_since(intent.by), deadline)
        refuse_if_too_old(sent_at, was_begun=intent.may_exist)
        if request.status == TO_PAUSE:
            return self._pause(request, intent, deadline)
        return self._resume_call(request, intent, deadline)

    def prove_again(self, request: AllRequest, answer: Mapping[str, Any], *, deadline: Deadline) -> dict[str, Any]:
        """Return a new confirmation of a pause that was answered before: the old one may no longer be true.

        Raises PauseEndedError if that pause was resumed since, and what `control` raises.
        """
        pause = self.pauses.of(request.account_sid, request.call_sid)
        if pause is None or not pause.is_active or pause.name != answer["group"]:
            raise PauseEndedError
        return self._prove(request, pause, deadline)  # its timer continues

    def on_timer(self, timer: ResumeTimer, *, deadline: Deadline) -> bool:
        """Publish an event and return True, unless the timer's pause is known to have ended in time.

        If the pause requested it, its recordings are resumed first.

        Raises EventNotPublishedError, and what reading and writing the tables raises: then the timer must be delivered
        again.
        """
        pause = self.pauses.of(timer.account_sid, timer.call_sid)
        span = _watched_by(timer, pause)
        if pause is None or span is None or self._has_ended(pause, span, timer, deadline):
            return False
        is_paused = span is pause.span and pause.is_active
        detail: dict[str, Any] = {
            "timer": timer.name,
            "account_sid": timer.account_sid,
            "call_sid": timer.call_sid,
            "recording_sid": ALL,
            "group": span.name,
            "recordings": _ours(pause) if span is pause.span else [],
            "status": "paused" if is_paused else "unknown",
            "paused_at": span.asked_at,
            "resume_within_seconds": timer.resume_within_seconds,
            "auto_resume": timer.auto_resume,
            # By an earlier delivery of this timer.
            "resumed": timer.name in pause.resumed_by,
        }
        unwritten = None
        if is_paused:
            self.pauses.note_overdue(pause, timer.name)
            if timer.auto_resume and pause.auto_resume:
                outcome, unwritten = self._resume_overdue(pause, timer, deadline)
                detail |= outcome
        self.bus.publish(STILL_PAUSED, detail)
        logger.warning("call still paused", group=span.name, resumed=detail["resumed"])
        if unwritten:
            raise unwritten
        return True

    # --- pausing -------------------------------------------------------------------------------

    def _pause(self, request: AllRequest, intent: Intent, deadline: Deadline) -> dict[str, Any]:
        pause, timer = self._begin(request, intent)
        try:
            return self._prove(request, pause, deadline)
        except (NotAParticipantError, TwilioNotFoundError):
            if self._forget(pause, timer):
                intent.may_exist = False
            raise

    def _prove(self, request: AllRequest, pause: Pause, deadline: Deadline) -> dict[str, Any]:
        # The rows of the call: their recordings need no search, and they may name a conference.
        rows = self.recordings.reader.all_of_call(
            request.call_sid,
            account_sid=request.account_sid,
            wanted=(*WATCHED, "call_sid", "conference_sid"),
            is_enough=lambda: deadline.remaining_seconds() < _ROWS_UNTIL_SECONDS,
        )
        twilio = self.twilio.of(request.account_sid)
        search = Search(
            Calls(twilio, deadline),
            request.call_sid,
            conference_sid=request.conference_sid,
            hints=[row["conference_sid"] for row in rows if "conference_sid" in row],
        )
        sweep = Sweep(
            request,
            pause,
            twilio=twilio,
            recordings=self.recordings,
            pauses=self.pauses,
            search=search,
            deadline=deadline,
        )
        try:
            proof = sweep.run(rows)
            # What an earlier attempt found began before, too, even if it has ended since and is in no list.
            self.pauses.prove(pause, proof.proven_at, found={*proof.paused, *proof.over, *pause.recordings})
        except PauseEndedError:
            self._resume_the_rest(pause, deadline)
            raise
        return _answer(request, pause, proof)

    def _begin(self, request: AllRequest, intent: Intent) -> tuple[Pause, str]:
        """Set the timer of the pause, and save the pause: both before Twilio is asked. Return both.

        What an earlier delivery has begun goes on as it is: others may have asked for it since.
        """
        held = self.pauses.of(request.account_sid, request.call_sid) if intent.may_exist else None
        if held and held.is_active and held.is_of(intent.by):
            return held, held.span.timer
        seconds, timer = request.resume_within_seconds, None
        if seconds is not None:
            timer = ResumeTimer.of(request, name=self.timers.new_name(), resume_within_seconds=seconds)
            self.timers.set(timer, json.dumps(timer.as_event()))
        intent.may_exist = True
        pause = self.pauses.begin(
            request.account_sid,
            request.call_sid,
            behavior=request.pause_behavior or "",
            timer=timer.name if timer else "",
            due_at=timer.due_at if timer else None,
            auto_resume=request.auto_resume,
            request=intent.by,
        )
        return pause, timer.name if timer else ""

    def _forget(self, pause: Pause, timer: str) -> bool:
        """Cancel a pause that has paused nothing: otherwise no recording could be started on the call.

        Return whether it was canceled.
        """
        try:
            held = self.pauses.of(pause.account_sid, pause.call_sid)
            if held is None or held.recordings or held.span.proven_at:
                return False
            self.pauses.end(pause)
        except CallRecordingError as error:
            logger.exception("pause not canceled", group=pause.name, reason=reason(error))
            return False
        if timer:
            self.timers.cancel(timer)
        return True

    def _resume_the_rest(self, pause: Pause, deadline: Deadline) -> None:
        resume_what_came_later(
            pause,
            twilio=self.twilio.of(pause.account_sid),
            recordings=self.recordings,
            pauses=self.pauses,
            deadline=deadline,
        )

    # --- resuming ------------------------------------------------------------------------------

    def _ended_since(self, request: AllRequest, intent: Intent) -> Pause | None:
        """Return the pause that an earlier delivery paused or resumed, if that has ended."""
        covering = self.pauses.covering(request.account_sid, [request.call_sid])
        return next((pause for pause in covering if pause.ended_since(intent.by)), None)

    def _resume_call(self, request: AllRequest, intent: Intent, deadline: Deadline) -> dict[str, Any]:
        pause = self._pause_of(request)
        if pause is None:
            own = self.pauses.of(request.account_sid, request.call_sid)
            return self._resume_what_is_left(own, None, deadline)
        intent.may_exist = True
        try:
            self.pauses.begin_to_resume(pause, intent.by)
            return self._resume(pause, deadline)
        except PauseEndedError:  # another request has resumed it; what was paused since is not ours to resume
            now = self.pauses.of(pause.account_sid, pause.call_sid)
            return self._resume_what_is_left(now, pause.name, deadline)

    def _resume_what_is_left(self, pause: Pause | None, group: str | None, deadline: Deadline) -> dict[str, Any]:
        """Resume what a pause that has ended may have left paused; return `group` if that is another one."""
        if pause and not pause.is_active:
            answer = self._resuming(pause, deadline).run()
            if answer["resumed"] or pause.name == group:
                return {"group": pause.name, **answer}
        return {"group": group, "resumed": [], "left_paused": []}

    def _pause_of(self, request: AllRequest) -> Pause | None:
        """Return the pause that was requested for the call itself, or else the latest one that covers it.

        After the call's own pause was resumed, only a later one: a repeated resume must not end another pause.
        """
        covering = self.pauses.covering(request.account_sid, [request.call_sid])
        own = next((pause for pause in covering if pause.call_sid == request.call_sid), None)
        if own and own.is_active:
            return own
        # The times may come from two clocks.
        since = clock.iso_milliseconds(datetime.fromisoformat(own.span.ended_at) + clock.SKEW) if own else ""
        others = [pause for pause in covering if pause.is_active and pause.span.asked_at > since]
        return max(others, key=lambda pause: pause.span.asked_at, default=None)

    def _resume(self, pause: Pause, deadline: Deadline) -> dict[str, Any]:
        answer = self._resuming(pause, deadline).run()
        self.pauses.end(pause)
        self._resume_the_rest(pause, deadline)
        if pause.span.timer:
            self.timers.cancel(pause.span.timer)  # otherwise it finds that the pause has ended
        return {"group": pause.name, **answer}

    def _resume_overdue(
        self, pause: Pause, timer: ResumeTimer, deadline: Deadline
    ) -> tuple[dict[str, Any], CallRecordingError | None]:
        """Return what happened, and why a row could not be written.

        Then the pause goes on, although it paused nothing any more: a later one would take its rows for paused by
        somebody else.
        """
        resume = self._resuming(pause, deadline)
        try:
            resume.run()
        except CallRecordingError as error:
            logger.exception("call not resumed", group=pause.name, reason=reason(error))
            if resume.is_done:
                return {"resumed": True}, error
            return {"resumed": False, "reason": reason(error)}, None
        self.pauses.end(pause, timer=timer.name)
        try:
            self._resume_the_rest(pause, deadline)
        except CallRecordingError as error:
            logger.exception("recordings that were paused late not resumed", group=pause.name, reason=reason(error))
            return {"resumed": False, "reason": reason(error)}, None
        return {"resumed": True}, None

    def _resuming(self, pause: Pause, deadline: Deadline) -> Resume:
        return Resume(
            pause,
            twilio=self.twilio.of(pause.account_sid),
            recordings=self.recordings,
            pauses=self.pauses,
            deadline=deadline,
        )

    def _has_ended(self, pause: Pause, span: Span, timer: ResumeTimer, deadline: Deadline) -> bool:
        """Return whether the pause ended in time, or within the possible delay of the timer."""
        if timer.name in pause.overdue:
            return False
        if span.ended_at:
            return span.ended_at <= clock.iso_milliseconds(timer.due_at + clock.SKEW)
        sids = _ours(pause)
        statuses = self.recordings.reader.statuses(sids) if sids else {}
        # A recording without a row is not known to have ended.
        if any(sid not in statuses or may_be_active(statuses[sid]) for sid in sids):
            return False
        # As long as the call goes on, the pause keeps others from starting.
        try:
            return Calls(self.twilio.of(timer.account_sid), deadline).fetch(timer.call_sid).is_over
        except CallRecordingError:
            return False


def _watched_by(timer: ResumeTimer, pause: Pause | None) -> Span | None:
    """Return the timer's pause; None if a later timer monitors it, or if it was never made."""
    return next((span for span in pause.spans if span.timer == timer.name), None) if pause else None


def _ours(pause: Pause) -> list[str]:
    return [sid for sid, entry in pause.recordings.items() if entry["was"] == RUNNING]


def _answer(request: AllRequest, pause: Pause, proof: Proof) -> dict[str, Any]:
    return {
        "group": pause.name,
        "proven_at": clock.iso_milliseconds(proof.proven_at),
        "scope": {
            "calls": list(proof.scope.calls),
            "conferences": list(proof.scope.conferences),
            "asserted": request.conference_sid == NO_CONFERENCE,
        },
        "paused": [{"sid": sid, "was": was} for sid, was in proof.paused.items()],
        "not_covered": list(NOT_COVERED),
    }
