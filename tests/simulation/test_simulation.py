"""For every seed all promises hold, and the simulation notices when a part is taken out that keeps them."""

from typing import Any

import pytest

from tests.simulation.removals import REMOVALS
from tests.simulation.runs import logged, run

SEEDS = 50
RECORDINGS_PER_SEED = 6
SEEDS_PER_TEST = 5


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_goes_wrong_every_promise_is_kept(template: dict[str, Any], first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        broken = run(template, seed=seed, recordings=RECORDINGS_PER_SEED)

        again = f"make simulate FIRST={seed} SEEDS=1 RECORDINGS={RECORDINGS_PER_SEED}"
        assert not broken, f"seed {seed} breaks promises; to see it again: {again}"


# Which sentence shows it, and where looking begins for what few seeds show.
NOTICED: dict[str, tuple[str, int]] = {
    "idempotency": ("recordings", 0),
    "the look before asking again": ("has a recording", 60),
    "the merge rule": ("changed its intent", 0),
    "the reconciler": (", Twilio ", 0),
    "turns of accounts": (", Twilio ", 36),
    "forced refreshes of credentials": ("a callback of Twilio's was refused", 25),
    "reading callbacks": ("could not be read", 0),
    "the bounds of what a callback says": ("a signed callback was answered 500", 4),
    "the proof of callbacks": ("a forged callback was answered", 0),
    "timers of pauses": ("nobody watches", 0),
    "the time at which a timer was set": ("its timer was set in the past", 6),
    "what a row remembers of timers": ("nobody was told", 8),
    "the look at whose pause it is": ("had asked to be paused since", 68),
    "what an earlier delivery was told": ("again at", 18),
    "the look at what others did since": ("again at", 20),
    "the closing pass": ("can be heard until", 7),
    "the legs of those who take part": ("can be heard until", 43),
    "the timer before the pause": ("and nobody watches", 4),
    "SIDs in place of Twilio.CURRENT": ("though nothing went wrong", 7),
    "the mark of new recordings": ("when everything was paused", 13),
    "how a recording was before": ("had paused at", 79),
    "the look at who did what since": ("had paused at", 31),
    "the note before asking": ("without a word", 49),
    "what can be left out of events": ("did not come out", 0),
    "ids of changes": ("did not come out", 0),
    "one event of a recording in a request": ("in another order", 72),
    "failures of batches": ("did not come out", 8),
    "the check of audio": ("is not what Twilio has", 9),
    "the look into the archive before deleting at Twilio": ("neither at Twilio nor in the archive", 325),
    "the look at Object Lock": ("while its object was locked", 54),
    "the note of where audio is stored": ("and the archive has", 35),
    "the tombstone": ("and the archive has", 196),
}


@pytest.mark.parametrize("part", [part for part in REMOVALS if part])
def test_taking_a_part_out_is_noticed(template: dict[str, Any], part: str) -> None:
    sentence, first = NOTICED[part]
    seeds = range(first, first + 40)
    said = (broken for seed in seeds for broken in run(template, seed=seed, recordings=12, without=part))

    assert any(sentence in broken for broken in said), (
        f"forty seeds without {part} say nowhere {sentence!r}: the simulation cannot fail"
    )


def test_a_seed_is_one_course_of_events(template: dict[str, Any]) -> None:
    first = run(template, seed=3, recordings=12, without="the merge rule")

    assert first == run(template, seed=3, recordings=12, without="the merge rule")
    assert first


@pytest.mark.parametrize("seed", range(5))
def test_whatever_goes_wrong_no_token_is_logged(template: dict[str, Any], seed: int) -> None:
    text, tokens = logged(template, seed=seed, recordings=RECORDINGS_PER_SEED)

    assert '"message":"recording started"' in text, "there is something to look at"
    assert '"level":"ERROR"' in text or '"level":"WARNING"' in text
    assert tokens
    assert [token for token in tokens if token in text] == []
    assert [word for word in ("auth_token", "Authorization", "Basic ") if word in text] == []
