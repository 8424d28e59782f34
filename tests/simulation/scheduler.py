"""Virtual time, and tasks that give way to each other only where they wait: one seed, one course of events."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import time_machine
from greenlet import getcurrent, greenlet


class Killed(BaseException):
    """The function was killed where it stood: no handler of its own sees it."""


@dataclass(eq=False)
class Task:
    """Something that runs in virtual time, on a machine whose clock may be off."""

    run: Callable[[], None]
    clock_offset: float = 0.0
    about: Any = None
    """What it is about, for whoever asks while it runs."""

    dies_at: float = float("inf")
    green: greenlet = field(init=False)


class Scheduler:
    """Runs tasks one at a time, in the order of their times."""

    def __init__(self, *, begins: float) -> None:
        self.now = begins
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._tasks: dict[greenlet, Task] = {}
        self._main = getcurrent()
        self._traveller: Any = None

    def at(self, moment: float, do: Callable[[], None]) -> None:
        """Have something done at that time, or now if it has passed."""
        heapq.heappush(self._agenda, (max(moment, self.now), next(self._order), do))

    def spawn(self, task: Task) -> None:
        """Begin a task now."""
        task.green = greenlet(task.run)
        self._tasks[task.green] = task
        self.at(self.now, lambda: self._switch_to(task))

    def current(self) -> Task | None:
        """Return the task that runs, or None outside of any."""
        return self._tasks.get(getcurrent())

    def pause(self, seconds: float) -> None:
        """Let the running task wait while others run."""
        task = self.current()
        assert task is not None
        self.at(self.now + seconds, lambda: self._switch_to(task))
        self._main.switch()
        if self.now >= task.dies_at:
            raise Killed

    def run(self, *, until: float) -> None:
        """Let everything happen up to that time."""
        with time_machine.travel(self.now, tick=False) as self._traveller:
            while self._agenda and self._agenda[0][0] <= until:
                self.now, _, do = heapq.heappop(self._agenda)
                self._traveller.move_to(self.now)
                do()
        self.now = until

    def _switch_to(self, task: Task) -> None:
        self._traveller.move_to(self.now + task.clock_offset)
        task.green.switch()
        self._traveller.move_to(self.now)
        if task.green.dead:
            del self._tasks[task.green]
