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
from tests.benchmarks import connections, figures, instructions, load, report, starts, subjects
from tests.benchmarks.figures import MIB, Figure, at_least, at_most
from tests.local_stack.test_archive import GIBIBYTE, archive_large
from tests.local_stack.test_capacity import Bill, account_of_its_own, bills

_ROWS = (1_000, 100_000)
_COLD = ("start", "sdk start", "cookbook start", "floor start", "status", "sdk client", "floor client")
_MILLION = 1_000_000
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
        progress("Round trips, and connections that died")
        waits = waiting(known, url)
        progress("Instructions" if instructions.can_count() else "No instructions: valgrind is missing")
        counted = instructions.Counts(known, url) if instructions.can_count() else None
    warm = measured.times
    shipped = subjects.zipped_bytes(subjects.BUILD / "StartRecordingFunction", subjects.BUILD / "SharedLayer")
    return [
        *(in_instructions(counted) if counted else [Figure("instructions", "not counted: valgrind is missing")]),
        *waits,
        at_most("cold start, start function / floor", cold.ratio("start", "floor start"), 0.60),
        at_least("cold start, SDK peer / start function", cold.ratio("sdk start", "start"), 2.0),
        at_least("cold start, cookbook peer / start function", cold.ratio("cookbook start", "start"), 2.5),
        Figure('cold start, webhook / `boto3.client("dynamodb")`', str(ready.ratio("status", "floor client"))),
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
        Figure("shipped, start function and layer", f"{shipped:,} bytes", "≤ 3,500,000", is_met=shipped <= 3_500_000),
    ]


def waiting(known: dict[str, subjects.Subject], url: str) -> list[Figure]:
    """Count what a start waits for before Twilio is asked, and measure what a dead connection costs."""
    claimed = connections.round_trips(known["start with a key"], url)
    plain = connections.round_trips(known["start"], url)
    peer = connections.round_trips(known["sdk start"], url)
    first, rested, warm = (1000 * each for each in connections.processor_times(known["start with a key"], url))
    name = "round trips before Twilio has the `POST`"
    return [
        Figure(
            f"{name}: a first start with a key, and the next", f"{claimed[0]}, {claimed[1]}", "1, 1", claimed == (1, 1)
        ),
        Figure(f"{name}: without a key", f"{plain[0]}, {plain[1]}", "0, 0", plain == (0, 0)),
        Figure(f"{name}: the SDK peer, which claims nothing", f"{peer[0]}, {peer[1]}"),
        Figure("processor time of a first start with a key, in the handler", f"{first:.1f} ms", "≤ 16 ms", first <= 16),
        Figure("the same after ten quiet minutes", f"{rested:.1f} ms", "≤ 11 ms", rested <= 11),
        Figure("the same of a warm one", f"{warm:.1f} ms"),
        *(
            Figure(
                f"a start whose connection {what}, beside one that connects anew",
                f"{seconds:+.3f} s",
                "≤ 0.1 s",
                is_met=seconds <= 0.1,
            )
            for what, seconds in (
                ("was reset while frozen", connections.delay(known["start with a key"], url, how="reset")),
                ("was dropped in silence", connections.delay(known["start with a key"], url, how="swallowed")),
            )
        ),
    ]


def in_instructions(counted: instructions.Counts) -> list[Figure]:
    """Return what was counted: cold starts as shipped, and what a request takes through the network, over TLS."""
    start, status = counted.cold("start") / _MILLION, counted.cold("status") / _MILLION
    floor = counted.cold("floor start") / _MILLION
    peer, callback = (
        counted.warm("start") / counted.warm("sdk start"),
        counted.warm("status") / counted.warm("sdk callback"),
    )

    def most(name: str, value: float, limit: float, unit: str = "", digits: int = 2) -> Figure:
        return Figure(name, f"{value:,.{digits}f}{unit}", f"≤ {limit:,.{digits}f}{unit}", value <= limit)

    return [
        most("instructions, cold start, start function", start, 1_040, " million", 0),
        most("the same / floor", start / floor, 0.60),
        Figure("the same / SDK peer", f"{start * _MILLION / counted.cold('sdk start'):.2f}"),
        most("instructions, cold start, webhook", status, 960, " million", 0),
        Figure("instructions of a first start with a key, in the handler", f"{counted.first() / _MILLION:.1f} million"),
        Figure("the same after ten quiet minutes", f"{counted.rested() / _MILLION:.1f} million"),
        Figure("the same of a warm one", f"{counted.warm('start with a key') / _MILLION:.1f} million"),
        most("instructions, warm start / SDK peer", peer, 0.10),
        Figure("instructions, warm callback / SDK peer", f"{callback:.2f}"),
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
