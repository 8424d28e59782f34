"""Recordings that start while everything is paused: each is paused as soon as it is reported, with an event."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger

from call_recording import clock, metrics
from call_recording.bus import STARTED_WHILE_PAUSED, Bus
from call_recording.commands.pauses import Pause, Pauses, Span
from call_recording.control.request import PAUSED
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallRecordingError,
    PauseUnprovenError,
    TwilioNotFoundError,
)
from call_recording.pause_all.found import Found
from call_recording.pause_all.resume import resume_what_came_later
from call_recording.problems import reason
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import Row, as_json, recorded
from call_recording.recordings.statuses import may_be_active
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import Twilio
from call_recording.twilio.calls import Calls

_NAMED = (
    *("recording_sid", "account_sid", "call_sid", "conference_sid", "requested_call_sid", "source"),
    *("start_time", "requested_by", "reference"),
)
"""The row's attributes that the event contains."""

logger = Logger(child=True)


@dataclass(frozen=True)
class LateRecordings:
    """Everything that is needed to pause them."""

    recordings: RecordingsTable
    twilio: Twilio
    bus: Bus
    pauses: Pauses

    def look_after(self, recording_sid: str, *, deadline: Deadline) -> None:
        """Pause a recording with a new row and publish an event, if everything on its call is paused.

        Raises PauseUnprovenError while that pause is still in progress and may have found the recording;
        EventNotPublishedError, and what Twilio, the tables and the credentials raise: then the check must be
        repeated.
        """
        row = self.recordings.reader.get(recording_sid)
        if row is None:
            return
        named, done = recorded(row), set[str]()
        direct = self.pauses.ever_covering(row["account_sid"], named)
        holding = [pause.span for pause in direct if pause.is_active and pause.span.covers(named)]
        if holding:
            self._look_at(row, direct, named, done, deadline)  # before anything else, because it may be recording
        if not any(_began_surely_within(row, span) for span in holding):
            more, sids = self._found_at_twilio(row, named, direct, deadline)
            self._look_at(row, [*direct, *more], sids, done, deadline)

    def _look_at(
        self, row: Row, covering: Sequence[Pause], sids: Collection[str], done: set[str], deadline: Deadline
    ) -> None:
        """Do it for each pause that covers one of the calls and conferences, if that is not `done`."""
        recording_sid = row["recording_sid"]
        found_at = [s.asked_at for pause in covering for s in pause.spans if recording_sid in s.found]
        # It began before that pause was confirmed, and so not in a pause that was requested later. Clocks differ.
        until = clock.iso_milliseconds(datetime.fromisoformat(min(found_at)) + clock.SKEW) if found_at else "9999"
        for pause in covering:
            for span in _before_it_was_found(pause, recording_sid):
                if span.asked_at >= until or not span.covers(sids) or span.name in done:
                    continue
                if not span.ended_at:
                    self._look_after(row, pause, deadline)
                elif _began_within(row, span):
                    self._tell(row, pause, span, {"paused": False, "reason": "resumed"})
                done.add(span.name)

    def _look_after(self, row: Row, pause: Pause, deadline: Deadline) -> None:
        if not may_be_active(row["status"]):
            if _began_within(row, pause.span):
                self._tell(row, pause, pause.span, {"paused": False, "reason": "over"})
            return
        if not pause.span.proven_at and row["start_time"] < clock.iso_seconds(_asked_at(pause.span) - clock.SKEW):
            return  # it began before, and the caller got an error that the pause is not confirmed
        outcome = self._pause(row, pause, deadline)
        if not pause.is_settled:
            raise PauseUnprovenError
        self._tell(row, pause, pause.span, outcome)

    def _found_at_twilio(
        self, row: Row, named: set[str], direct: Sequence[Pause], deadline: Deadline
    ) -> tuple[list[Pause], set[str]]:
        """Return the other pauses that ever covered the recording, and the calls and conferences that show it.

        They are those that the row names, the other leg of its call, and those of conferences.
        """
        account_sid = row["account_sid"]
        if not self.pauses.in_use({account_sid}):
            return [], named  # it was only not known whether the account has pauses, or credentials
        calls = Calls(self.twilio.of(account_sid), deadline)
        call_sids = {sid for sid in named if sid.startswith("CA")}
        if "conference_sid" in row:  # a paused call may have joined it meanwhile
            call_sids.update(calls.participants_if_any(row["conference_sid"]))
        others = call_sids - named | {parent for sid in call_sids if (parent := _parent(calls, sid))}
        for conference_sid in self.pauses.conferences(account_sid):
            if not (call_sids | others).isdisjoint(calls.participants_if_any(conference_sid)):
                others.add(conference_sid)
        known = {pause.call_sid for pause in direct}
        more = self.pauses.ever_covering(account_sid, others) if others else []
        return [pause for pause in more if pause.call_sid not in known], named | others

    def _pause(self, row: Row, pause: Pause, deadline: Deadline) -> dict[str, Any]:
        found = Found.of(row)
        noted = found.note(pause, row, pauses=self.pauses, is_late=True)
        twilio = self.twilio.of(pause.account_sid)
        try:
            recording, was_so_before = found.change_in_time(twilio, pause.form, deadline=deadline)
        except CallRecordingError as error:
            logger.exception("recording that started during a pause not paused", recording_sid=found.sid)
            return {"paused": False, "reason": reason(error)}
        if was_so_before:
            noted = found.note_unchanged(
                pause,
                noted,
                recording,
                row,
                pauses=self.pauses,
                recordings=self.recordings,
                may_be_ours=found.sid in pause.recordings,
            )
        self.recordings.record(Facts.from_updated(recording, by=noted.by, before=row))
        if resume_what_came_later(
            pause,
            twilio=twilio,
            recordings=self.recordings,
            pauses=self.pauses,
            deadline=deadline,
        ):
            return {"paused": False, "reason": "resumed"}
        return {"paused": True} if recording["status"] == PAUSED else {"paused": False, "reason": "over"}

    def _tell(self, row: Row, pause: Pause, span: Span, outcome: dict[str, Any]) -> None:
        named = {name: as_json(row[name]) for name in _NAMED if name in row}
        detail = {
            # The same for every delivery.
            "id": f"{row['recording_sid']}-{span.name}",
            "group": span.name,
            "paused_call_sid": pause.call_sid,
            "paused_at": span.asked_at,
            **named,
            **outcome,
        }
        self.bus.publish(STARTED_WHILE_PAUSED, detail)
        metrics.RECORDING_STARTED_WHILE_PAUSED.add()
        logger.warning("recording started while paused", recording_sid=row["recording_sid"], group=span.name)


def _before_it_was_found(pause: Pause, recording_sid: str) -> Sequence[Span]:
    """Return the spans in which the recording may have begun: those before the first that found it, or all."""
    found = [number for number, span in enumerate(pause.spans) if recording_sid in span.found]
    return pause.spans[found[-1] + 1 :] if found else pause.spans


def _asked_at(span: Span) -> datetime:
    return datetime.fromisoformat(span.asked_at)


def _parent(calls: Calls, call_sid: str) -> str | None:
    """Return the parent of the call, or None if it has none or Twilio does not know the call (any more)."""
    try:
        return calls.fetch(call_sid).parent_sid
    except TwilioNotFoundError:
        return None


def _began_within(row: Row, span: Span) -> bool:
    """Return whether the recording may have begun while the pause was confirmed, considering Twilio's clock."""
    began = datetime.fromisoformat(row["start_time"])
    since = datetime.fromisoformat(span.proven_at or span.asked_at) - clock.SKEW
    until = datetime.fromisoformat(span.ended_at) + clock.SKEW if span.ended_at else None
    return bool(span.proven_at) and since <= began and (until is None or began <= until)


def _began_surely_within(row: Row, span: Span) -> bool:
    """Return whether the recording began after the pause was requested, considering Twilio's clock."""
    return bool(datetime.fromisoformat(row["start_time"]) > _asked_at(span) + clock.SKEW)
