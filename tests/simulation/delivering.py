"""How AWS hands work to functions: events without an answer, queues, the table's stream, and what each gives up on."""

import json
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.conftest import TABLE
from tests.simulation import dynamodb

if TYPE_CHECKING:
    from tests.simulation.world import World

_RETRIES_AFTER: Final = (60.0, 120.0)
"""When Lambda tries an event again that a function failed at."""

_MOST_CONCURRENT: Final = 10
SHARDS: Final = 3
"""How many parts the table's stream has."""


def shard_of(recording_sid: str) -> int:
    """Return in which part of the stream a recording's changes are."""
    return zlib.crc32(recording_sid.encode()) % SHARDS


type Waits = list[dict[str, Any]]


class Asynchronous:
    """Events that nobody waits for: tried three times, at least once each, and then in the dead-letter queue."""

    def __init__(self, world: "World", function: str, *, oldest: float) -> None:
        self.world = world
        self.function = function
        self.oldest = oldest
        self.dead_letters: Waits = []

    def send(self, event: dict[str, Any], cause: str) -> None:
        """Deliver an event, which lies on its way for a moment, or for longer, or comes twice."""
        chaos, scheduler = self.world.chaos, self.world.scheduler
        for _ in range(1 + chaos.repeats()):
            at = scheduler.now + chaos.latency() + chaos.delay()
            scheduler.at(at, lambda: self._try(event, cause, sent_at=scheduler.now, attempt=0))

    def _try(self, event: dict[str, Any], cause: str, *, sent_at: float, attempt: int) -> None:
        def ended(result: Any) -> None:
            # Lambda may not have heard of what was done.
            if result is not None or (attempt < len(_RETRIES_AFTER) and self.world.chaos.repeats()):
                self._again(event, cause, sent_at=sent_at, attempt=attempt)

        self.world.invoke(self.function, event, ended, cause=cause)

    def _again(self, event: dict[str, Any], cause: str, *, sent_at: float, attempt: int) -> None:
        now = self.world.scheduler.now
        if attempt < len(_RETRIES_AFTER) and now + _RETRIES_AFTER[attempt] - sent_at < self.oldest:
            self.world.scheduler.at(
                now + _RETRIES_AFTER[attempt], lambda: self._try(event, cause, sent_at=sent_at, attempt=attempt + 1)
            )
        else:
            self.dead_letters.append({"cause": cause, "requestPayload": event})

    def redrive(self) -> None:
        """Have the redrive mapping empty the dead-letter queue once."""
        waiting, self.dead_letters = self.dead_letters, []
        for letter in waiting:
            message = {"requestPayload": letter["requestPayload"]}
            record = {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(message)}

            def ended(result: Any, letter: dict[str, Any] = letter) -> None:
                if not isinstance(result, dict) or result["batchItemFailures"]:
                    self.dead_letters.append(letter)

            self.world.invoke(self.function, {"Records": [record]}, ended, cause=letter["cause"])


@dataclass(eq=False)
class _Message:
    number: int
    event: dict[str, Any]
    visible_at: float
    receives: int = 0


class Queue:
    """A queue with a function behind it, one message at a time, each hidden while it is worked on."""

    def __init__(self, world: "World", function: str, *, hidden_for: float, most_receives: int) -> None:
        self.world = world
        self.function = function
        self.hidden_for = hidden_for
        self.most_receives = most_receives
        self.dead_letters: Waits = []
        self._messages: dict[str, _Message] = {}
        self._sent = 0
        self._running = 0

    def send(self, event: dict[str, Any]) -> None:
        """Put a message into the queue, which EventBridge may do twice."""
        for _ in range(1 + self.world.chaos.repeats()):
            self._sent += 1
            message = _Message(self._sent, event, self.world.scheduler.now)
            self._messages[str(self._sent)] = message
            self._later(message, self.world.chaos.latency() + self.world.chaos.delay())

    def hide(self, receipt: str, seconds: float) -> None:
        """Give a message that is being worked on back after that time."""
        if receipt in self._messages:
            self._messages[receipt].visible_at = self.world.scheduler.now + seconds

    def redrive(self) -> None:
        """Move what lies in the dead-letter queue back."""
        waiting, self.dead_letters = self.dead_letters, []
        for event in waiting:
            self.send(event)

    def _later(self, message: _Message, seconds: float) -> None:
        message.visible_at = self.world.scheduler.now + seconds
        self.world.scheduler.at(message.visible_at, lambda: self._receive(message))

    def _receive(self, message: _Message) -> None:
        if self._running >= _MOST_CONCURRENT:
            self._later(message, 1.0)
            return
        if message.receives >= self.most_receives:
            del self._messages[str(message.number)]
            self.dead_letters.append(message.event)
            return
        message.receives += 1
        message.visible_at = self.world.scheduler.now + self.hidden_for
        self._running += 1
        record = {
            "messageId": str(message.number),
            "receiptHandle": str(message.number),
            "eventSource": "aws:sqs",
            "attributes": {"ApproximateReceiveCount": str(message.receives)},
            "body": json.dumps(message.event),
        }

        def ended(result: Any) -> None:
            self._running -= 1
            is_done = isinstance(result, dict) and not result["batchItemFailures"]
            if is_done and not self.world.chaos.repeats():  # else SQS has not heard that it is done
                self._messages.pop(str(message.number), None)
            else:
                self._later(message, max(0.0, message.visible_at - self.world.scheduler.now))

        self.world.invoke(self.function, {"Records": [record]}, ended, cause=message.event["detail"]["recording_sid"])


@dataclass
class _Shard:
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    is_busy: bool = False
    most: int = 0
    """How many records the next batch has: fewer after a failure."""

    failures: int = 0


class TableStream:
    """The stream of the table's changes, and what reads it for a function: in order, until each is done or too old."""

    def __init__(self, world: "World", function: str, *, batch_size: int, oldest: float) -> None:
        self.world = world
        self.function = function
        self.batch_size = batch_size
        self.oldest = oldest
        self.committed_at: list[float] = []
        """When each change was made, in their order."""

        self.dead_letters: Waits = []
        self._shards: dict[int, _Shard] = defaultdict(lambda: _Shard(most=batch_size))

    def changes(self) -> Iterator[dict[str, Any]]:
        """Give every change so far, as the stream has it."""
        for item in dynamodb.table(TABLE).stream_shard.items:  # type: ignore[union-attr]
            yield item.to_json()

    def collect(self) -> None:
        """Take what was written since the last time."""
        items = dynamodb.table(TABLE).stream_shard.items  # type: ignore[union-attr]
        while len(self.committed_at) < len(items):
            record = items[len(self.committed_at)].to_json()
            self.committed_at.append(self.world.scheduler.now)
            sid = record["dynamodb"]["Keys"]["recording_sid"]["S"]
            shard = self._shards[shard_of(sid)]
            shard.waiting.append({"at": self.world.scheduler.now, "record": record})
            if not shard.is_busy:
                # A batch has one change, unless whatever reads the stream is held up.
                self._wake(shard, self.world.chaos.latency() + self.world.chaos.delay() / 5)

    def _wake(self, shard: _Shard, seconds: float) -> None:
        shard.is_busy = True
        self.world.scheduler.at(self.world.scheduler.now + seconds, lambda: self._read(shard))

    def _read(self, shard: _Shard) -> None:
        now = self.world.scheduler.now
        while shard.waiting and shard.waiting[0]["at"] < now - self.oldest:
            self.dead_letters.append(shard.waiting.popleft()["record"])
        batch = [waiting["record"] for waiting in list(shard.waiting)[: shard.most]]
        if not batch:
            shard.is_busy = False
            return

        def ended(result: Any) -> None:
            done = self._done(result, batch)
            for _ in range(done):
                shard.waiting.popleft()
            if done == len(batch):
                shard.most, shard.failures = self.batch_size, 0
                if self.world.chaos.repeats():  # its checkpoint was lost
                    shard.waiting.extendleft({"at": self.world.scheduler.now, "record": again} for again in batch[::-1])
                self._wake(shard, self.world.chaos.latency())
                return
            # Lambda bisects what is left, from the record on that the function named.
            shard.most = max(1, (len(batch) - done) // (1 if done else 2))
            shard.failures += 1
            self._wake(shard, min(60.0, 2.0**shard.failures))

        self.world.invoke(self.function, {"Records": batch}, ended, cause="stream")

    @staticmethod
    def _done(result: Any, batch: list[dict[str, Any]]) -> int:
        if not isinstance(result, dict):
            return 0
        failed = [failure["itemIdentifier"] for failure in result["batchItemFailures"]]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        return min((numbers.index(number) for number in failed), default=len(batch))


class Timers:
    """EventBridge Scheduler: one-off schedules that fire within a minute, or later, or twice, or are taken back."""

    def __init__(self, world: "World", fire: Callable[[dict[str, Any], str], None]) -> None:
        self.world = world
        self.fire = fire
        self.schedules: dict[str, dict[str, Any]] = {}
        """Every one that there ever was: its payload, when which delivery set it, and whether it was taken back."""

    def create(self, arguments: dict[str, Any]) -> bool:
        """Set a schedule; return False if there is one with its name."""
        name = arguments["Name"]
        if name in self.schedules:
            return False
        scheduler, chaos = self.world.scheduler, self.world.chaos
        at = self.world.moment(arguments["ScheduleExpression"].removeprefix("at(").removesuffix(")") + "Z")
        held = {"payload": json.loads(arguments["Target"]["Input"]), "by": self.world.delivery(), "is_cancelled": False}
        held["at"], held["fires_at"] = scheduler.now, at
        self.schedules[name] = held
        if at < scheduler.now:  # Nothing says that a schedule of the past ever fires.
            held["is_past"] = True
            return True

        def fire() -> None:
            if not held["is_cancelled"]:
                self.fire(held["payload"], name)

        for _ in range(1 + chaos.repeats()):
            scheduler.at(at + self.world.random.uniform(0, 60) + chaos.delay(), fire)
        return True

    def delete(self, name: str) -> bool:
        """Take a schedule back; return False if there is none."""
        held = self.schedules.get(name)
        if held is None or held["is_cancelled"]:
            return False
        held["is_cancelled"] = True
        return True
