"""`make bench`: everything measured side by side in one run, printed, and written to docs/reference/performance.md."""

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.markdown import Markdown
from samcli.yamlhelper import yaml_parse

from local.stack import PROJECT, Stack, running_stack
from tests.benchmarks import figures, load, report, starts, subjects
from tests.benchmarks.figures import MIB, Figure, at_least, at_most
from tests.local_stack.test_archive import GIBIBYTE, archive_large
from tests.local_stack.test_capacity import Bill, account_of_its_own, bills

_ROWS = (1_000, 100_000)
_COLD = ("start", "sdk start", "cookbook start", "floor start", "status", "sdk client", "floor client")
_WARM = ("start", "sdk start", "cookbook start", "floor start", "status", "sdk callback")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of cold starts and of warm calls")
    rounds = parser.parse_args().rounds
    console, began = Console(file=sys.stdout), time.monotonic()

    def progress(message: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {message}")

    progress("Building ours, installing the peers")
    subjects.build()
    subjects.prepare()
    found = processes(rounds, progress)
    # What runs in this process writes its metrics and its log lines, too.
    with running_stack(progress) as stack, contextlib.redirect_stdout(io.StringIO()):
        found += on_the_stack(stack, progress)
    text = report.text(found, rounds=rounds, machine=figures.machine())
    (PROJECT / "docs/reference/performance.md").write_text(text)
    console.print(Markdown(figures.table(found)))
    progress("docs/reference/performance.md is written")
    return 0


def processes(rounds: int, progress: Callable[[str], None]) -> list[Figure]:
    """Measure what needs no stack: cold starts, warm calls, bytes."""
    known = subjects.subjects()
    with starts.stub() as url:
        progress(f"Cold starts, {rounds} rounds of {len(_COLD)}")
        ready, cold = starts.cold([known[name] for name in _COLD], url, rounds=rounds)
        progress(f"Warm calls, {rounds} rounds of {len(_WARM)}")
        measured = starts.warm([known[name] for name in _WARM], url, rounds=rounds, calls=200)
    warm = measured.times
    shipped = subjects.zipped_bytes(subjects.BUILD / "StartRecordingFunction", subjects.BUILD / "SharedLayer")
    return [
        at_most("cold start, start function / floor", cold.ratio("start", "floor start"), 1.10),
        at_least("cold start, SDK peer / start function", cold.ratio("sdk start", "start"), 1.2),
        at_least("cold start, cookbook peer / start function", cold.ratio("cookbook start", "start"), 1.5),
        at_most(
            'cold start, webhook / `boto3.client("dynamodb")`',
            ready.ratio("status", "floor client"),
            1.12,
        ),
        Figure(
            "the same of two clients and Powertools alone", str(ready.ratio("sdk client", "floor client")), "", None
        ),
        at_most("warm start request, own time / SDK peer", warm.ratio("start", "sdk start"), 0.7),
        Figure("warm start request, own time / cookbook peer", str(warm.ratio("start", "cookbook start"))),
        Figure("warm start request, own time / floor", str(warm.ratio("start", "floor start"))),
        at_most("warm callback, own time / SDK peer", warm.ratio("status", "sdk callback"), 0.8),
        *(
            Figure(f"{name}, peak memory of its process", f"{measured.peak_bytes[subject] / MIB:.0f} MiB")
            for name, subject in (("start function", "start"), ("webhook", "status"))
        ),
        Figure("shipped, start function and layer", f"{shipped:,} bytes", "≤ 2,200,000", is_met=shipped <= 2_200_000),
    ]


def on_the_stack(stack: Stack, progress: Callable[[str], None]) -> list[Figure]:
    """Measure what goes through the local stack: a reconciliation, a large recording, a burst."""
    progress(f"A reconciliation at {_ROWS[0]:,} and {_ROWS[1]:,} stored rows")
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    with account_of_its_own(stack) as account:
        few, many = bills(stack, account, template, _ROWS).values()
    progress("An archive of 1 GiB")
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(stack.account_sid)
    peak = archive_large(stack, call, subjects.WORK / "runtime", size=GIBIBYTE)
    progress(f"A burst: {load.STARTS:,} starts, {load.CALLBACKS:,} callbacks")
    burst = load.burst(stack)
    lost, double = burst.lost_callbacks + burst.lost_starts, burst.double_starts
    return [
        at_least(f"callbacks a second, {load.AT_ONCE} at once / an empty function", burst.throughput, 0.6),
        Figure("the same of a function that only writes one item", str(burst.one_write_throughput)),
        Figure("99th percentile of a callback's time / an empty function's", str(burst.p99)),
        Figure(
            f"of {load.CALLBACKS:,} callbacks and {load.STARTS:,} starts, each asked for twice",
            f"{lost} lost, {double} double",
            "0, 0",
            is_met=lost == double == 0,
        ),
        Figure(f"a reconciliation, at {_ROWS[0]:,} rows", _bill(few)),
        Figure(f"the same, at {_ROWS[1]:,} rows", _bill(many), "equal", is_met=few == many),
        Figure("archive of 1 GiB, peak memory", f"{peak / MIB:.0f} MiB", "≤ 160 MB", is_met=peak <= 160_000_000),
    ]


def _bill(bill: Bill) -> str:
    units = ", ".join(f"{name} {value:g}" for name, value in sorted(bill.units.items()))
    return f"{units} units; {bill.twilio_requests} requests to Twilio"


if __name__ == "__main__":
    sys.exit(main())
