"""docs/reference/performance.md: the figures in the text around them, which is performance.template.md."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import Figure, table

_TEMPLATE: Final = Path(__file__).parent / "performance.template.md"


def text(found: Iterable[Figure], *, rounds: int, machine: str) -> str:
    """Return the page."""
    figures = list(found)
    missed = [figure for figure in figures if figure.is_met is False]
    unmet = "\n".join(f"- {figure.name}: {figure.measured} instead of {figure.goal}." for figure in missed)
    return _TEMPLATE.read_text().format(
        table=table(figures),
        rounds=rounds,
        machine=machine,
        unmet=unmet or "Everything was met in this run.",
    )
