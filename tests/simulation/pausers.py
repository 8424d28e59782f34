"""Who pauses everything that hears a call, and whatever happens around it meanwhile: in every third seed."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from local.api_gateway import rest_api_event
from local.twilio_simulator.model import Call, Conference, Recording
from tests.simulation.callers import Controllers, Starters, control_event
from tests.simulation.strangers import Strangers
from tests.simulation.ways import ANSWERS_RUNNING
from tests.simulation.world import WEBHOOK_URL, World

ALL: Final = "ALL"
_SHAPES: Final = ("alone", "alone", "legs", "child", "conference", "conference", "conference")
_HAS_RETRIED: Final = (0, 409)


@dataclass(eq=False)
class Meeting:
    """Calls that hear each other, or may come to; the first one is what most requests name."""

    account_sid: str
    calls: list[Call] = field(default_factory=list)
    conferences: list[Conference] = field(default_factory=list)
    wishes: "list[AllWish]" = field(default_factory=list)

    def has(self, recording: Recording) -> bool:
        """Tell whether a recording is of one of the calls, or of a conference of theirs."""
        if recording.conference:
            return any(one is recording.conference for one in self.conferences)
        return any(one is recording.call for one in self.calls)


@dataclass(eq=False)
class AllWish:
    """One intent to pause or resume everything; what it was told is in its deliveries."""

    name: str
    call: Call
    fields: dict[str, Any]
    meeting: Meeting
    patience: int

    @property
    def is_pause(self) -> bool:
        """Whether it is to pause."""
        return bool(self.fields["Status"] == "paused")


class Pausers:
    """Their own calls, so that what else happens in a seed is as it was; drawn from a source of their own."""

    def __init__(self, world: World, starters: Starters, controllers: Controllers, strangers: Strangers) -> None:
        self.world = world
        self.random = random.Random(f"pausers {world.seed}")  # noqa: S311 (to be repeatable is the point)
        self.starters = starters
        self.controllers = controllers
        self.strangers = strangers
        self.meetings: list[Meeting] = []
        self.wishes: list[AllWish] = []

    def plan(self, meetings: int, *, within: float) -> None:
        """Plan what happens, if this is one of the seeds."""
        if self.world.seed % 3 != 1:
            return
        for _ in range(meetings):
            account = self.random.choices(self.world.accounts, [7, 3])[0]
            meeting = Meeting(account.sid)
            self.meetings.append(meeting)
            begins = self.world.begins + 1 + self.random.uniform(0, within)
            self._at(begins, lambda meeting=meeting: self._open(meeting))  # type: ignore[misc]

    def _at(self, moment: float, do: Callable[[], Any]) -> None:
        self.world.scheduler.at(moment, do)

    def _soon(self, seconds: float, do: Callable[[], Any]) -> None:
        self._at(self.world.scheduler.now + seconds, do)

    # --- who talks -----------------------------------------------------------------------------

    def _begin(self, meeting: Meeting, lasts: float, parent: Call | None = None) -> Call:
        call = self.world.twilio.begin_call(
            meeting.account_sid, lasts_seconds=lasts, parent_call_sid=parent.sid if parent else None
        )
        meeting.calls.append(call)
        self.world.wake_for_twilio()
        return call

    def _open(self, meeting: Meeting) -> None:
        draw, lasts = self.random, self.random.uniform(60, 240)
        shape = draw.choice(_SHAPES)
        parent = self._begin(meeting, lasts + 5) if shape == "child" else None
        first = self._begin(meeting, lasts, parent)
        meeting.calls.sort(key=lambda call: call is not first)
        if shape == "legs":
            self._begin(meeting, lasts, first)
        if shape == "conference":
            # One who takes part may have dialled somebody, or been dialled by somebody.
            other = self._begin(meeting, draw.uniform(30, lasts))
            leg = self._begin(meeting, lasts, other) if draw.random() < 0.7 else None
            other = draw.choice([other, leg]) if leg else other
            meeting.conferences.append(self.world.twilio.begin_conference([first, other]))
            if draw.random() < 0.6:
                self._soon(draw.uniform(0, 2), lambda: self._record_conference(meeting))
        pauses_at = draw.uniform(3, 12)
        for _ in range(draw.choice([0, 1, 1, 2])):
            self._soon(draw.uniform(0, 2.5), lambda: self._start(meeting))
        for _ in range(draw.choice([0, 1, 1, 2])):
            self._soon(draw.uniform(0, pauses_at), lambda: self._record(meeting))
        self._around(meeting, pauses_at)
        self._ask_at(pauses_at, lasts, meeting)

    def _around(self, meeting: Meeting, pauses_at: float) -> None:
        """Plan what happens at about the time of the pause, and while it lasts."""
        draw = self.random
        happens: list[tuple[int, Callable[[Meeting], None]]] = [
            (4, self._record),
            (3, self._start),
            (2, self._change_at_twilio),
            (2, self._control),
            (1, self._dial),
        ]
        if meeting.conferences:
            happens += [(3, self._join), (1, self._leave), (1, self._record_conference)]
        else:
            happens += [(1, self._meet)]
        weights, what = zip(*happens, strict=True)
        for do in draw.choices(what, weights, k=draw.choice([1, 2, 3, 4, 6])):
            # A pause takes some seconds, in which most shall happen.
            after = draw.choice([draw.uniform(-6, -0.5), draw.uniform(-1, 7), draw.uniform(0, 6), draw.uniform(3, 50)])
            self._soon(max(0.0, pauses_at + after), lambda do=do: do(meeting))  # type: ignore[misc]

    def _live(self, meeting: Meeting) -> list[Call]:
        return [call for call in meeting.calls if call.is_live]

    def _dial(self, meeting: Meeting) -> None:
        if live := self._live(meeting):
            self._begin(meeting, self.random.uniform(20, 100), self.random.choice(live))

    def _join(self, meeting: Meeting) -> None:
        if meeting.conferences[-1].is_live:
            call = self._begin(meeting, self.random.uniform(20, 100))
            self.world.twilio.join(meeting.conferences[-1], call)
            if self.random.random() < 0.7:
                self._soon(self.random.uniform(0, 10), lambda: self._record_call(call))

    def _leave(self, meeting: Meeting) -> None:
        self.world.twilio.leave(self.random.choice(meeting.calls))
        self.world.wake_for_twilio()

    def _meet(self, meeting: Meeting) -> None:
        """Have the call, which was in none, meet somebody in a conference."""
        if meeting.conferences:
            self._join(meeting)
        elif meeting.calls[0].is_live:
            other = self._begin(meeting, self.random.uniform(20, 100))
            meeting.conferences.append(self.world.twilio.begin_conference([meeting.calls[0], other]))
            self._soon(self.random.uniform(0, 5), lambda: self._record_conference(meeting))

    # --- who records ---------------------------------------------------------------------------

    def _start(self, meeting: Meeting) -> None:
        if live := self._live(meeting):
            self.starters.ask(self.random.choice(live), self.world.scheduler.now)

    def _record(self, meeting: Meeting) -> None:
        if live := self._live(meeting):
            self._record_call(self.random.choice(live))

    def _record_call(self, call: Call) -> None:
        if call.is_live:
            sources = ["RecordVerb", "DialVerb"]
            if ANSWERS_RUNNING not in self.world.ways:
                sources.append("StartCallRecordingAPI")
            made = self.world.twilio.record(call, self._form(), source=self.random.choice(sources))
            self.strangers.made.add(made.sid)
            self.world.wake_for_twilio()

    def _record_conference(self, meeting: Meeting) -> None:
        if meeting.conferences[-1].is_live:
            source = self.random.choice(["Conference", "StartConferenceRecordingAPI"])
            made = self.world.twilio.record_conference(meeting.conferences[-1], self._form(), source=source)
            self.strangers.made.add(made.sid)
            self.world.wake_for_twilio()

    def _form(self) -> dict[str, list[str]]:
        """Return what has a recording call this stack back, or does not."""
        if self.random.random() < 0.3:
            return {}
        events = self.random.choice(["in-progress completed absent", "completed absent"])
        return {"RecordingStatusCallback": [WEBHOOK_URL], "RecordingStatusCallbackEvent": [events]}

    def _change_at_twilio(self, meeting: Meeting) -> None:
        if found := self.world.twilio.running(meeting.has):
            one, status = self.random.choice(found), self.random.choice(["paused", "paused", "in-progress"])
            self.world.twilio.change(one, status)
            if status == "in-progress" and self.random.random() < 0.5:
                self._soon(self.random.uniform(1, 20), lambda: self.world.twilio.change(one, "paused"))

    def _control(self, meeting: Meeting) -> None:
        if found := self.world.twilio.running(lambda one: meeting.has(one) and one.conference is None):
            one = self.random.choice(found)
            status = self.random.choice(["paused", "paused", "paused", "in-progress"])
            self.controllers.ask(one.call, {"Status": status}, one.sid)

    # --- who pauses everything -----------------------------------------------------------------

    def _ask_at(self, pauses_at: float, lasts: float, meeting: Meeting) -> None:
        draw, first = self.random, meeting.calls[0]
        self._soon(pauses_at, lambda: self._ask(first, self._to_pause(meeting), meeting))
        if draw.random() < 0.2:
            self._soon(pauses_at + draw.choice([0, 1, 10, 40]), lambda: self._ask(first, {"Status": "paused"}, meeting))
        # On another call, too: then everybody resumes their own.
        second = meeting.calls[1:2] if draw.random() < 0.2 else []
        if second:
            self._soon(pauses_at + draw.uniform(0, 20), lambda: self._ask(second[0], self._to_pause(meeting), meeting))
        if draw.random() < 0.75:
            resumes_at = pauses_at + draw.choice([draw.uniform(1, 6), draw.uniform(6, 60), draw.uniform(20, lasts)])
            by = draw.choice(meeting.calls) if draw.random() < 0.3 and not second else first
            for one in [by] * draw.choice([1, 1, 2]) + second:
                self._soon(
                    resumes_at + draw.choice([0, 0.3, 5]),
                    lambda one=one: self._ask(one, {"Status": "in-progress"}, meeting),  # type: ignore[misc]
                )
            if draw.random() < 0.25:
                again = resumes_at + draw.uniform(2, 20)
                self._soon(again, lambda: self._ask(first, self._to_pause(meeting), meeting))

    def _to_pause(self, meeting: Meeting) -> dict[str, Any]:
        draw, fields = self.random, dict[str, Any](Status="paused")
        if draw.random() < 0.5:
            fields["ResumeWithinSeconds"] = draw.choice([3, 20, 45, 90])
            if draw.random() < 0.5:
                fields["AutoResume"] = True
        if draw.random() < 0.3:
            fields["PauseBehavior"] = "skip"
        if meeting.conferences and draw.random() < 0.3:
            fields["ConferenceSid"] = meeting.conferences[-1].sid
        return fields

    def _ask(self, call: Call, fields: dict[str, Any], meeting: Meeting) -> None:
        draw = self.random
        if fields["Status"] == "paused" and not meeting.conferences and draw.random() < 0.2:
            fields = {**fields, "ConferenceSid": "none"}
        if call.account_sid != self.world.accounts[0].sid:
            fields = {**fields, "AccountSid": call.account_sid}
        kind = draw.choices(["http", "eventbridge", "keyless"], [5, 2, 2])[0]
        wish = AllWish(f"{kind}#all-{len(self.wishes)}", call, fields, meeting, draw.choice([0, 1, 3, 5]))
        self.wishes.append(wish)
        meeting.wishes.append(wish)
        send = self._put_event if kind == "eventbridge" else self._send
        send(wish)
        if kind != "keyless" and draw.random() < 0.2:
            self._soon(draw.choice([0.0, 0.3, 5.0, 70.0]), lambda: send(wish))

    def _send(self, wish: AllWish, tries: int = 0) -> None:
        has_key = wish.name.startswith("http#")
        key = {"Idempotency-Key": wish.name.removeprefix("http#")} if has_key else {}
        event = rest_api_event(
            "POST",
            resource="/calls/{CallSid}/recordings/{RecordingSid}",
            path_parameters={"CallSid": wish.call.sid, "RecordingSid": ALL},
            headers={"Content-Type": "application/json", **key},
            body=json.dumps(wish.fields),
        )

        def answered(result: Any) -> None:
            status = result["statusCode"] if isinstance(result, dict) else 0
            if (status in _HAS_RETRIED or status >= 500) and tries < wish.patience:
                self._soon(self.random.uniform(0.5, 3 * 2**tries), lambda: self._send(wish, tries + 1))

        self.world.invoke("recordings_api", event, answered, cause=wish.name)

    def _put_event(self, wish: AllWish) -> None:
        detail = {"CallSid": wish.call.sid, "RecordingSid": ALL, **wish.fields}
        self.world.aws.send(control_event(self.world, wish.name, detail), wish.name)
