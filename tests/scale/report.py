"""The tables of `make scale`, and the parts of the pages that it writes."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import mean
from typing import Final

from local.stack import PROJECT
from tests.scale import costs, durations, plans
from tests.scale.costs import Use, dollars
from tests.scale.durations import Durations
from tests.scale.limits import LIMITS
from tests.scale.model import Course
from tests.scale.recording import Made, dearest, made
from tests.scale.settings import Settings, parameter_for, read

SCALE: Final = PROJECT / "docs/explanation/scale.md"
COSTS: Final = PROJECT / "docs/reference/costs.md"


@dataclass(frozen=True)
class Row:
    """A run with what it was of, and what a million recordings cost in it."""

    title: str
    course: Course
    dollars: float


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def courses(rows: Iterable[Row]) -> str:
    """Return what happened under each load."""
    head = (
        "recordings a second",
        "first limit reached, and its use",
        "row after the call's end, median / p99",
        "audio archived, median / p99",
        "ArchiveQueue at the end",
        "starts refused for good",
        "callbacks lost",
        "dollars for a million",
    )
    return table(head, (_row(row) for row in rows))


def _row(row: Row) -> tuple[str, ...]:
    course = row.course
    name, use = course.first()
    saturated = len(course.saturated())
    return (
        row.title,
        f"{name}: {'**' if use >= 1 else ''}{use:.0%}{'**' if use >= 1 else ''}"
        + (f", and {saturated - 1} more" if saturated > 1 else ""),
        _times(course, course.to_row),
        _times(course, course.to_archive),
        _depth(course),
        f"{course.not_started / max(1, course.starts):.1%}",
        f"{course.lost_callbacks / max(1, course.calls_ended):.1%}",
        f"{row.dollars:.0f}" if not saturated else "",
    )


def _times(course: Course, times: list[float]) -> str:
    def shown(seconds: float) -> str:
        return "not in this run" if seconds == inf else f"{seconds:.1f} s"

    return " / ".join(shown(course.quantile(times, part)) for part in (0.5, 0.99))


def _depth(course: Course) -> str:
    depth = course.depth["ArchiveQueue"]
    half = len(depth) // 2
    grows = (mean(depth[-5:]) - mean(depth[half : half + 5])) / max(1, len(depth) - half)
    return f"{depth[-1]:,}" + (f", {grows:.0f} more each second" if grows > 1 else "")


def uses(by_rate: Sequence[Row]) -> str:
    """Return how much of each limit is used under each load."""
    last = by_rate[-1].course
    names = sorted(last.use, key=lambda name: -last.use[name])

    def part(use: float) -> str:
        shown = f"{use:.0%}" if use >= 0.01 else "< 1%"
        return f"**{shown}**" if use >= 1 else shown

    return table(
        ("limit", *(row.title for row in by_rate)),
        ((name, *(part(row.course.use[name]) for row in by_rate)) for name in names),
    )


_SETTINGS: Final = {
    "control_rate": "ControlApi's requests a second",
    "webhook_rate": "WebhookApi's requests a second",
    "parallelization": "batches at once for each shard of the stream",
    "archive_concurrency": "recordings archived at once",
    "reconcile_at_once": "the reconciler's requests at once",
    "table_writes": "RecordingsTable's warm throughput, write units",
}
_POLLERS: Final = "archive_concurrency"
"""What beyond MaximumConcurrency takes pollers of its own."""


def what_to_set() -> str:
    """Return what is planned for each rate: settings by their parameters, then quotas."""
    rates = [rate for rate in plans.PLANS if rate > 1]

    def cell(name: str, value: float | None) -> str:
        if value is None:
            return ""
        most = LIMITS["queue-concurrency"].value
        return f"{value:,}" + (" (by pollers, below)" if name == _POLLERS and value > most else "")

    rows = []
    for name, words in _SETTINGS.items():
        parameter = parameter_for(name)
        what = f"`{parameter}`: {words}" if parameter else words
        rows.append((what, *(cell(name, plans.PLANS[rate].settings.get(name)) for rate in rates)))
    for name in dict.fromkeys(name for plan in plans.PLANS.values() for name in plan.quotas):
        what = f"**ask for**: {LIMITS[name].what.split(';')[0].split(', by what')[0]}"
        rows.append((what, *(cell(name, plans.PLANS[rate].quotas.get(name)) for rate in rates)))
    return table(("", *(f"{rate:,} a second" for rate in rates)), rows)


def published_limits() -> str:
    """Return the limits with their sources."""
    return table(
        ("limit", "of what", "raised on request"),
        (
            (f"{limit.value:,.0f}", f"[{limit.what}]({limit.source})", "yes" if limit.is_quota else "no")
            for limit in LIMITS.values()
        ),
    )


def bill(use: Use) -> str:
    """Return what a million recordings cost, line by line."""
    lines = costs.lines(use)
    rows = [(line.what, line.arithmetic, f"{line.dollars:.2f}") for line in lines]
    together = ("together", "", f"{sum(line.dollars for line in lines):.2f}")
    return table(("what", "how many for each recording", "each million recordings"), [*rows, together])


def options(one: Made, settings: Settings) -> str:
    """Return what each choice costs, or spares."""
    untraced = replace(settings, is_traced=False)
    use = Use.usual(one, untraced)
    whole = dollars(use)
    traced = Use.usual(one, replace(settings, is_traced=True))
    quiet = Use.usual(one, replace(settings, is_traced=False, has_system_logs=False))
    loud = Use.usual(one, replace(settings, is_traced=False, has_system_logs=True))
    changes = [
        ("`Tracing=Active`, each trace; above one a second 5 % are sampled", dollars(traced) - whole),
        ("Lambda's own two log lines about each invocation", dollars(loud) - dollars(quiet)),
        ("audio of 16 to 32 MiB, which is uploaded in two parts", dollars(costs.in_two_parts(use)) - whole),
        ("a start by an event, not over HTTP", dollars(costs.by_event(use)) - whole),
        ("a start without `Idempotency-Key`", dollars(costs.without_key(use, one)) - whole),
        ("a `Reference`", 2 * costs.WRITE_UNITS),
        ("a conference, or a call other than the start named, each", costs.WRITE_UNITS),
        ("a start time that differs from the one in Twilio's answer", _put_right(one)),
        ("`DeleteAtTwilioAfterArchiving=true`", dollars(Use.usual(made(deletes=True), untraced)) - whole),
        ("`ArchiveRecordings=false`", dollars(costs.without_archive(use, one)) - whole),
    ]
    rows = [(what, f"{change:+.2f}") for what, change in changes]
    rows.append(
        ("**a lean stack**: by event, no traces, none of Lambda's own lines", f"{dollars(costs.lean(quiet)):.2f}")
    )
    rows.append(
        (
            "**the same with `ArchiveRecordings=false`**",
            f"{dollars(costs.without_archive(costs.lean(quiet), one)):.2f}",
        )
    )
    return table(("choice", "each million recordings"), rows)


def _put_right(one: Made) -> float:
    """Return what it costs that indexes get a row under another start."""
    return (sum(dearest().units().values()) - sum(one.units().values())) * costs.WRITE_UNITS


# --- pages ------------------------------------------------------------------------------------------


def fingerprint(one: Made, settings: Settings) -> str:
    """Return a word that is another one whenever what the runs start from is."""
    known = (
        settings,
        Durations.of(one, settings.memory_mb),
        one.units(),
        durations.TWILIO_SPREAD,
        LIMITS,
        plans.PLANS,
    )
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def put(page: str, part: str, text: str) -> str:
    """Return a page with a part of it in place of the one that is there; raises ValueError where there is none."""
    pattern = re.compile(rf"(<!-- `make scale` writes this: {part} -->\n)(.*?)(<!-- end of {part} -->)", re.DOTALL)
    found, times = pattern.subn(lambda match: f"{match[1]}\n{text}\n\n{match[3]}", page)
    if times != 1:
        raise ValueError(f"{part} is {times} times in the page")
    return found


def cost_page(one: Made, page: str) -> str:
    """Return docs/reference/costs.md with what is computed of it."""
    settings = read()
    return put(put(page, "bill", bill(Use.usual(one, settings))), "choices", options(one, settings))


def write(path: Path, page: str) -> None:
    """Write a page, if it is another."""
    if path.read_text() != page:
        path.write_text(page)
