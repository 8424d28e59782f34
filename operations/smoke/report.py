"""What the smoke test did, step by step: shown while it works, and written down as Markdown."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """One step and what became of it."""

    what: str
    seconds: float
    told: str
    is_done: bool


class NotAsExpectedError(Exception):
    """A step did not come out as it should."""


class Report:
    """Steps in their order. Whoever gets it may be anybody, so `secrets` and phone numbers never stand in it."""

    def __init__(self, title: str, *, hidden: dict[str, str]) -> None:
        self.title = title
        self.steps: list[Step] = []
        self.began = datetime.now(UTC)
        self._hidden = {text: name for text, name in hidden.items() if text}

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time what is done inside, and note it, also if it fails; what is put into the list is its evidence."""
        told: list[str] = []
        began = time.monotonic()
        print(f"  …  {what}", flush=True)
        try:
            yield told
        except BaseException as error:
            told.append(f"{type(error).__name__}: {error}")
            self._note(Step(what, time.monotonic() - began, "; ".join(told), is_done=False))
            raise
        self._note(Step(what, time.monotonic() - began, "; ".join(told), is_done=True))

    def stop(self, error: BaseException) -> None:
        """Note that it went no further, also where that was between two steps."""
        if self.is_good or not self.steps:
            self._note(Step("Stopped", 0.0, f"{type(error).__name__}: {error}", is_done=False))

    @property
    def is_good(self) -> bool:
        """Whether there was something to do, and all of it was done."""
        return bool(self.steps) and all(step.is_done for step in self.steps)

    def write(self, path: Path) -> None:
        """Write the report."""
        outcome = "everything was as it should be" if self.is_good else "**not everything was as it should be**"
        lines = [
            f"# {self.title}",
            "",
            f"{self.began:%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {platform.system()}: {outcome}.",
            "",
            "| step | | seconds | what was seen |",
            "|---|---|---|---|",
            *(
                f"| {step.what} | {'✓' if step.is_done else '**✗**'} | {step.seconds:.1f} | {_cell(step.told)} |"
                for step in self.steps
            ),
        ]
        path.write_text(self.without_what_is_hidden("\n".join(lines)) + "\n")

    def without_what_is_hidden(self, text: str) -> str:
        """Return the text with names in place of what nobody should read."""
        for hidden, name in self._hidden.items():
            text = text.replace(hidden, f"<{name}>")
        return text

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        told = self.without_what_is_hidden(step.told)
        print(f"  {'✓' if step.is_done else '✗'}  {step.what} ({step.seconds:.1f} s) {told}", flush=True)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
