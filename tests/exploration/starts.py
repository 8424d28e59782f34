"""Starts that meet: which deliveries are explored, what happens afterwards, and what must hold in the end.

What cannot be promised is no defect here, and `may_be_mistaken` says what that is.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from generators.sample_events import CALL_SID
from local.api_gateway import rest_api_event
from local.twilio_simulator.model import Recording
from tests.conftest import TABLE
from tests.exploration.calls import Outcome, short
from tests.exploration.delivery import KILLED, Delivery
from tests.exploration.history import BEGINS, Chooser, History
from tests.exploration.search import Ended
from tests.exploration.stage import Stage

AGAIN_AFTER_SECONDS: Final = 130.0
"""When a request is sent again: nobody works on it any more, and clocks may differ."""

MOST_TIMES: Final = 5
"""Somebody who is not answered by then, although nothing goes wrong any more, never will be."""

SOMEBODY: Final = "somebody else"

type When = Literal["at any time", "two minutes before", "minutes later"]


@dataclass(frozen=True)
class Asked:
    """A request: its name, and its key, if it has one. `is_event`: by EventBridge, which always has one."""

    name: str
    key: str | None
    is_event: bool = False

    def event(self) -> dict[str, Any]:
        """Return what the function is invoked with."""
        if self.is_event:
            return {
                "version": "0",
                "id": self.key,
                "detail-type": "Call Recording Requested",
                "source": "exploration",
                "time": datetime.fromtimestamp(BEGINS, UTC).isoformat(),
                "detail": {"CallSid": CALL_SID},
            }
        return rest_api_event(
            "POST",
            resource="/calls/{CallSid}/recordings",
            path_parameters={"CallSid": CALL_SID},
            headers={"Content-Type": "application/json"} | ({"Idempotency-Key": self.key} if self.key else {}),
            body="{}",
        )

    @property
    def intent(self) -> str | None:
        """The name of its intent, if its deliveries have one in common."""
        return self.key and f"{'eventbridge' if self.is_event else 'http'}#{self.key}"


@dataclass(frozen=True)
class Starts:
    """A scenario: deliveries at the same time on one call, and perhaps somebody who records past this stack.

    `clocks` says how far the clocks of the two environments are off. What was not answered, and what was, is sent
    again when `again_after_seconds` have passed. A variant of another scenario, with other times or more of them who
    meet, is explored with one fault less.
    """

    title: str
    deliveries: Sequence[Asked]
    foreign: When | None = None
    clocks: tuple[float, float] = (0.0, 0.0)
    latency: float = 0.02
    is_variant: bool = False
    again_after_seconds: float = AGAIN_AFTER_SECONDS

    def run(self, stage: Stage, chooser: Chooser, *, faults: int) -> Ended:
        """Let one history happen and look at its end."""
        history = stage.begin(chooser, faults=faults, latency=self.latency)
        return _Course(self, stage, history).run(faults)


class _Course:
    """One history of a scenario."""

    def __init__(self, scenario: Starts, stage: Stage, history: History) -> None:
        self.scenario = scenario
        self.stage = stage
        self.history = history
        self.sent: list[tuple[Asked, Delivery]] = []
        self.somebody = self._somebody(BEGINS)

    def run(self, faults: int) -> Ended:
        history, foreign = self.history, self.scenario.foreign
        if foreign == "two minutes before":
            history.alone(self.somebody)
            next(iter(history.twilio.recordings.values())).started_at -= 120
        deliveries = [self._send(asked, number, BEGINS) for number, asked in enumerate(self.scenario.deliveries)]
        beside = [self.somebody] if foreign == "at any time" else []
        history.together([*deliveries, *beside], until=deliveries)
        for asked, delivery in self.sent:
            history.note(delivery.who, "ends", _ending(asked, delivery))
        if beside and not self.somebody.is_over():
            if history.choose(2):
                self.somebody.now = BEGINS + self.scenario.again_after_seconds - 1
            history.finish(self.somebody)
        elif foreign == "minutes later":
            self.somebody.now = BEGINS + self.scenario.again_after_seconds - 1
            history.alone(self.somebody)
        history.choose(1)  # many ways lead here, and one is enough
        self._send_again()
        return Ended(history.steps, faults - history.faults, list(self._broken()))

    def _somebody(self, begins: float) -> Delivery:
        def record() -> Recording:
            return self.history.twilio.record(self.history.call)

        return self.stage.somebody(
            SOMEBODY, self.history.from_outside("starts a recording past this stack", "start", record), begins=begins
        )

    def _send(self, asked: Asked, number: int, begins: float, times: str = "") -> Delivery:
        delivery = self.stage.deliver(
            f"{'AB'[number]} ({asked.name}){times}",
            "start_recording",
            asked.event(),
            begins=begins,
            environment=number,
            clock_offset=self.scenario.clocks[number],
        )
        self.sent.append((asked, delivery))
        return delivery

    def _send_again(self) -> None:
        """Send every request that has a key until it is answered, and once if it was: who sends it cannot know."""
        waiting = [asked for asked in dict.fromkeys(self.scenario.deliveries) if asked.key]
        if len(waiting) > 1 and self.history.choose(2):
            waiting.reverse()
        for times in range(1, MOST_TIMES + 1):
            still = []
            for asked in waiting:
                number, begins = self.scenario.deliveries.index(asked), times * self.scenario.again_after_seconds
                delivery = self._send(asked, number, BEGINS + begins, times=f", {begins:.0f} s later")
                self.history.alone(delivery)
                self.history.note(delivery.who, "ends", _ending(asked, delivery))
                if not _is_met(asked, delivery):
                    still.append(asked)
            waiting = still

    # --- what must hold in the end ----------------------------------------------------------------

    def _broken(self) -> Iterator[str]:
        rows = {sid: row.get("intent", {}).get("S") for sid, row in self.history.memory.tables[TABLE].items.items()}
        yield from self._answers_are_wrong(rows)
        yield from self._recordings_are_too_many_or_too_few(rows)

    def _answers_are_wrong(self, rows: dict[str, str | None]) -> Iterator[str]:
        for asked in dict.fromkeys(self.scenario.deliveries):
            results = [delivery for one, delivery in self.sent if one is asked]
            answers = {sid for delivery in results if (sid := _answered(delivery))}
            if asked.intent is None:
                if any(rows.get(sid) is None for sid in answers):
                    yield f"{asked.name} was answered with a recording that has no row for it"
                continue
            named = [sid for sid, intent in rows.items() if intent == asked.intent]
            if len(named) > 1:
                yield f"{asked.name} has {len(named)} rows: {_listed(named)}"
            if len(answers) > 1:
                yield f"{asked.name} was answered with {len(answers)} recordings: {_listed(answers)}"
            if answers - {*named}:
                yield f"{asked.name} was answered with {_listed(answers)}, and its row is that of {_listed(named)}"
            has_failed = any(asked.key in entry["Detail"] for entry in self.history.memory.published)
            if not _is_met(asked, results[-1]):
                yield f"{asked.name} is never answered: {_ending(asked, results[-1])}"
            elif asked.is_event and bool(named) == has_failed:
                yield f"{asked.name} has {len(named)} rows, and {'a' if has_failed else 'no'} failure was told"

    def _recordings_are_too_many_or_too_few(self, rows: dict[str, str | None]) -> Iterator[str]:
        made = [change.recording_sid for change in self.history.changes if change.what == "start"]
        foreign = {change.recording_sid for change in self.history.changes if change.made_by is self.somebody}
        met = [intent for intent in rows.values() if intent]
        # Nobody asks again for a request without a key: what it began has no row until the reconciler looks.
        left = sum(not (asked.key or _answered(delivery)) for asked, delivery in self.sent)
        taken = {intent for sid, intent in rows.items() if intent and sid in foreign}
        for intent in taken:
            if not self._may_be_mistaken(intent):
                yield f"{intent} was given the recording that somebody else started"
        most, fewest = len(met) + len(foreign) + left, len(met) + len(foreign) - len(taken)
        if not fewest <= len(made) <= most:
            yield f"there are {len(made)} recordings for {len(met)} requests that were met and {len(foreign)} others"

    def _may_be_mistaken(self, intent: str) -> bool:
        """Tell whether a request may be given what somebody else started.

        Twilio has no idempotency key, and shows of a recording neither who started it nor for what. So one that
        began while it is not known what became of a request cannot be told from the request's own.
        """
        if self.scenario.foreign != "at any time":
            return False
        of_it = [outcome for asked, delivery in self.sent if asked.intent == intent for outcome in delivery.outcomes]
        return any(outcome is not Outcome.ANSWERED and label.startswith(_LEAVES_UNKNOWN) for label, outcome in of_it)


_LEAVES_UNKNOWN: Final = (
    "takes its key",  # whoever is killed there may have asked Twilio, for all that the next delivery can know
    "asks Twilio to record",
    "writes the new row",  # the answer was lost between Twilio and the table, though not on the way to us
)


def _answered(delivery: Delivery) -> str | None:
    """Return the recording that a delivery was answered with over HTTP."""
    result = delivery.result
    is_met = isinstance(result, dict) and result["statusCode"] == 201
    return json.loads(result["body"])["sid"] if is_met else None


def _is_met(asked: Asked, delivery: Delivery) -> bool:
    return delivery.result is None if asked.is_event else _answered(delivery) is not None


def _ending(asked: Asked, delivery: Delivery) -> str:
    """Return in words how a delivery ended."""
    result = delivery.result
    if result is KILLED:
        return "killed"
    if isinstance(result, dict):
        body = json.loads(result["body"])
        return f"{result['statusCode']} {_listed([body['sid']]) if 'sid' in body else body['type'].rpartition(':')[2]}"
    return f"raised {type(result).__name__}" if result is not None else "done"


def _listed(sids: Iterable[str]) -> str:
    return ", ".join(sorted(map(short, sids))) or "none"


FIRST, SECOND, KEYLESS = Asked("key-1", "key-1"), Asked("key-2", "key-2"), Asked("without a key", None)
EVENT = Asked("event-1", "event-1", is_event=True)

SCENARIOS: Final = (
    Starts("one key, delivered twice", (FIRST, FIRST)),
    Starts("two keys", (FIRST, SECOND)),
    Starts("a key beside a request without one", (FIRST, KEYLESS)),
    Starts("a key beside a foreign start", (FIRST,), "at any time"),
    Starts("a key after a foreign start", (FIRST,), "two minutes before"),
    Starts("a key, and a foreign start before it is sent again", (FIRST,), "minutes later", again_after_seconds=400),
    Starts("one key, delivered twice, beside a foreign start", (FIRST, FIRST), "at any time", is_variant=True),
    Starts("two keys beside a foreign start", (FIRST, SECOND), "at any time", is_variant=True),
    Starts("an event, delivered twice", (EVENT, EVENT)),
    Starts(
        "an event beside a key, sent again when it is too old", (EVENT, FIRST), again_after_seconds=360, is_variant=True
    ),
    Starts("one key, delivered twice, with clocks a minute apart", (FIRST, FIRST), clocks=(-30, 30), is_variant=True),
    Starts("two keys, with clocks a minute apart", (FIRST, SECOND), clocks=(-30, 30), is_variant=True),
    Starts("two keys, with a slow network", (FIRST, SECOND), latency=2.5, is_variant=True),
)
