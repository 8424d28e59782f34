"""What is counted instead of timed: instructions, which repeat to a thousandth on however busy a machine."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.benchmarks.subjects import Subject, environment

_FEW: Final = 5
_MANY: Final = 25


def can_count() -> bool:
    """Tell whether valgrind is there."""
    return shutil.which("valgrind") is not None


def count(subject: Subject, url: str, *commands: str, answers: bool = True) -> int:
    """Return the instructions of a whole process that starts cold, answers its event once, and does the commands."""
    done = subprocess.run(  # noqa: S603 (this interpreter, counted)
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *subject.command(answers=answers)],  # noqa: S607
        env={"PATH": os.defpath} | environment(url),
        input="".join(f"{command}\n" for command in commands),
        capture_output=True,
        text=True,
        check=True,
    )
    (collected,) = re.findall(r"Collected : (\d+)", done.stderr)
    return int(collected)


class Counts:
    """Instructions by what they were for; each is counted once, two at a time."""

    def __init__(self, known: dict[str, Subject], url: str) -> None:
        """Count what the figures need: cold starts, first, warm and late calls."""
        rested = "rest 600"  # connections are closed after 30 s, secrets old after five minutes
        runs: dict[str, tuple[Subject, tuple[str, ...], bool]] = {
            name: (known[name], (), True)
            for name in ("start", "start with a key", "status", "floor start", "sdk start", "floor client")
        }
        runs["start with a key, ready"] = (known["start with a key"], (), False)
        runs["start with a key, rested"] = (known["start with a key"], (f"call {_FEW}", rested, "call 1"), True)
        for name in ("start", "start with a key", "sdk start", "status", "sdk callback"):
            runs[f"{name}, few"] = (known[name], (f"call {_FEW}",), True)
            runs[f"{name}, many"] = (known[name], (f"call {_MANY}",), True)
        with ThreadPoolExecutor(2) as pool:
            counted = pool.map(lambda run: count(run[0], url, *run[1], answers=run[2]), runs.values())
            self._counted = dict(zip(runs, counted, strict=True))

    def cold(self, name: str) -> int:
        """Return a whole process, from its start to its first answer."""
        return self._counted[name]

    def warm(self, name: str) -> float:
        """Return one warm call, through the network."""
        return (self._counted[f"{name}, many"] - self._counted[f"{name}, few"]) / (_MANY - _FEW)

    def first(self) -> int:
        """Return what a first start with a key takes in the handler."""
        return self._counted["start with a key"] - self._counted["start with a key, ready"]

    def rested(self) -> int:
        """Return what a start with a key takes after quiet minutes."""
        return self._counted["start with a key, rested"] - self._counted["start with a key, few"]
