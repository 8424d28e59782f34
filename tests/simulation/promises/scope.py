"""Who truly hears whom at a moment, as the simulated Twilio knows and shows nobody; and what a pause proved when."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from call_recording.bus import REQUEST_FAILED
from local.twilio_simulator.model import Call, Conference, Recording
from tests.simulation.pausers import ALL, AllWish, Meeting
from tests.simulation.promises.outcome import Outcome
from tests.simulation.witness import Delivery


class Scope(NamedTuple):
    """The SIDs of calls that hear each other, and of their conferences."""

    calls: frozenset[str]
    conferences: frozenset[str]

    def has(self, recording: Recording) -> bool:
        """Tell whether they are heard in the recording."""
        if recording.conference:
            return recording.conference.sid in self.conferences
        return recording.call.sid in self.calls


def scope_of(meeting: Meeting, call: Call, at: float) -> Scope:
    """Return who hears the call at a moment of Twilio's clock."""
    calls, conferences = set[str](), set[str]()
    waiting = [call]
    while waiting:
        one = waiting.pop()
        if one.sid in calls or not _is_live(one, at):
            continue
        calls.add(one.sid)
        waiting += [other for other in meeting.calls if other.parent is one or one.parent is other]
        for conference in meeting.conferences:
            if is_in(one, conference, at):
                conferences.add(conference.sid)
                waiting += [other for other in meeting.calls if is_in(other, conference, at)]
    return Scope(frozenset(calls), frozenset(conferences))


def is_in(call: Call, conference: Conference, at: float) -> bool:
    """Tell whether a call took part in a conference at a moment of Twilio's clock."""
    return any(
        one.call is call and one.joined_at <= at and (one.left_at is None or at < one.left_at)
        for one in conference.participants
    )


def _is_live(call: Call, at: float) -> bool:
    return call.began_at <= at and (call.ended_at is None or at < call.ended_at)


class Proof(NamedTuple):
    """A pause that was proven: since `at` nothing is heard of what began before `before`, as was said at `answered`.

    By the true clock, as all is here.
    """

    wish: AllWish
    before: float
    at: float
    answered: float
    ends: float
    """When somebody may have begun to resume everything."""

    def scope(self, outcome: Outcome) -> Scope:
        """Return who was in its scope for as long as it was being proven and said."""
        meeting, offset = self.wish.meeting, outcome.world.twilio_offset
        changes = [moment for call in meeting.calls for moment in (call.began_at, call.ended_at)]
        for conference in meeting.conferences:
            changes += [moment for one in conference.participants for moment in (one.joined_at, one.left_at)]
        moments = {self.before, self.answered} | {
            changed - offset for changed in changes if changed and self.before <= changed - offset <= self.answered
        }
        scopes = [scope_of(meeting, self.wish.call, moment + offset) for moment in moments]
        return Scope(
            frozenset.intersection(*(scope.calls for scope in scopes)),
            frozenset.intersection(*(scope.conferences for scope in scopes)),
        )


def proofs(outcome: Outcome) -> Iterator[Proof]:
    """Give what each wish to pause was told to be proven, each time it was: a key that comes again proves it anew."""
    failed = {
        f"eventbridge#{event.detail['event_id']}"
        for event in outcome.world.aws.published
        if event.kind == REQUEST_FAILED
    }
    for wish in outcome.scenario.pausers.wishes:
        if not wish.is_pause or wish.name in failed:
            continue
        if wish.fields.get("ConferenceSid") == "none" and wish.meeting.conferences:
            continue  # the caller's word was not true for as long as it took
        deliveries = outcome.deliveries_of[wish.name]
        for told in deliveries:
            if told.ended is None or not is_done(told):
                continue
            began = min(one.began for one in deliveries)
            proven_at = _proven_at(outcome, told, deliveries)
            # An event's sender hears nothing but that it was done.
            before, at = (began, told.ended) if proven_at is None else (proven_at, proven_at)
            ends = min((end for end in resumes(outcome, wish.meeting) if end > began), default=float("inf"))
            yield Proof(wish, before, at, told.ended, ends)


def _proven_at(outcome: Outcome, told: Delivery, deliveries: list[Delivery]) -> float | None:
    """Return when the closing pass began, as the machine that made it wrote down."""
    body = body_of(told)
    if "proven_at" not in body:
        return None
    said = outcome.world.moment(body["proven_at"])
    until = told.ended or 0
    # An answer may be an earlier delivery's, which was killed when it had noted it.
    by = [one for one in deliveries if one.began <= said - one.clock_offset <= min(one.ended or until, until)]
    return max((said - one.clock_offset for one in by), default=until)


def resumes(outcome: Outcome, meeting: Meeting) -> Iterator[float]:
    """Give when somebody, or a timer, began to resume everything."""
    for wish in meeting.wishes:
        if not wish.is_pause:
            yield from (one.began for one in outcome.deliveries_of[wish.name])
    calls = {call.sid for call in meeting.calls}
    for name, timer in timers(outcome).items():
        if timer["call_sid"] in calls and timer["auto_resume"]:
            yield from (one.began for one in outcome.deliveries_of[name])


def timers(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the timers that watch over pauses of everything, by their names."""
    schedules = outcome.world.aws.timers.schedules
    found = {name: held["payload"]["resume_timer"] for name, held in schedules.items()}
    return {name: timer for name, timer in found.items() if timer["recording_sid"] == ALL}


def is_done(delivery: Delivery) -> bool:
    """Tell whether a delivery ended well: 200, an event's with nothing, a dead letter's without a failure."""
    result: Any = delivery.result
    if delivery.ended is None or isinstance(result, BaseException):
        return False
    if not isinstance(result, dict):
        return result is None
    return result.get("statusCode") == 200 or result.get("batchItemFailures") == []


def body_of(delivery: Delivery) -> dict[str, Any]:
    """Return the body of an answer; empty if there was none."""
    result: Any = delivery.result
    return json.loads(result["body"]) if isinstance(result, dict) and "body" in result else {}


def recordings_of(outcome: Outcome, meeting: Meeting) -> Iterable[Recording]:
    """Return what was recorded of the meeting."""
    return [one for one in outcome.world.twilio.recordings.values() if meeting.has(one)]
