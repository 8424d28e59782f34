"""What a start waits for: round trips, and connections that died while it was frozen."""

import statistics
from collections.abc import Callable
from typing import Final

from tests.benchmarks.starts import Process
from tests.benchmarks.subjects import Subject
from tests.wire import Wire

_QUIET_SECONDS: Final = 600


def round_trips(subject: Subject, url: str) -> tuple[int, int]:
    """Return how many stand before Twilio has the `POST`: in a first start, and in the one after it."""
    process = Process(subject, url, answers=False)
    try:
        return int(process.do("trips")), int(process.do("trips"))
    finally:
        process.close()


def processor_times(subject: Subject, url: str, *, times: int = 5) -> tuple[float, float, float]:
    """Return what a first start takes of the processor in the handler, one after quiet minutes, and a warm one.

    In seconds, over TLS: the medians of several processes.
    """
    first, rested, warm = [], [], []
    for _ in range(times):
        process = Process(subject, url, answers=False)
        first.append(process.do("processor"))
        warm.append(process.do("processor", 20))
        process.do("rest", _QUIET_SECONDS)
        rested.append(process.do("processor"))
        process.close()
    return statistics.median(first), statistics.median(rested), statistics.median(warm)


def delay(subject: Subject, url: str, *, how: str, times: int = 5) -> float:
    """Return by how many seconds a start takes longer if its connection died than if it only was not used for as long.

    `how` is `reset` or `swallowed`; the median of several, each beside one that nothing happened to.
    """
    wire = Wire(int(url.rpartition(":")[2]))
    process = Process(subject, url, twilio_url=f"https://127.0.0.1:{wire.port_here}")

    def taken(before: Callable[[], None]) -> float:
        process.do("call", 2)
        before()
        process.do("rest", _QUIET_SECONDS)
        return process.do("call")

    try:
        found = [taken(lambda: wire.die(how)) - taken(lambda: None) for _ in range(times)]
    finally:
        process.close()
        wire.close()
    return statistics.median(found)
