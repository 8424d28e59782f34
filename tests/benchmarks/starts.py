"""Cold starts and warm calls, ours and our peers', in turns: only what happens side by side can be compared."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.stack import PROJECT
from tests.benchmarks.subjects import SERVER, Subject, environment


@dataclass(frozen=True)
class Ratio:
    """What one thing takes, in parts of what another takes that was measured beside it, round by round."""

    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        lower, _, upper = statistics.quantiles(self.values, n=4)
        return lower, upper

    def __str__(self) -> str:
        lower, upper = self.quartiles
        return f"{self.median:.2f} ({lower:.2f} to {upper:.2f})"


@dataclass
class Times:
    """Seconds by subject, one for each round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def ratio(self, of: str, to: str) -> Ratio:
        return Ratio([one / other for one, other in zip(self.seconds[of], self.seconds[to], strict=True)])


class Process:
    """A subject in a process of its own, which has started cold and answered once."""

    def __init__(self, subject: Subject, url: str, *, answers: bool = True, twilio_url: str | None = None) -> None:
        variables = environment(url) | ({"TWILIO_API_URL": twilio_url} if twilio_url else {})
        self.child = subprocess.Popen(  # noqa: S603 (this interpreter)
            subject.command(answers=answers),
            env={"PATH": os.defpath} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._told()
        if told.get("status", 201) not in {201, 204}:
            raise ValueError(f"{subject.name} answered {told['status']}")
        self.ready_seconds = told["ready_cpu"]
        self.answered_seconds = told.get("answered_cpu", told["ready_cpu"])

    def _told(self) -> Any:
        line = self.child.stdout.readline() if self.child.stdout else ""
        if not line:
            raise ChildProcessError(f"ended with {self.child.wait()}")
        return json.loads(line)

    def do(self, command: str, number: int = 1) -> float:
        """Have it do one of worker.py's commands; return what it tells, which is 0 where there is nothing to tell."""
        assert self.child.stdin
        self.child.stdin.write(f"{command} {number}\n")
        self.child.stdin.flush()
        return float(self._told() or 0)

    def warm(self, calls: int) -> float:
        """Return what one of that many calls took of the processor, in seconds."""
        return self.do("own", calls)

    def peak(self) -> int:
        """Return the most memory that the process has had so far, in bytes."""
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return int(status["VmHWM"].split()[0]) * 1024

    def close(self) -> None:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """Run AWS and Twilio as one process that says yes to everything; give its URL."""
    process = subprocess.Popen(  # noqa: S603 (this interpreter)
        [sys.executable, "-m", "tests.benchmarks.stub", str(SERVER)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield f"https://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def cold(subjects: list[Subject], url: str, *, rounds: int) -> tuple[Times, Times]:
    """Return until each was ready, and until it had answered its first event, in turns."""
    ready, answered = Times(), Times()
    for number in range(rounds + 1):
        for subject in subjects if number % 2 else reversed(subjects):
            process = Process(subject, url)
            process.close()
            if number:  # the first round reads the files from the disk
                ready.add(subject.name, process.ready_seconds)
                answered.add(subject.name, process.answered_seconds)
    return ready, answered


@dataclass
class Warm:
    """What warm calls take of the processor, and what memory their processes came to need."""

    times: Times = field(default_factory=Times)
    peak_bytes: dict[str, int] = field(default_factory=dict)


def warm(subjects: list[Subject], url: str, *, rounds: int, calls: int) -> Warm:
    """Measure warm calls, in turns."""
    found = Warm()
    with contextlib.ExitStack() as cleanup:
        processes = {}
        for subject in subjects:
            processes[subject.name] = Process(subject, url)
            cleanup.callback(processes[subject.name].close)
        for number in range(rounds + 1):
            for name, process in processes.items():
                seconds = process.warm(calls)
                if number:
                    found.times.add(name, seconds)
        found.peak_bytes = {name: process.peak() for name, process in processes.items()}
    return found
