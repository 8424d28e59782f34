"""docs/reference/quality.md: what survived in the last run of each module, and what somebody thinks of it."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from local.stack import PROJECT
from tests.mutation.modules import MODULES

PAGE: Final = PROJECT / "docs/reference/quality.md"
GOAL_PERCENT: Final = 90
_HERE: Final = Path(__file__).parent
_RESULTS: Final = _HERE / "results.json"


@dataclass(frozen=True)
class Result:
    """How one module did."""

    measured: str
    """The day, as ISO 8601 has it."""

    mutants: int
    survivors: tuple[str, ...]
    """What was changed without a test that fails: the function, the line as it was, and as it became."""


@dataclass(frozen=True)
class Judgement:
    """Why some survivors of a module may survive."""

    module: str
    verdict: str
    """`equivalent`: no test could tell. `harmless`: a test could, but nobody would mind. `open`: it matters."""

    why: str
    mutants: tuple[str, ...]


def results() -> dict[str, Result]:
    """Return the last result of each module that was measured."""
    told = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    return {module: Result(**it | {"survivors": tuple(it["survivors"])}) for module, it in told.items()}


def judgements() -> list[Judgement]:
    """Return every judgement, in the order of the file."""
    told = tomllib.loads((_HERE / "judged.toml").read_text()).get("judged", [])
    return [Judgement(**it | {"mutants": tuple(it["mutants"])}) for it in told]


def note(module: str, result: Result) -> None:
    """Keep a module's result, and write the page."""
    found = results() | {module: result}
    kept = {name: asdict(found[name]) for name in MODULES if name in found}
    _RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page())


def complaints(modules: Iterable[str] = MODULES) -> list[str]:
    """Return what is wrong: too low a score, survivors that nobody judged, and judgements of what is dead."""
    measured, found = results(), []
    for module in modules:
        if module not in measured:
            continue
        survivors, judged = set(measured[module].survivors), _judged(module)
        found += [f"{module}: survives, and nobody said why: {it}" for it in sorted(survivors - judged.keys())]
        found += [f"{module}: judged, and does not survive: {it}" for it in sorted(judged.keys() - survivors)]
        if (score := _score(module, measured[module])) < GOAL_PERCENT:
            found.append(f"{module}: {score:.0f} % of the mutants that are not equivalent were killed")
    return found


def page() -> str:
    """Return the page."""
    text = (_HERE / "quality.template.md").read_text()
    return text.format(goal=GOAL_PERCENT, table=_table(), survivors=_survivors())


def _judged(module: str) -> dict[str, str]:
    return {
        it: judgement.verdict for judgement in judgements() if judgement.module == module for it in judgement.mutants
    }


def _counts(module: str, result: Result) -> Counter[str]:
    judged = _judged(module)
    return Counter(judged.get(it, "open") for it in result.survivors)


def _score(module: str, result: Result) -> float:
    killed = result.mutants - len(result.survivors)
    return 100 * killed / (result.mutants - _counts(module, result)["equivalent"])


def _table() -> str:
    measured = results()
    lines = [
        "| module | held against | mutants | killed | equivalent | harmless | open | score | measured |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for module, tests in MODULES.items():
        where = ", ".join(f"`{path.removesuffix('.py')}`" for path in tests)
        if result := measured.get(module):
            counts = _counts(module, result)
            figures = [result.mutants, result.mutants - len(result.survivors)]
            figures += [counts[verdict] for verdict in ("equivalent", "harmless", "open")]
            told = " | ".join(map(str, figures)) + f" | {_score(module, result):.1f} % | {result.measured}"
        else:
            told = "| | | | | | not yet"
        lines.append(f"| `{module}.py` | {where} | {told} |")
    return "\n".join(lines)


def _survivors() -> str:
    measured, parts = results(), []
    for module in MODULES:
        if module in measured and measured[module].survivors:
            counts = Counter(measured[module].survivors)
            said = [
                f"- {judgement.verdict}, {sum(counts[it] for it in judgement.mutants)}: {judgement.why}"
                for judgement in judgements()
                if judgement.module == module
            ]
            parts.append("\n".join([f"### `{module}.py`", "", *said]))
    return "\n\n".join(parts)
