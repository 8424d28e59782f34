"""What is explored, on which stage, and which parts can be taken out to see that the exploration notices."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple, Protocol
from unittest.mock import patch

from call_recording.commands.intents import Intent
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.recordings.facts import Control
from call_recording.recordings.row import Row
from call_recording.start.starter import _Attempts
from tests.exploration import pauses, starts
from tests.exploration.history import Chooser
from tests.exploration.search import Ended, Found, search
from tests.exploration.stage import Stage
from tests.simulation.removals import REMOVALS as SIMULATED


class Scenario(Protocol):
    """Something to explore."""

    @property
    def title(self) -> str:
        """What it is, in words."""
        ...

    @property
    def is_variant(self) -> bool:
        """Whether it is explored with one fault less, because another scenario is much the same."""
        ...

    def run(self, stage: Stage, chooser: Chooser, *, faults: int) -> Ended:
        """Let one history happen and look at its end."""
        ...


_LOOK: Final = "the look before asking again"
_TOLD: Final = "what an earlier delivery was told"

SCENARIOS: Final[dict[str, Scenario]] = {one.title: one for one in (*starts.SCENARIOS, *pauses.SCENARIOS)}


def explore(
    title: str,
    stage: Stage,
    *,
    faults: int,
    tell: Callable[[int], object] = lambda _: None,
    is_one_enough: bool = False,
) -> Found:
    """Run every history of a scenario with up to that many faults; `tell` hears of how many were run.

    Where one broken history is enough, it need not be the shortest.
    """
    scenario = SCENARIOS[title]

    def run(chooser: Chooser, *, faults: int) -> Ended:
        return scenario.run(stage, chooser, faults=faults)

    return search(run, faults=faults, tell=tell, is_one_enough=is_one_enough)


def bound(title: str, faults: int) -> int:
    """Return how many faults a scenario's histories may have where most may have so many."""
    return max(0, faults - SCENARIOS[title].is_variant)


def in_words(ended: Ended) -> str:
    """Return a history that breaks promises as a list to read."""
    steps = [f"{number:4}. {step}" for number, step in enumerate(ended.steps, start=1)]
    return "\n".join([*steps, *(f"      BROKEN: {promise}" for promise in ended.broken)])


@contextmanager
def _without_the_tables_word() -> Iterator[None]:
    with patch.object(_Attempts, "_named_in_the_table", lambda *_: None):
        yield


@contextmanager
def _without_an_end_of_what_is_ones_own() -> Iterator[None]:
    with patch.object(Intent, "asked_until", property(lambda _: None, lambda *_: None), create=True):
        yield


@contextmanager
def _without_what_a_row_remembers_of_watches() -> Iterator[None]:
    """Any later control ends a pause, as in the first version of this application."""

    def has_ended(row: Row, timer: ResumeTimer) -> bool:
        control = row.get("control", {})
        return bool(control.get("timer") != timer.name and control.get("seen_at", "") > timer.asked_at)

    with patch("call_recording.control.overdue._has_ended", has_ended):
        yield


@contextmanager
def _without_telling_whose_a_pause_is() -> Iterator[None]:
    with patch("call_recording.control.overdue._is_own", lambda row, _: row["status"] == "paused"):
        yield


@contextmanager
def _without_the_rivals_of_one_second() -> Iterator[None]:
    with patch.object(Control, "is_surely_last", property(lambda _: True)):
        yield


@contextmanager
def _without_twilios_word() -> Iterator[None]:
    with patch("call_recording.control.overdue.OverduePauses._changed_at", lambda *_: ""):
        yield


@contextmanager
def _without_a_look_at_what_others_did() -> Iterator[None]:
    with patch("call_recording.control.controller._Delivery._is_as_before", lambda *_: True):
        yield


@contextmanager
def _without_a_timer() -> Iterator[None]:
    with patch.object(ResumeTimers, "set", lambda *_: None):
        yield


class Removal(NamedTuple):
    """A part of the application that is taken out, the scenario that shows its absence, and after how many faults."""

    title: str
    take_out: Callable[[], AbstractContextManager[Any]]
    faults: int = 1


REMOVALS: Final = {
    "idempotency": Removal("one key, delivered twice", SIMULATED["idempotency"], faults=0),
    "the look before asking again": Removal("a key beside a request without one", SIMULATED[_LOOK]),
    "the table's word about whose a recording is": Removal("a key beside a foreign start", _without_the_tables_word),
    "the end of what can be a request's own": Removal(
        "a key, and a foreign start before it is sent again", _without_an_end_of_what_is_ones_own
    ),
    "the timer of a watched pause": Removal("a watched pause beside a pause", _without_a_timer, faults=0),
    "what a row remembers of watched pauses": Removal(
        "a watched pause beside a pause", _without_what_a_row_remembers_of_watches, faults=0
    ),
    "the look at whose pause it is": Removal(
        "a pause with AutoResume beside a pause", _without_telling_whose_a_pause_is, faults=0
    ),
    "the rivals of one second": Removal(
        "a pause with AutoResume beside a pause", _without_the_rivals_of_one_second, faults=0
    ),
    "Twilio's word about the last change": Removal(
        "a pause with AutoResume beside a pause past this stack, seconds apart", _without_twilios_word, faults=0
    ),
    "what an earlier delivery was told": Removal(
        "a stop of the current recording by event beside a foreign start", SIMULATED[_TOLD]
    ),
    "the look at what others did since": Removal(
        "a pause by event beside a resume", _without_a_look_at_what_others_did
    ),
}
"""What can be taken out."""
