"""For every seed all promises hold, and the simulation notices when a part is taken out that keeps them."""

from typing import Any

import pytest

from tests.simulation.runs import REMOVALS, run

SEEDS = 200
RECORDINGS_PER_SEED = 6
SEEDS_PER_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_goes_wrong_every_promise_is_kept(template: dict[str, Any], first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        broken = run(template, seed=seed, recordings=RECORDINGS_PER_SEED)

        again = f"make simulate FIRST={seed} SEEDS=1 RECORDINGS={RECORDINGS_PER_SEED}"
        assert not broken, f"seed {seed} breaks promises; to see it again: {again}"


@pytest.mark.parametrize("part", [part for part in REMOVALS if part])
def test_taking_a_part_out_is_noticed(template: dict[str, Any], part: str) -> None:
    noticed = any(run(template, seed=seed, recordings=12, without=part) for seed in range(40))

    assert noticed, f"forty seeds without {part} broke no promise: the simulation cannot fail"


def test_a_seed_is_one_course_of_events(template: dict[str, Any]) -> None:
    first = run(template, seed=3, recordings=12, without="the merge rule")

    assert first == run(template, seed=3, recordings=12, without="the merge rule")
    assert first
