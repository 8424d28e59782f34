"""For every seed all promises hold, and the simulation notices when a part is taken out that keeps them."""

from typing import Any

import pytest

from tests.simulation.runs import REMOVALS, logged, run

SEEDS = 100
RECORDINGS_PER_SEED = 6
SEEDS_PER_TEST = 10


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_goes_wrong_every_promise_is_kept(template: dict[str, Any], first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        broken = run(template, seed=seed, recordings=RECORDINGS_PER_SEED)

        again = f"make simulate FIRST={seed} SEEDS=1 RECORDINGS={RECORDINGS_PER_SEED}"
        assert not broken, f"seed {seed} breaks promises; to see it again: {again}"


# Where looking begins: few seeds rotate a token at the moment that shows it.
FIRST_SEED = {"forced refreshes of credentials": 24}


@pytest.mark.parametrize("part", [part for part in REMOVALS if part])
def test_taking_a_part_out_is_noticed(template: dict[str, Any], part: str) -> None:
    first = FIRST_SEED.get(part, 0)
    noticed = any(run(template, seed=seed, recordings=12, without=part) for seed in range(first, first + 40))

    assert noticed, f"forty seeds without {part} broke no promise: the simulation cannot fail"


def test_a_seed_is_one_course_of_events(template: dict[str, Any]) -> None:
    first = run(template, seed=3, recordings=12, without="the merge rule")

    assert first == run(template, seed=3, recordings=12, without="the merge rule")
    assert first


@pytest.mark.parametrize("seed", range(10))
def test_whatever_goes_wrong_no_token_is_logged(template: dict[str, Any], seed: int) -> None:
    text, tokens = logged(template, seed=seed, recordings=RECORDINGS_PER_SEED)

    assert '"message":"recording started"' in text, "there is something to look at"
    assert '"level":"ERROR"' in text or '"level":"WARNING"' in text
    assert tokens
    assert [token for token in tokens if token in text] == []
    assert [word for word in ("auth_token", "Authorization", "Basic ") if word in text] == []
