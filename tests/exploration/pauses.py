"""Watched pauses that meet other controls: what is explored, what happens afterwards, and what must hold in the end."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from call_recording import clients
from call_recording.bus import REQUEST_FAILED, STILL_PAUSED
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource
from generators.sample_events import CALL_SID
from local.api_gateway import rest_api_event
from local.twilio_simulator.model import Recording
from tests.conftest import TABLE
from tests.exploration.calls import Outcome
from tests.exploration.delivery import KILLED, Delivery
from tests.exploration.history import API_URL, BEGINS, Change, Chooser, History
from tests.exploration.search import Ended
from tests.exploration.stage import Stage

AGAIN_AFTER_SECONDS: Final = 130.0
"""When a request is sent again: nobody works on it any more, and clocks may differ."""

MOST_TIMES: Final = 5
WATCHED_SECONDS: Final = 60
LATE_SECONDS: Final = 30.0
"""How late a timer fires."""

CURRENT: Final = "Twilio.CURRENT"
RUNNING: Final = "the recording"

_ENDS: Final = ("in-progress", "stopped")
_OUTSIDE_STATUSES: Final = {"resumes": "in-progress", "pauses": "paused"}


@dataclass(frozen=True)
class Control:
    """A request to pause, resume or stop; with `watched_seconds` a watched pause. `is_event`: by EventBridge."""

    name: str
    status: str
    key: str
    watched_seconds: int | None = None
    auto_resume: bool = False
    recording: str = RUNNING
    is_event: bool = False

    def event(self, recording_sid: str) -> dict[str, Any]:
        """Return what the function is invoked with."""
        named = CURRENT if self.recording == CURRENT else recording_sid
        fields: dict[str, Any] = {"Status": self.status}
        if self.watched_seconds:
            fields["ResumeWithinSeconds"] = self.watched_seconds
        if self.auto_resume:
            fields["AutoResume"] = True
        if self.is_event:
            return {
                "version": "0",
                "id": self.key,
                "detail-type": "Call Recording Control Requested",
                "source": "exploration",
                "time": datetime.fromtimestamp(BEGINS, UTC).isoformat(),
                "detail": {"CallSid": CALL_SID, "RecordingSid": named, **fields},
            }
        return rest_api_event(
            "POST",
            resource="/calls/{CallSid}/recordings/{RecordingSid}",
            path_parameters={"CallSid": CALL_SID, "RecordingSid": named},
            headers={"Content-Type": "application/json", "Idempotency-Key": self.key},
            body=json.dumps(fields),
        )


@dataclass(frozen=True)
class Outside:
    """What somebody does at Twilio past this stack: `starts` another recording, or `resumes` or `pauses` this one."""

    what: str


@dataclass(frozen=True)
class Pauses:
    """A scenario: one or two controls of a recording that runs, and perhaps something past this stack.

    Afterwards every timer fires, perhaps twice, and what was not answered is sent again until it is. A variant of
    another scenario, with other times or more that can be done, is explored with one fault less.
    """

    title: str
    controls: Sequence[Control]
    outside: Outside | None = None
    clocks: tuple[float, float] = (0.0, 0.0)
    latency: float = 0.02
    is_variant: bool = False

    def run(self, stage: Stage, chooser: Chooser, *, faults: int) -> Ended:
        """Let one history happen and look at its end."""
        history = stage.begin(chooser, faults=faults, latency=self.latency)
        return _Course(self, stage, history).run(faults)


@dataclass
class _Fired:
    """A timer that fired: who set it, and how many changes there were before."""

    name: str
    set_by: Delivery
    changes_before: int
    deliveries: list[Delivery] = field(default_factory=list)


class _Course:
    """One history of a scenario."""

    def __init__(self, scenario: Pauses, stage: Stage, history: History) -> None:
        self.scenario = scenario
        self.stage = stage
        self.history = history
        self.sent: list[tuple[Control, Delivery]] = []
        self.fired: list[_Fired] = []
        self.running = self._running_recording()

    def _running_recording(self) -> Recording:
        """Return a recording that has been running for a minute, with its row."""
        history = self.history
        history.twilio_now = BEGINS - 60
        self.stage.turn_clock(history.twilio_now)
        recording = history.twilio.record(history.call)
        resource = RecordingResource(recording.resource(status="in-progress"), api_url=API_URL)
        facts = Facts.from_recording(resource).asked_for(by="http", callback_url="", intent="http#start")
        RecordingsTable(clients.dynamodb(), TABLE, 400).record(facts)
        return recording

    def run(self, faults: int) -> Ended:
        history = self.history
        controls = [self._send(control, number, BEGINS) for number, control in enumerate(self.scenario.controls)]
        outside = self._outside()
        history.together([*controls, *outside], until=controls)
        for control, delivery in self.sent:
            history.note(delivery.who, "ends", _ending(control, delivery))
        for delivery in outside:
            history.finish(delivery)
        history.choose(1)  # many ways lead here, and one is enough
        self._go_on()
        return Ended(history.steps, faults - history.faults, list(self._broken()))

    def _send(self, control: Control, number: int, begins: float, times: str = "") -> Delivery:
        delivery = self.stage.deliver(
            f"{'AB'[number]} ({control.name}){times}",
            "recordings_api",
            control.event(self.running.sid),
            begins=begins,
            environment=number,
            clock_offset=self.scenario.clocks[number],
        )
        self.sent.append((control, delivery))
        return delivery

    def _outside(self) -> list[Delivery]:
        outside = self.scenario.outside
        if outside is None:
            return []

        def do() -> Recording:
            twilio, history = self.running, self.history
            if outside.what == "starts":
                return history.twilio.record(history.call)
            twilio.status, twilio.updated_at = _OUTSIDE_STATUSES[outside.what], history.twilio_now
            twilio.paused_at = history.twilio_now if outside.what == "pauses" else None
            return twilio

        status = "start" if outside.what == "starts" else _OUTSIDE_STATUSES[outside.what]
        label = f"{outside.what} {'another' if status == 'start' else 'the'} recording past this stack"
        return [self.stage.somebody("somebody else", self.history.from_outside(label, status, do), begins=BEGINS)]

    # --- afterwards -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Send again what was not answered, and fire the timers, as their times come."""
        waiting = [control for control, delivery in self.sent if not _is_final(control, delivery)]
        now, times = BEGINS + AGAIN_AFTER_SECONDS, 1
        while True:
            for name in self._due(now):
                self._fire(name)
            if not waiting or times > MOST_TIMES:
                break
            still = []
            for control in waiting:
                number = self.scenario.controls.index(control)
                delivery = self._send(control, number, now, times=f", {now - BEGINS:.0f} s later")
                self.history.alone(delivery)
                self.history.note(delivery.who, "ends", _ending(control, delivery))
                if not _is_final(control, delivery):
                    still.append(control)
            waiting = still
            now, times = now + AGAIN_AFTER_SECONDS, times + 1
        for name in self._due(float("inf")):
            self._fire(name)

    def _due(self, now: float) -> list[str]:
        schedules = self.history.memory.schedules
        due = sorted((_fires_at(schedule) + LATE_SECONDS, name) for name, schedule in schedules.items())
        return [name for moment, name in due if moment <= now]

    def _fire(self, name: str) -> None:
        """Invoke the function for a timer until that works, as Lambda and Scheduler do, and perhaps once more."""
        history = self.history
        schedule = history.memory.schedules[name]
        event, moment = json.loads(schedule["Target"]["Input"]), _fires_at(schedule) + LATE_SECONDS
        fired = _Fired(name, history.set_by[name], len(history.changes))
        self.fired.append(fired)
        wanted = 1 + history.choose(2)
        while wanted:
            number = len(fired.deliveries)
            times = f", {'again' if number == 1 else f'time {number + 1}'}" if number else ""
            delivery = self.stage.deliver(
                f"the timer of {fired.set_by.who}{times}", "recordings_api", event, begins=moment + 60 * number
            )
            fired.deliveries.append(delivery)
            history.together([delivery])
            told = "killed" if delivery.result is KILLED else repr(delivery.result) if delivery.result else "done"
            history.note(delivery.who, "ends", told)
            wanted -= delivery.result is None
            if number > MOST_TIMES:
                break
        history.memory.schedules.pop(name, None)

    # --- what must hold in the end ----------------------------------------------------------------

    def _broken(self) -> Iterator[str]:
        yield from self._pauses_were_forgotten()
        yield from self._ended_pauses_were_told()
        yield from self._others_pauses_were_ended()
        yield from self._somebody_acted_again()
        yield from self._answers_are_wrong()

    def _pauses_were_forgotten(self) -> Iterator[str]:
        for control, delivery in self.sent:
            if control.watched_seconds is None:
                continue
            mine = [fired for fired in self.fired if fired.set_by is delivery]
            until = min((fired.changes_before for fired in mine), default=len(self.history.changes))
            pause = self._last_change_by(delivery, "paused", until=until)
            if pause is None:
                continue
            later = self.history.changes[pause + 1 : until]
            recording_sid = self.history.changes[pause].recording_sid
            if any(change.recording_sid == recording_sid and self._ends_watches(change, delivery) for change in later):
                continue
            if not any(fired.name in self._told() for fired in mine):
                yield f"the pause of {delivery.who} was not ended, and nobody was told of it"

    def _ended_pauses_were_told(self) -> Iterator[str]:
        """Find alarms about pauses of which it was known that they had ended: by somebody who came after the answer.

        While Twilio may still be at a request whose answer was lost, or that a function which died may have sent,
        nobody knows that, and an alarm is right. Not
        promised either: that there is none where neither could read the row before asking Twilio, or the later one
        could not and both were done in one second, in which Twilio's answers have no order. Then both may have been
        done in either order, and a false alarm is better than none.
        """
        told = self._told()
        for control, delivery in self.sent:
            names = [fired.name for fired in self.fired if fired.set_by is delivery and fired.name in told]
            if control.watched_seconds is None or not _is_done(control, delivery) or _is_unsure(delivery):
                continue
            for other, later in self.sent:
                is_end = other.status in _ENDS or other.watched_seconds is not None
                is_after = delivery.who in later.after
                if _is_blind(later) and (_is_blind(delivery) or self._is_of_one_second(delivery, later)):
                    continue
                if names and other is not control and is_end and is_after and _is_done(other, later):
                    fired = next(fired for fired in self.fired if fired.name in names)
                    if self._has_changed(later, until=fired.changes_before):
                        yield f"the pause of {delivery.who} was told, although {later.who} had ended it"

    def _others_pauses_were_ended(self) -> Iterator[str]:
        for fired in self.fired:
            pause = self._last_change_by(fired.set_by, "paused", until=len(self.history.changes))
            for number, change in enumerate(self.history.changes):
                if change.made_by in fired.deliveries and change.what == "in-progress":
                    for one in self.history.changes[pause or 0 : number]:
                        if one.what == "paused" and one.made_by is not fired.set_by and self._is_known(one, pause):
                            yield f"{change.made_by.who} resumed what {one.made_by.who} had paused"

    def _is_known(self, change: Change, pause: int | None) -> bool:
        """Tell whether this stack could know that somebody else paused after a watched pause.

        Either that request was answered, or Twilio shows that the recording was changed in a later second.
        """
        for control, delivery in self.sent:
            if delivery is change.made_by:
                return _is_done(control, delivery)
        return pause is None or change.second > self.history.changes[pause].second

    def _somebody_acted_again(self) -> Iterator[str]:
        """Find deliveries that did something again after it was settled, or after somebody else's doing."""
        for number, (control, delivery) in enumerate(self.sent):
            earlier = [one for other, one in self.sent[:number] if other is control]
            mine = [change for change in self.history.changes if change.made_by is delivery]
            done = [change for change in self.history.changes if change.made_by in earlier]
            if not (mine and earlier):
                continue
            if any(_is_final(control, one) for one in earlier):
                yield f"{delivery.who} acted although it had been answered"
            if not done:
                continue
            since = self.history.changes[self.history.changes.index(done[-1]) : self.history.changes.index(mine[0])]
            for change in since:
                others = [other for other, one in self.sent if one is change.made_by and other is not control]
                if others and _is_done(others[0], change.made_by):
                    yield f"{delivery.who} acted again after {change.made_by.who}"
            if mine[0].recording_sid != done[-1].recording_sid:
                yield f"{delivery.who} acted on another recording than before"

    def _answers_are_wrong(self) -> Iterator[str]:
        for fired in self.fired:
            if fired.deliveries[-1].result is not None:
                yield f"{fired.deliveries[-1].who} never gets through"
        for control in self.scenario.controls:
            of_it = [delivery for one, delivery in self.sent if one is control]
            if not _is_final(control, of_it[-1]):
                yield f"{control.name} is never answered: {_ending(control, of_it[-1])}"
            is_answered = any(_is_done(control, delivery) for delivery in of_it)
            if is_answered and not any(change.made_by in of_it for change in self.history.changes):
                yield f"{control.name} was answered as if it had been done"

    def _told(self) -> set[str]:
        """Return the timers whose pauses the bus was told of."""
        entries = [entry for entry in self.history.memory.published if entry["DetailType"] == STILL_PAUSED]
        return {json.loads(entry["Detail"])["timer"] for entry in entries}

    def _last_change_by(self, delivery: Delivery, what: str, *, until: int) -> int | None:
        changes = self.history.changes[:until]
        mine = [n for n, change in enumerate(changes) if change.made_by is delivery and change.what == what]
        return mine[-1] if mine else None

    def _has_changed(self, delivery: Delivery, *, until: int) -> bool:
        return any(change.made_by is delivery for change in self.history.changes[:until])

    def _is_of_one_second(self, delivery: Delivery, later: Delivery) -> bool:
        """Tell whether Twilio's answers give both one time. To what is so already, it answers since when that is so."""
        last: dict[str, Change] = {}
        told: dict[int, set[int]] = {id(delivery): set(), id(later): set()}
        for change in self.history.changes:
            before = last.get(change.recording_sid)
            if not before or before.what != change.what:
                last[change.recording_sid] = change
            told.setdefault(id(change.made_by), set()).add(last[change.recording_sid].second)
        return not told[id(delivery)].isdisjoint(told[id(later)])

    def _ends_watches(self, change: Change, of: Delivery) -> bool:
        """Tell whether a change ends the watches over pauses before it: no pause without a timer does."""
        is_watched = any(one is change.made_by and control.watched_seconds for control, one in self.sent)
        return change.what in _ENDS or (is_watched and change.made_by is not of)


def _fires_at(schedule: dict[str, Any]) -> float:
    moment = schedule["ScheduleExpression"].removeprefix("at(").removesuffix(")")
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def _is_done(control: Control, delivery: Delivery) -> bool:
    """Tell whether a delivery was answered that what it asked for is done."""
    if control.is_event:
        return delivery.result is None and not any(REQUEST_FAILED in label for label, _ in delivery.outcomes)
    return isinstance(delivery.result, dict) and delivery.result["statusCode"] == 200


def _is_unsure(delivery: Delivery) -> bool:
    """Tell whether Twilio was asked for a change and did not answer, or may have been by an earlier delivery."""
    return any(
        (label.startswith("asks Twilio") and outcome is not Outcome.ANSWERED)
        or label == "takes its key, if it was left"
        for label, outcome in delivery.outcomes
    )


def _is_blind(delivery: Delivery) -> bool:
    """Tell whether a row could not be read before Twilio was asked."""
    return any(
        label.startswith("reads the row") and outcome is not Outcome.ANSWERED for label, outcome in delivery.outcomes
    )


def _is_final(control: Control, delivery: Delivery) -> bool:
    """Tell whether whoever asked has no reason to ask again."""
    if control.is_event:
        return delivery.result is None
    result = delivery.result
    return isinstance(result, dict) and result["statusCode"] < 500 and "request-in-progress" not in result["body"]


def _ending(control: Control, delivery: Delivery) -> str:
    """Return in words how a delivery ended."""
    result = delivery.result
    if result is KILLED:
        return "killed"
    if isinstance(result, dict):
        body = json.loads(result["body"])
        return f"{result['statusCode']} {body['status'] if 'sid' in body else body['type'].rpartition(':')[2]}"
    return f"raised {type(result).__name__}" if result is not None else "done"


def _watched(name: str = "watched pause", **more: Any) -> Control:
    return Control(name, "paused", name.replace(" ", "-"), WATCHED_SECONDS, **more)


WATCHED, SECOND = _watched(), _watched("second watched pause")
WITH_AUTO_RESUME, CURRENT_WATCHED = _watched(auto_resume=True), _watched(recording=CURRENT)
PAUSE, RESUME, STOP = (
    Control("pause", "paused", "p"),
    Control("resume", "in-progress", "r"),
    Control("stop", "stopped", "s"),
)
STOP_EVENT = Control("stop by event", "stopped", "e", recording=CURRENT, is_event=True)
PAUSE_EVENT = Control("pause by event", "paused", "e", is_event=True)
APART: Final = 1.1
"""Seconds that a call takes, so that no two changes at Twilio fall into one second."""

SCENARIOS: Final = (
    Pauses("a watched pause beside a resume", (WATCHED, RESUME)),
    Pauses("a watched pause beside a pause", (WATCHED, PAUSE)),
    Pauses("a watched pause beside another one", (WATCHED, SECOND)),
    Pauses("a watched pause beside a stop", (WATCHED, STOP)),
    Pauses("a watched pause beside a resume past this stack", (WATCHED,), Outside("resumes")),
    Pauses("a watched pause beside a pause past this stack", (WATCHED,), Outside("pauses")),
    Pauses("a watched pause of the current recording beside a foreign start", (CURRENT_WATCHED,), Outside("starts")),
    Pauses("a watched pause of the current recording beside a resume", (CURRENT_WATCHED, RESUME), is_variant=True),
    Pauses("a pause with AutoResume beside a pause", (WITH_AUTO_RESUME, PAUSE)),
    Pauses("a pause with AutoResume beside a resume", (WITH_AUTO_RESUME, RESUME), is_variant=True),
    Pauses("a pause with AutoResume beside a watched one", (WITH_AUTO_RESUME, SECOND), is_variant=True),
    Pauses("a pause with AutoResume beside a pause past this stack", (WITH_AUTO_RESUME,), Outside("pauses")),
    Pauses("a stop of the current recording by event beside a foreign start", (STOP_EVENT,), Outside("starts")),
    Pauses("a pause by event beside a resume", (PAUSE_EVENT, RESUME)),
    Pauses("a watched pause beside a resume, seconds apart", (WATCHED, RESUME), latency=APART, is_variant=True),
    Pauses("a watched pause beside a pause, seconds apart", (WATCHED, PAUSE), latency=APART, is_variant=True),
    Pauses(
        "a pause with AutoResume beside a pause, seconds apart",
        (WITH_AUTO_RESUME, PAUSE),
        latency=APART,
        is_variant=True,
    ),
    Pauses(
        "a pause with AutoResume beside a pause past this stack, seconds apart",
        (WITH_AUTO_RESUME,),
        Outside("pauses"),
        latency=APART,
        is_variant=True,
    ),
    Pauses(
        "a watched pause beside a resume whose clock is ahead", (WATCHED, RESUME), clocks=(-30, 30), is_variant=True
    ),
    Pauses(
        "a watched pause beside a resume whose clock is behind", (WATCHED, RESUME), clocks=(30, -30), is_variant=True
    ),
    Pauses("a watched pause beside a pause whose clock is ahead", (WATCHED, PAUSE), clocks=(-30, 30), is_variant=True),
)
