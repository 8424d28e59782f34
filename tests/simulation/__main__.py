"""The long run: `python -m tests.simulation --seeds 200 --recordings 10000`, on every processor."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from rich.progress import Progress
from samcli.yamlhelper import yaml_parse

from local.stack import PROJECT
from tests.simulation.runs import run


def broken(seed: int, recordings: int) -> tuple[int, list[str]]:
    """Return the seed and the promises that it breaks."""
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    return seed, run(template, seed=seed, recordings=recordings)


def main() -> int:
    """Run the seeds; return 0 only if every promise held for every one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--recordings", type=int, default=10_000, help="how many recordings, over all seeds")
    given = parser.parse_args()
    per_seed = max(1, given.recordings // given.seeds)
    seeds = range(given.first, given.first + given.seeds)

    began, failures = time.monotonic(), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool, Progress() as progress:
        for seed, promises in progress.track(pool.map(partial(broken, recordings=per_seed), seeds), total=len(seeds)):
            failures += bool(promises)
            for promise in promises:
                progress.console.print(f"seed {seed}: {promise}")
    minutes = (time.monotonic() - began) / 60
    print(f"{len(seeds)} seeds of {per_seed} recordings in {minutes:.1f} min: {failures} broke a promise")  # noqa: T201
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
