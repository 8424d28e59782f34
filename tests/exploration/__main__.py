"""`python -m tests.exploration --faults 1`: every history up to the bound, on every processor."""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from multiprocessing.sharedctypes import Synchronized
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.exploration.runs import SCENARIOS, bound, explore, in_words
from tests.exploration.search import Found
from tests.exploration.stage import Stage

_LOOK_EVERY_SECONDS: Final = 0.5


class _Worker:
    """What a process keeps: the stage, and the number of runs that all of them count."""

    stage: Stage
    runs: "Synchronized[int]"
    open: ExitStack


def _begin(runs: "Synchronized[int]") -> None:
    _Worker.open = ExitStack()
    _Worker.stage = _Worker.open.enter_context(Stage().set_up())
    _Worker.runs = runs


def _count(runs: int) -> None:
    with _Worker.runs.get_lock():
        _Worker.runs.value += runs


def _explore(title: str, faults: int) -> Found:
    return explore(title, _Worker.stage, faults=bound(title, faults), tell=_count)


def main() -> int:
    """Explore; return 0 only if every promise held in every history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1, help="how many calls may go wrong in one history")
    parser.add_argument("--only", default="", help="only scenarios with this in their title")
    given = parser.parse_args()

    began, runs, console = time.monotonic(), multiprocessing.Value("q", 0), Console(soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    titles = sorted((title for title in SCENARIOS if given.only in title), key=_likely_length, reverse=True)
    found: dict[str, Found] = {}
    with (
        ProcessPoolExecutor(os.cpu_count(), initializer=_begin, initargs=(runs,)) as pool,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("exploring", total=len(titles))
        waiting: dict[Future[Found], str] = {pool.submit(_explore, title, given.faults): title for title in titles}
        while waiting:
            for done in wait(waiting, timeout=_LOOK_EVERY_SECONDS, return_when=FIRST_COMPLETED).done:
                title = waiting.pop(done)
                found[title] = done.result()
                progress.advance(task)
                console.print(_told(title, found[title], bound(title, given.faults)), highlight=False)
            progress.update(task, description=f"{runs.value:,} runs")
    broken = [one for one in found.values() if one.broken]
    histories, minutes = sum(one.histories for one in found.values()), (time.monotonic() - began) / 60
    console.print(
        f"{histories:,} histories of {len(found)} scenarios, with up to {given.faults} faults in each, "
        f"by {sum(one.runs for one in found.values()):,} runs in {minutes:.1f} min: "
        f"{len(broken)} scenarios with broken promises",
        highlight=False,
    )
    return 1 if broken or not found else 0


def _told(title: str, found: Found, faults: int) -> str:
    line = f"{title}, {faults} faults: {found.histories:,} histories by {found.runs:,} runs, {found.broken:,} broken"
    return f"{line}\n{in_words(found.shortest)}" if found.shortest else line


def _likely_length(title: str) -> tuple[bool, int]:
    """Return what is large where many can meet: the longest ones begin first."""
    words = ("two", "beside", "watched", "AutoResume", "stop", "resume", "pause")
    return not SCENARIOS[title].is_variant, sum(title.count(word) for word in words)


if __name__ == "__main__":
    sys.exit(main())
