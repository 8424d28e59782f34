"""What one recording asks of AWS and Twilio, counted while the real functions make one, from the start to the archive.

A call of 300 s on two channels, started over HTTP with a key in a warm execution environment, both callbacks, the
archive, and each change of the row published alone. AWS is moto, Twilio is the simulator; the tables are those of the
template.
"""

import contextlib
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import boto3
import pytest
import time_machine
from botocore.client import BaseClient
from moto.dynamodb.models import dynamodb_backends
from samcli.yamlhelper import yaml_parse

from call_recording import clock
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID
from local.stack import EVENTS, PROJECT
from local.twilio_simulator.model import Account, Recording
from local.twilio_simulator.server import TwilioServer
from tests import conftest, write_units
from tests.write_units import Bill, billed

SECONDS: Final = 300
"""How long the call is recorded."""


@dataclass(frozen=True)
class Step:
    """What one invocation did.

    `units` are write units by place: `recordings`, `idempotency`, or the name of an index. `calls` are those of AWS by
    operation, `log_bytes` what CloudWatch bills of its log lines, `metrics` how many of these are metrics.
    """

    units: Mapping[str, int]
    calls: Mapping[str, int]
    twilio_requests: int
    log_bytes: int
    metrics: int


@dataclass(frozen=True)
class Made:
    """Every step of one recording, and what came out of it."""

    start: Step
    in_progress: Step
    completed: Step
    archive: Step
    changes: tuple[Step, ...]
    """One for each change of the row, in order, as if it came alone."""
    audio_bytes: int
    row_bytes: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of it, one after the other."""
        return (self.start, self.in_progress, self.completed, self.archive, *self.changes)

    def units(self) -> Counter[str]:
        """Return the write units of the whole recording by place."""
        return sum((Counter(step.units) for step in self.steps), Counter())

    def calls(self) -> Counter[str]:
        """Return the calls of AWS of the whole recording by operation."""
        return sum((Counter(step.calls) for step in self.steps), Counter())


class _Counting:
    """Runs invocations and says of each what it did."""

    def __init__(self, bill: Bill, twilio: TwilioServer) -> None:
        self._bill = bill
        self._twilio = twilio
        self._called: Counter[str] = Counter()

    def called(self, operation: str) -> None:
        self._called[operation] += 1

    def step(self, app: ModuleType, event: object, *, is_well: Callable[[Any], bool]) -> Step:
        """Invoke a function; raises ValueError if its answer is not well."""
        writes, requests, self._called = len(self._bill.writes), len(self._twilio.twilio.requests), Counter()
        with _written_by(app) as written:
            answer = app.handler(event, conftest.Context())
        if not is_well(answer):
            raise ValueError(f"{app.__name__} answered {answer}")
        units: Counter[str] = Counter()
        for table, places in self._bill.writes[writes:]:
            units.update({table if place == write_units.TABLE else place: cost for place, cost in places.items()})
        lines = written.getvalue().splitlines()
        return Step(
            dict(units),
            dict(self._called),
            len(self._twilio.twilio.requests) - requests,
            sum(len(line.encode()) + conftest.LOG_EVENT_BYTES for line in lines),
            sum('"CloudWatchMetrics"' in line for line in lines),
        )


@contextmanager
def _written_by(app: ModuleType) -> Iterator[io.StringIO]:
    """Give what the function writes to its log: its own lines, those of the layer's modules, and metrics."""
    written = conftest.capture_log(app)
    handler = logging.StreamHandler(written)
    handler.setFormatter(app.logger.registered_formatter)
    # The layer's modules log as children of the service that the environment names; in Lambda that is the function's.
    layer = logging.getLogger(os.environ["POWERTOOLS_SERVICE_NAME"])
    level, layer.propagate = layer.level, False
    layer.setLevel(logging.INFO)
    layer.addHandler(handler)
    try:
        with contextlib.redirect_stdout(written):
            yield written
    finally:
        layer.removeHandler(handler)
        layer.setLevel(level)
        layer.propagate = True


@cache
def made(*, seconds_late: int = 0, deletes: bool = False) -> Made:
    """Make a recording and return what it took.

    `seconds_late` is how much later Twilio says that it started; `deletes` is whether its audio is deleted there.
    """
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        stack.enter_context(conftest.mocked_aws())
        twilio = TwilioServer()
        twilio.twilio.add_account(Account(ACCOUNT_SID, AUTH_TOKEN))
        twilio.start()
        stack.callback(twilio.close)
        return _made(stack, environment, twilio, seconds_late, deletes="true" if deletes else "false")


def dearest() -> Made:
    """Return the recording that is dearest to the indexes: Twilio says otherwise when it started than it answered."""
    return made(seconds_late=1)


def _made(
    stack: ExitStack, environment: pytest.MonkeyPatch, twilio: TwilioServer, seconds_late: int, *, deletes: str
) -> Made:
    turn = _time(stack)
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    conftest.create_table(template, "RecordingsTable", conftest.TABLE)
    conftest.create_table(template, "IdempotencyTable", conftest.IDEMPOTENCY_TABLE)
    conftest.put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN})
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=conftest.BUCKET)
    s3.put_bucket_versioning(Bucket=conftest.BUCKET, VersioningConfiguration={"Status": "Enabled"})
    queue = boto3.client("sqs").create_queue(QueueName="callbacks")["QueueUrl"]
    conftest.set_environment(
        environment, CALLBACK_DEAD_LETTER_QUEUE_URL=queue, TWILIO_API_URL=twilio.url, EVENT_BUS_NAME="default"
    )
    start, status, changes = map(conftest.load_app, ("start_recording", "recording_status", "publish_changes"))
    archive = conftest.load_archive_recording(
        conftest.BUCKET, twilio, environment, DELETE_AT_TWILIO_AFTER_ARCHIVING=deletes
    )
    bill = stack.enter_context(billed())
    counting = _Counting(bill, twilio)
    _count_calls(stack, counting)

    def ask(call_sid: str, key: str) -> Step:
        event = json.loads((EVENTS / "start-rest-api.json").read_text())
        event |= {"pathParameters": {"CallSid": call_sid}, "body": json.dumps({"RecordingChannels": "dual"})}
        event["headers"] = event["headers"] | {"Idempotency-Key": key}
        return counting.step(start, event, is_well=lambda answer: answer["statusCode"] == 201)

    def call_back(recording: Recording, event: str) -> Step:
        told = conftest.callback_event(twilio, recording, event)
        return counting.step(status, told, is_well=lambda answer: answer["statusCode"] == 204)

    for call_sid in (CALL_SID[:-1] + "0", CALL_SID):
        with twilio.locked() as simulated:
            known = set(simulated.recordings)
            simulated.begin_call(ACCOUNT_SID, call_sid=call_sid)
        started = ask(call_sid, f"key-of-{call_sid}")  # the first is not warm
        recording = next(one for sid, one in twilio.twilio.recordings.items() if sid not in known)
        turn(1)
        with twilio.locked():
            recording.started_at += seconds_late
        in_progress = call_back(recording, "in-progress")
    turn(SECONDS)
    with twilio.locked() as simulated:
        simulated.hang_up(recording.call.sid)
        turn(5)
        simulated.due_callbacks()
    completed = call_back(recording, "completed")
    message = {"Records": [conftest.archive_message(recording.sid)]}
    archived = counting.step(archive, message, is_well=lambda answer: answer == {"batchItemFailures": []})
    published = [
        counting.step(changes, {"Records": [record]}, is_well=lambda answer: answer == {"batchItemFailures": []})
        for record in _stream(recording.sid)
    ]
    row = boto3.client("dynamodb").get_item(TableName=conftest.TABLE, Key={"recording_sid": {"S": recording.sid}})
    audio = int(row["Item"]["archive"]["M"]["bytes"]["N"])
    return Made(started, in_progress, completed, archived, tuple(published), audio, write_units.size(row["Item"]))


def _time(stack: ExitStack) -> Callable[[float], None]:
    """Have time stand still unless the function that is returned turns it."""
    traveller = stack.enter_context(time_machine.travel(datetime(2026, 11, 22, 7, 33, 1, tzinfo=UTC), tick=False))

    def turn(seconds: float) -> None:
        traveller.shift(seconds)

    stack.enter_context(patch.object(clock, "sleep", turn))
    stack.enter_context(patch.object(clock, "monotonic", lambda: clock.now().timestamp()))
    return turn


def _count_calls(stack: ExitStack, counting: _Counting) -> None:
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 (what all calls go through)

    def count(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        counting.called(operation)
        return call(self, operation, arguments)

    stack.enter_context(patch.object(BaseClient, "_make_api_call", count))


def _stream(recording_sid: str) -> list[dict[str, Any]]:
    """Return a recording's changes, as the table's stream gives them."""
    table = dynamodb_backends["123456789012"]["us-east-1"].tables[conftest.TABLE]
    if table.stream_shard is None:
        raise ValueError("the template's table has no stream")
    records = [item.to_json() for item in table.stream_shard.items]
    return [record for record in records if record["dynamodb"]["Keys"]["recording_sid"]["S"] == recording_sid]
