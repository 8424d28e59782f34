"""Up to the bound no history breaks a promise, and the exploration notices when a part is taken out that keeps them."""

from collections.abc import Iterator

import pytest

from tests.exploration.history import Chooser
from tests.exploration.runs import REMOVALS, SCENARIOS, explore, in_words
from tests.exploration.search import Choices, Ended, Search
from tests.exploration.stage import Stage

WITH_A_FAULT = (
    "one key, delivered twice",
    "two keys",
    "a key beside a request without one",
    "a key beside a foreign start",
    "a key after a foreign start",
    "a key, and a foreign start before it is sent again",
    "a watched pause beside a resume past this stack",
    "a watched pause beside a pause past this stack",
    "a watched pause of the current recording beside a foreign start",
    "a pause with AutoResume beside a pause past this stack",
    "a stop of the current recording by event beside a foreign start",
)
"""Scenarios with few histories: in the others only `make explore` lets something go wrong."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage().set_up() as stage:
        yield stage


@pytest.mark.parametrize("title", SCENARIOS)
def test_in_every_history_every_promise_is_kept(stage: Stage, title: str) -> None:
    found = explore(title, stage, faults=int(title in WITH_A_FAULT))

    assert found.shortest is None, in_words(found.shortest)
    assert found.histories >= found.runs > 0


@pytest.mark.parametrize("part", REMOVALS)
def test_taking_a_part_out_is_found(stage: Stage, part: str) -> None:
    removal = REMOVALS[part]

    with removal.take_out():
        found = explore(removal.title, stage, faults=removal.faults, is_one_enough=True)

    assert found.shortest is not None, f"nothing breaks without {part}: the exploration cannot fail"


def test_a_repeated_start_that_takes_another_recording_is_told_in_steps(stage: Stage) -> None:
    """As it was before the table's word counted."""
    removal = REMOVALS["the table's word about whose a recording is"]

    with removal.take_out():
        found = explore(removal.title, stage, faults=removal.faults)

    assert found.shortest is not None
    assert in_words(found.shortest).splitlines() == [
        "   1. somebody else starts a recording past this stack",
        "   2. A (key-1) takes its key, if it is new",
        "   3. A (key-1) asks Twilio to record",
        "   4. A (key-1) writes the new row of RE1: done, and killed there",
        "   5. A (key-1) ends: killed",
        "   6. A (key-1), 130 s later takes its key, if it is new",
        "   7. A (key-1), 130 s later takes its key, if it was left",
        "   8. A (key-1), 130 s later lists the call's recordings",
        "   9. A (key-1), 130 s later asks index by-call",
        "  10. A (key-1), 130 s later reads several rows",
        "  11. A (key-1), 130 s later asks index by-requested-call",
        "  12. A (key-1), 130 s later writes the new row of RE0",
        "  13. A (key-1), 130 s later notes the answer under its key",
        "  14. A (key-1), 130 s later ends: 201 RE0",
        "      BROKEN: key-1 has 2 rows: RE0, RE1",
    ]


def test_a_watched_pause_that_is_forgotten_is_told_in_steps(stage: Stage) -> None:
    """As it was when any later control ended a pause."""
    removal = REMOVALS["what a row remembers of watched pauses"]

    with removal.take_out():
        found = explore(removal.title, stage, faults=removal.faults)

    assert found.shortest is not None
    told = in_words(found.shortest).splitlines()
    assert "  10. B (pause) asks Twilio to make RE0 paused" in told
    assert told[-2:] == [
        "  17. the timer of A (watched pause) ends: done",
        "      BROKEN: the pause of A (watched pause) was not ended, and nobody was told of it",
    ]


class Everything(Choices):
    """Choices that are made although what follows is known."""

    def __init__(self, given: list[int], _: object) -> None:
        super().__init__(given, lambda _: False)


def test_what_is_not_run_again_would_have_ended_as_before(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, endings = SCENARIOS["one key, delivered twice"], list[str]()

    def run(chooser: Chooser, *, faults: int) -> Ended:
        ended = scenario.run(stage, chooser, faults=faults)
        endings.append(repr(sorted(step for step in ended.steps if step.what == "ends")))
        return ended

    spared = Search(run, faults=1).all()
    of_spared, endings = set(endings), []
    monkeypatch.setattr("tests.exploration.search.Choices", Everything)
    every = Search(run, faults=1).all()

    assert spared.runs < every.runs == every.histories == spared.histories
    assert of_spared == set(endings)


def test_the_same_choices_make_the_same_history(stage: Stage) -> None:
    scenario = SCENARIOS["two keys"]
    choices = [1, 0, 0, 2, 0, 1]

    first, again = (scenario.run(stage, Choices(choices, lambda _: False), faults=2) for _ in range(2))

    assert first == again
