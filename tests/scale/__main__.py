"""`make scale`: the model at five loads, what is met first in each, and the pages that are written of it."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

from tests.scale import plans, report
from tests.scale.costs import Use, dollars
from tests.scale.model import Model
from tests.scale.plans import Plan
from tests.scale.recording import dearest, made
from tests.scale.report import Row
from tests.scale.settings import planned, read

DEFAULTS: Final = "with the template's defaults, and AWS's"
PLANNED: Final = "with what this page says to set and to ask for"
NEW: Final = "in a new account, which has 10 executions at once"


@dataclass(frozen=True)
class Run:
    """One run of the model: under which heading it is shown, and what it is of."""

    heading: str
    title: str
    rate: int
    plan: Plan
    seconds: float


def runs() -> Iterator[Run]:
    """Give all of them; few recordings need more time to be many."""
    for rate, plan in plans.PLANS.items():
        seconds = min(600, max(60, 6_000 / rate))
        yield Run(DEFAULTS, f"{rate:,}", rate, Plan(), seconds)
        yield Run(PLANNED, f"{rate:,}", rate, plan, seconds)
    for title, plan in (
        ("10, defaults", Plan(quotas=plans.NEW_ACCOUNT.quotas)),
        ("10, two archived at once", plans.NEW_ACCOUNT),
    ):
        yield Run(NEW, title, 10, plan, 300)


def row(run: Run) -> tuple[str, Row, list[str]]:
    """Return under which heading a run is shown, what came of it, and which of its settings no parameter sets."""
    settings, unset = planned(**run.plan.settings)
    course = Model(settings, dearest(), rate=run.rate, seconds=run.seconds, quotas=run.plan.quotas).run()
    use = Use.usual(made(), settings).under(course, settings)
    return run.heading, Row(run.title, course, dollars(use)), unset


def main() -> int:
    """Run, print, write the pages; return 0 only if nothing that is planned is asked for more than it gives."""
    parser = argparse.ArgumentParser(prog="make scale")
    parser.add_argument("--only-costs", action="store_true", help="write docs/reference/costs.md, without any run")
    only_costs = parser.parse_args().only_costs
    # About features of AWS SAM that it has and nobody switched on.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    report.write(report.COSTS, report.cost_page(made(), report.COSTS.read_text()))
    if only_costs:
        return 0
    # Wide tables: in a file or a pipe they have room.
    console, began = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 240), time.monotonic()
    found: dict[str, list[Row]] = {}
    missing: dict[str, list[str]] = {}
    todo = list(runs())
    with ProcessPoolExecutor(2) as pool, Progress(console=console) as progress:
        for heading, result, unset in progress.track(pool.map(row, todo), total=len(todo), description="runs"):
            found.setdefault(heading, []).append(result)
            if heading == PLANNED and unset:
                missing[result.title] = unset
    page = report.SCALE.read_text()
    tables = {
        "what to set": report.what_to_set(),
        "defaults": report.courses(found[DEFAULTS]),
        "planned": report.courses(found[PLANNED]),
        "new account": report.courses(found[NEW]),
        "limits": report.uses(found[PLANNED]),
        "published": report.published_limits(),
    }
    for part, text in tables.items():
        page = report.put(page, part, text)
    page = report.put(page, "state", f"<!-- made of {report.fingerprint(dearest(), read())} -->")
    report.write(report.SCALE, page)
    for heading, part in ((DEFAULTS, "defaults"), (PLANNED, "planned"), (NEW, "new account"), (PLANNED, "limits")):
        console.print(Markdown(f"**Recordings a second, {heading}**\n\n{tables[part]}"))
    for title, unset in missing.items():
        console.print(f"At {title} a second no parameter sets: {', '.join(unset)}")
    console.print(
        f"{time.monotonic() - began:.0f} s; docs/explanation/scale.md and docs/reference/costs.md are written."
    )
    return int(any(one.course.saturated() for one in found[PLANNED]))


if __name__ == "__main__":
    sys.exit(main())
