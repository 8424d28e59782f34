"""Accounts take turns: none waits for another's thousands of rows, and none is forgotten."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_recording.reconcile.turns import OutOfBudgetError, Waiting, take_turns


class Budget:
    """So many steps, and who did them."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.done: list[str] = []

    def work(self, name: str, steps: int, *, fails_at: int | None = None) -> Iterator[None]:
        for number in range(steps):
            if not self.left:
                raise OutOfBudgetError
            self.left -= 1
            if number == fails_at:
                raise TypeError(name)
            self.done.append(name)
            yield


@pytest.fixture
def failed() -> list[str]:
    return []


def run(budget: Budget, work: dict[str, int], *, first: str = "") -> str | None:
    return take_turns({name: budget.work(name, steps) for name, steps in work.items()}, first=first, give_up=_nobody)


def _nobody(account_sid: str, error: Exception) -> None:
    raise AssertionError(account_sid) from error


def test_each_has_a_step_before_anybody_has_a_second() -> None:
    budget = Budget(7)

    assert run(budget, {"a": 1_000, "b": 2, "c": 1}) == "a"
    assert budget.done == ["a", "b", "c", "a", "b", "a", "a"]


def test_whose_turn_it_was_begins_or_whoever_comes_after_it() -> None:
    for first, expected in [("b", "bca"), ("bb", "cab"), ("z", "abc"), ("", "abc")]:
        budget = Budget(3)
        run(budget, {"a": 1, "b": 1, "c": 1}, first=first)
        assert "".join(budget.done) == expected


def test_an_account_that_fails_is_given_up_and_the_others_go_on(failed: list[str]) -> None:
    budget = Budget(100)
    work = {"a": budget.work("a", 5, fails_at=1), "b": budget.work("b", 5), "c": budget.work("c", 5, fails_at=0)}

    turn = take_turns(work, first="", give_up=lambda account_sid, _: failed.append(account_sid))

    assert (turn, failed) == (None, ["c", "a"])
    assert budget.done.count("b") == 5


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1),
    st.integers(1, 9),
)
def test_everybody_is_served_in_as_many_runs_as_there_are_accounts(work: dict[str, int], steps: int) -> None:
    served: set[str] = set()
    turn: str | None = ""
    for _ in range(len(work)):
        budget = Budget(steps)
        turn = run(budget, work, first=turn or "")
        served |= set(budget.done)

    assert served == work.keys()


@given(st.sets(st.integers(0, 99), min_size=1), st.integers(1, 10))
def test_every_row_is_next_once_before_any_is_again(numbers: set[int], most: int) -> None:
    seen: list[str] = []
    behind = ""
    while len(seen) < len(numbers):
        waiting = Waiting(behind=behind, most=most)
        for number in numbers:
            waiting.add({"recording_sid": f"RE{number:02d}"})
        next_ones = [row["recording_sid"] for row in waiting.rows()]
        assert len(next_ones) == min(most, len(numbers))
        seen += next_ones
        behind = seen[-1]

    assert set(seen[: len(numbers)]) == {f"RE{number:02d}" for number in numbers}
