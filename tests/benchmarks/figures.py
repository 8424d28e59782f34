"""Every figure of `make bench`: what it is, what was measured, and what it was to be."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.starts import Ratio


@dataclass(frozen=True)
class Figure:
    """One line of the table; `is_met` is None where there is nothing to meet."""

    name: str
    measured: str
    goal: str = ""
    is_met: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "**no**", None: ""}[self.is_met]


def at_most(name: str, ratio: Ratio, most: float) -> Figure:
    """Return a ratio that is to be small."""
    return Figure(name, str(ratio), f"≤ {most:.2f}", ratio.median <= most)


def at_least(name: str, ratio: Ratio, least: float) -> Figure:
    """Return a ratio that is to be large."""
    return Figure(name, str(ratio), f"≥ {least:.2f}", ratio.median >= least)


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    lines = ["| figure | measured | goal | met |", "|---|---|---|---|"]
    lines += [f"| {f.name} | {f.measured} | {f.goal} | {f.verdict} |" for f in figures]
    return "\n".join(lines)


def machine() -> str:
    """Return what the figures were measured on, as far as it matters to ratios."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


MIB: Final = 1024**2
