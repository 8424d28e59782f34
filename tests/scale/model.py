"""The stack under a load, event by event, in virtual time: calls start and end, and what that asks of each limit.

Calls that end are those that began before: they come at the same rate, whatever became of the starts. Each function's
work is what the real one did (`recording.py`), as long as it takes (`durations.py`), within what is set (`settings.py`)
and what AWS and Twilio take (`limits.py`). The same seed gives the same course of events.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from random import Random
from typing import Any, Final, NamedTuple

import simpy

from tests.scale import durations
from tests.scale.durations import Durations
from tests.scale.limits import LIMITS
from tests.scale.meters import Bucket, Meter, Partition, Places
from tests.scale.recording import Made, Step
from tests.scale.settings import Settings

ATTEMPTS: Final = 6
"""How often a caller sends a start that is refused, and Twilio a callback that is answered by 5xx (`rc=5`)."""
_AGAIN_SECONDS: Final = 1.0
_LONGEST_START_SECONDS: Final = 24.0

Events = Generator[Any, Any]


class Change(NamedTuple):
    """A change of a row in the stream: when the call ended, and what comes of it."""

    ended: float
    is_completed: bool
    is_published: bool


@dataclass
class Course:
    """What happened in the window that was looked at."""

    rate: float
    seconds: float
    use: dict[str, float] = field(default_factory=dict)
    """What was asked of each limit, as a part of what it gives."""
    refused: dict[str, int] = field(default_factory=dict)
    calls_ended: int = 0
    starts: int = 0
    not_started: int = 0
    lost_callbacks: int = 0
    """What the reconciler is left with."""
    to_row: list[float] = field(default_factory=list)
    to_archive: list[float] = field(default_factory=list)
    """Seconds from a call's end."""
    depth: dict[str, list[int]] = field(default_factory=dict)
    """How many wait in the queue and in the stream, once a second."""
    invocations: Counter[str] = field(default_factory=Counter)
    gigabyte_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    published: int = 0

    def first(self) -> tuple[str, float]:
        """Return the limit that is met first as the load grows, and its use at this one."""
        return max(self.use.items(), key=lambda one: one[1])

    def saturated(self) -> list[str]:
        """Return the limits that are asked for more than they give, the first that is met first."""
        return [name for name, use in sorted(self.use.items(), key=lambda one: -one[1]) if use >= 1]

    def quantile(self, times: list[float], part: float) -> float:
        """Return the time within which so many of the calls that ended have what they wait for."""
        ordered = sorted(times) + [inf] * max(0, self.calls_ended - len(times))
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else inf


class Model:
    """The stack, for one run."""

    def __init__(
        self,
        settings: Settings,
        made: Made,
        *,
        rate: float,
        seconds: float,
        quotas: Mapping[str, float] | None = None,
        seed: int = 0,
        around: tuple[float, float] = (20.0, 60.0),
    ) -> None:
        """Look at so many seconds; `around` is how long it runs before them, and without new calls after them."""
        self.settings, self.made, self.rate, self.seconds = settings, made, rate, seconds
        self.since, self.drain = around
        self.limits = {name: limit.value for name, limit in LIMITS.items()} | dict(quotas or {})
        self.random = Random(seed)  # noqa: S311 (a model's)
        self.env = simpy.Environment()
        self.until = self.since + seconds
        self.took = Durations.of(made, settings.memory_mb)
        self.course = Course(rate, seconds)
        self.shards = max(1, ceil(settings.table_writes / self.limits["partition-writes"]))
        self._make_limits()

    def _make_limits(self) -> None:
        settings, limits = self.settings, self.limits
        lanes = self.shards * settings.parallelization
        batch = settings.stream_batch
        self.lane_rate = batch / self.took.changes(batch, ceil(batch * self._published_share()))
        api_rate = limits["api-requests"]
        capacities = {
            "ControlApi's throttle": settings.control_rate,
            "WebhookApi's throttle": settings.webhook_rate,
            "API Gateway's requests of the account": api_rate,
            "Lambda's executions of the account": limits["executions"],
            "RecordingsTable's write units": settings.table_writes,
            "IdempotencyTable's write units": limits["new-table-writes"],
            "index by-account-day, its busiest shard": limits["partition-writes"],
            "index open, its busiest shard": limits["partition-writes"],
            "PublishChangesFunction, batches of the stream": lanes * self.lane_rate,
            "EventBridge's PutEvents": limits["put-events"],
            "EventBridge's invocations of targets": limits["rule-invocations"],
            "ArchiveRecordingFunction, executions for ArchiveQueue": settings.archive_concurrency,
            "S3's writes under one prefix": limits["prefix-writes"],
            "Twilio's requests at once": limits["twilio-requests"],
        } | {f"executions reserved for {name}": most for name, most in settings.reserved.items()}
        self.meters = {name: Meter(capacity, self.since, self.until) for name, capacity in capacities.items()}
        self.apis = Bucket(api_rate, api_rate / 2)
        self.control = Bucket(settings.control_rate, settings.control_burst)
        self.webhook = Bucket(settings.webhook_rate, settings.webhook_burst)
        self.executions = Places(limits["executions"])
        self.reserved = {name: Places(most) for name, most in settings.reserved.items()}
        self.twilio = Places(limits["twilio-requests"])
        self.table = Partition(settings.table_writes)
        self.keys = Partition(limits["new-table-writes"])
        self.account_day = [Partition(limits["partition-writes"]) for _ in range(settings.account_shards)]
        self.open = [Partition(limits["partition-writes"]) for _ in range(settings.open_shards)]
        self.lanes: list[deque[Change]] = [deque() for _ in range(lanes)]
        self.awake: list[simpy.Event | None] = [None] * lanes
        self.queue: deque[float] = deque()
        self.archiving = Places(settings.archive_concurrency)

    def _published_share(self) -> float:
        steps = self.made.changes
        return sum("PutEvents" in step.calls for step in steps) / len(steps)

    def run(self) -> Course:
        """Run it; return what happened."""
        for process in (self._starts, self._ends, self._watch):
            self.env.process(process())
        for number in range(len(self.lanes)):
            self.env.process(self._lane(number))
        self.env.run(self.until + self.drain)
        self.course.use = {name: meter.use for name, meter in self.meters.items()}
        self.course.use |= self._schedules() | self._seldom()
        self.course.refused = {name: meter.refused for name, meter in self.meters.items() if meter.refused}
        return self.course

    # --- what comes from outside ------------------------------------------------------------------

    def _arrivals(self) -> Iterator[simpy.Timeout]:
        while self.env.now < self.until:
            yield self.env.timeout(self.random.expovariate(self.rate))

    def _starts(self) -> Events:
        for waiting in self._arrivals():
            yield waiting
            self.env.process(self._start())

    def _ends(self) -> Events:
        for waiting in self._arrivals():
            yield waiting
            self.env.process(self._end())

    def _watch(self) -> Events:
        depth = self.course.depth = {"ArchiveQueue": [], "stream": []}
        yield self.env.timeout(self.since)
        while self.env.now < self.until:
            depth["ArchiveQueue"].append(len(self.queue))
            depth["stream"].append(sum(map(len, self.lanes)))
            yield self.env.timeout(1)

    # --- starts and callbacks --------------------------------------------------------------------------

    def _start(self) -> Events:
        is_counted = self._is_counted
        if is_counted:
            self.course.starts += 1
        self._asks("ControlApi's throttle", "start", self.took.start + durations.TWILIO_SECONDS)
        for _ in range(ATTEMPTS):
            if self._is_let_in("ControlApi's throttle", self.control) and self._enters("start"):
                break
            yield self.env.timeout(_AGAIN_SECONDS)
        else:
            self.course.not_started += is_counted
            return
        began = self.env.now
        yield from self._ask_twilio(durations.twilio(self.random), most_seconds=_LONGEST_START_SECONDS)
        # Where the write fails the recording runs all the same, and the reconciler adopts it.
        yield self.env.timeout(self.took.start + (self._write(self.made.start) or 0))
        self._left("start", began)
        self._changed(Change(0, is_completed=False, is_published=True))
        yield self.env.timeout(1)
        yield from self._call_back(self.made.in_progress, self.took.in_progress)

    def _end(self) -> Events:
        ended, is_counted = self.env.now, self._is_counted
        self.course.calls_ended += is_counted
        yield self.env.timeout(durations.processing(self.random))
        if not (yield from self._call_back(self.made.completed, self.took.completed)):
            self.course.lost_callbacks += is_counted
            if is_counted and self._schedules()["the reconciler's list of Twilio's recordings"] < 1:
                until_it_runs = self.random.uniform(0, self.settings.reconcile_every_seconds)
                self.course.to_row.append(self.env.now - ended + until_it_runs + self._listing_seconds())
            return
        if is_counted:
            self.course.to_row.append(self.env.now - ended)
        self._changed(Change(ended if is_counted else -1, is_completed=True, is_published=True))

    def _call_back(self, step: Step, seconds: float) -> Generator[Any, Any, bool]:
        """Receive a callback; return whether it was taken. What a throttle refuses, by 429, does not come again."""
        self._asks("WebhookApi's throttle", "callbacks", seconds)
        for _ in range(ATTEMPTS):
            if not self._is_let_in("WebhookApi's throttle", self.webhook):
                return False
            if self._enters("callbacks"):
                began, wait = self.env.now, self._write(step)
                yield self.env.timeout(seconds + (Partition.MOST_SECONDS if wait is None else wait))
                self._left("callbacks", began)
                if wait is not None:
                    return True
            yield self.env.timeout(_AGAIN_SECONDS)
        return False

    # --- changes --------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        number = self.random.randrange(len(self.lanes))
        self.meters["PublishChangesFunction, batches of the stream"].ask(self.env.now)
        self.lanes[number].append(change)
        if awake := self.awake[number]:
            self.awake[number] = None
            awake.succeed()

    def _lane(self, number: int) -> Events:
        """Take batches of one part of a shard, one after the other."""
        waiting = self.lanes[number]
        while True:
            if not waiting:
                self.awake[number] = awake = self.env.event()
                yield awake
                yield self.env.timeout(self.random.uniform(0, 1 / self.limits["stream-polls"]))
            while not self._enters("changes"):
                # What waits for a place asks for it as long as it waits.
                self._executions_meter("changes").ask(self.env.now, _AGAIN_SECONDS)
                yield self.env.timeout(_AGAIN_SECONDS)
            batch = [waiting.popleft() for _ in range(min(len(waiting), self.settings.stream_batch))]
            events, began = sum(change.is_published for change in batch), self.env.now
            requests = ceil(events / 10)
            self.meters["EventBridge's PutEvents"].ask(self.env.now, requests)
            yield self.env.timeout(self.took.changes(len(batch), events))
            self._left("changes", began)
            self._executions_meter("changes").ask(began, self.env.now - began)
            if self._is_counted:
                self.course.published += events
            for change in batch:
                if change.is_completed and self.settings.archives:
                    self.env.process(self._deliver(change))

    def _deliver(self, change: Change) -> Events:
        self.meters["EventBridge's invocations of targets"].ask(self.env.now)
        yield self.env.timeout(durations.BUS_SECONDS)
        self.meters["ArchiveRecordingFunction, executions for ArchiveQueue"].ask(self.env.now, self._archive_seconds)
        self.queue.append(change.ended)
        if self.archiving.enter():
            self.env.process(self._archive())

    # --- the archive ------------------------------------------------------------------------------------

    @property
    def _archive_seconds(self) -> float:
        return self.took.archive + durations.TWILIO_SECONDS

    def _archive(self) -> Events:
        """Archive one message after the other, until none is left."""
        step, puts = self.made.archive, ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
        writes = sum(step.calls.get(name, 0) for name in puts)
        while self.queue:
            while not self._enters("archive"):
                self._executions_meter("archive").ask(self.env.now, _AGAIN_SECONDS)
                yield self.env.timeout(_AGAIN_SECONDS)
            if not self.queue:  # another took it
                self.executions_of("archive").leave()
                break
            ended, began = self.queue.popleft(), self.env.now
            self._executions_meter("archive").ask(began, self._archive_seconds)
            yield from self._ask_twilio(durations.twilio(self.random) + self.took.archive_twilio)
            self._changed(Change(-1, is_completed=False, is_published=False))
            self.meters["S3's writes under one prefix"].ask(self.env.now, writes)
            wait = self._write(step)
            yield self.env.timeout(self.took.archive - self.took.archive_twilio + (wait or 0))
            self._changed(Change(-1, is_completed=False, is_published=True))
            self._left("archive", began)
            if ended > 0:
                self.course.to_archive.append(self.env.now - ended)
        self.archiving.leave()

    # --- limits -----------------------------------------------------------------------------------------

    @property
    def _is_counted(self) -> bool:
        return self.since <= self.env.now < self.until

    def _asks(self, throttle: str, function: str, seconds: float) -> None:
        """Count that a request comes to an API, for a function that is to run for so long."""
        now = self.env.now
        for name in (throttle, "API Gateway's requests of the account"):
            self.meters[name].ask(now)
        self._executions_meter(function).ask(now, seconds)

    def _is_let_in(self, name: str, throttle: Bucket) -> bool:
        now = self.env.now
        if throttle.takes(now) and self.apis.takes(now):
            return True
        self.meters[name].refuse(now)
        return False

    def executions_of(self, function: str) -> Places:
        """Return where a function runs: in executions of its own, or the account's."""
        return self.reserved.get(function, self.executions)

    def _enters(self, function: str) -> bool:
        if self.executions_of(function).enter():
            return True
        self._executions_meter(function).refuse(self.env.now)
        return False

    def _executions_meter(self, function: str) -> Meter:
        own = self.meters.get(f"executions reserved for {function}")
        return own or self.meters["Lambda's executions of the account"]

    def _left(self, function: str, began: float) -> None:
        seconds = self.env.now - began
        self.executions_of(function).leave()
        if self._is_counted:
            self.course.invocations[function] += 1
            self.course.gigabyte_seconds[function] += seconds * self.settings.memory_mb[function] / 1024

    def _ask_twilio(self, seconds: float, *, most_seconds: float = inf) -> Events:
        """Wait for Twilio's answer, and before that for Twilio to take the request."""
        meter, began = self.meters["Twilio's requests at once"], self.env.now
        meter.ask(began, seconds)
        while not self.twilio.enter():
            meter.refuse(self.env.now)
            if self.env.now - began > most_seconds:
                return
            yield self.env.timeout(_AGAIN_SECONDS * self.random.uniform(0.5, 1.5))
        yield self.env.timeout(seconds)
        self.twilio.leave()

    def _write(self, step: Step) -> float | None:
        """Return how long a step's writes wait; None where one fails."""
        now, units = self.env.now, step.units
        wanted = [
            ("RecordingsTable's write units", self.table, units.get("recordings", 0), 1),
            ("IdempotencyTable's write units", self.keys, units.get("idempotency", 0), 1),
            *(
                (name, self.random.choice(shards), units.get(index, 0), len(shards))
                for name, index, shards in (
                    ("index by-account-day, its busiest shard", "by-account-day", self.account_day),
                    ("index open, its busiest shard", "open", self.open),
                )
            ),
        ]
        longest = 0.0
        for name, partition, cost, shards in wanted:
            if not cost:
                continue
            self.meters[name].ask(now, cost / shards)
            wait = partition.wait(now, cost)
            if wait is None:
                self.meters[name].refuse(now)
                return None
            longest = max(longest, wait)
        return longest

    # --- what comes so seldom that nothing waits for it -------------------------------------------------

    def _listing_seconds(self) -> float:
        return self._pages() * durations.LIST_SECONDS / self.settings.reconcile_at_once

    def _pages(self) -> float:
        listed = self.settings.reconcile_every_seconds + self.settings.reconcile_overlap_seconds
        return max(1.0, self.rate * listed / self.settings.page_size)

    def _schedules(self) -> dict[str, float]:
        """Return the use of what is done on a schedule: listing Twilio's recordings, and timers of pauses.

        One recording in ten is taken to have a pause with a timer, and one timer in ten to fire.
        """
        settings, limits = self.settings, self.limits
        most_pages = min(settings.reconcile_requests, (settings.reconcile_seconds - 15) / durations.LIST_SECONDS)
        most_pages *= settings.reconcile_at_once
        return {
            "the reconciler's list of Twilio's recordings": self._pages() / most_pages,
            "EventBridge Scheduler, timers made": self.rate / 10 / limits["create-schedule"],
            "EventBridge Scheduler, timers fired": self.rate / 100 / limits["schedule-invocations"],
        }

    def _seldom(self) -> dict[str, float]:
        """Return the use of what each execution environment asks for now and then, and each batch of changes."""
        executions = self.meters["Lambda's executions of the account"]
        environments = executions.asked / self.seconds
        batches = self.course.invocations["changes"] / self.seconds
        return {
            "reads of the item that says what is paused": (environments / 2 + batches) / self.limits["partition-reads"],
            "Secrets Manager's GetSecretValue": environments / 300 / self.limits["get-secret"],
        }
