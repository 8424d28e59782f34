"""What the smoke test did, step by step: printed while it runs, and written as a Markdown report."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """One step and its result."""

    what: str
    seconds: float
    told: str
    is_done: bool


class NotAsExpectedError(Exception):
    """A step had an unexpected result."""


class Report:
    """The steps in order. Anybody may read the report, so it never contains `secrets` or phone numbers."""

    def __init__(self, title: str, *, hidden: dict[str, str]) -> None:
        self.title = title
        self.steps: list[Step] = []
        self.began = datetime.now(UTC)
        self._hidden = {text: name for text, name in hidden.items() if text}

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """Time the step and record it, even if it fails; entries of the list are its evidence."""
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
        """Record that the test was aborted, also between two steps."""
        if self.is_good or not self.steps:
            self._note(Step("Stopped", 0.0, f"{type(error).__name__}: {error}", is_done=False))

    @property
    def is_good(self) -> bool:
        """Whether there were steps, and all of them succeeded."""
        return bool(self.steps) and all(step.is_done for step in self.steps)

    def write(self, path: Path) -> None:
        """Write the report."""
        outcome = "everything worked" if self.is_good else "**not everything worked**"
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
        """Return the text with secrets and phone numbers replaced by names."""
        for hidden, name in self._hidden.items():
            text = text.replace(hidden, f"<{name}>")
        return text

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        told = self.without_what_is_hidden(step.told)
        print(f"  {'✓' if step.is_done else '✗'}  {step.what} ({step.seconds:.1f} s) {told}", flush=True)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
