"""What several kinds of tests need: a local AWS (moto) set up by the template, and a simulated Twilio."""

import importlib.util
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import boto3
import pytest
import time_machine
from moto import mock_aws
from moto.s3.models import MultipartChecksumBuilder
from samcli.yamlhelper import yaml_parse

from call_recording import clients, clock
from call_recording.bus import REQUEST_FAILED
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import (
    ArchiveSettings,
    CallbackSettings,
    PublishSettings,
    ReconcileSettings,
    RecordingsApiSettings,
    Settings,
    StartSettings,
)
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID, WEBHOOK_URL
from local.api_gateway import http_api_event
from local.stack import EVENTS, PROJECT
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.model import Account, CallbackTarget, Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Callback
from tests.twilio_contract import Contract

TABLE = "recordings"
IDEMPOTENCY_TABLE = "idempotency"
SECRET_PREFIX = "twilio/"
BUCKET = "archive"
AUDIT_LOG_GROUP = "audit"
MOST_RECEIVES = 12
METRICS_NAMESPACE = "CallRecording/test"
TIMER_GROUP = "resume-timers"


# Set by the template for every function; some tests use modules of the layer without one.
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", METRICS_NAMESPACE)
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "a-function")

SETTINGS: Final[dict[str, type[Settings]]] = {
    "StartRecordingFunction": StartSettings,
    "RecordingStatusFunction": CallbackSettings,
    "RecordingsApiFunction": RecordingsApiSettings,
    "PublishChangesFunction": PublishSettings,
    "ArchiveRecordingFunction": ArchiveSettings,
    "ReconcileRecordingsFunction": ReconcileSettings,
}
"""Every function of the template, and what it reads from its environment."""


@dataclass
class Context:
    """A Lambda context as far as the functions look at it."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-154f-163f-5f0f9a621d72"
    remaining_milliseconds: int = 28_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_milliseconds


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml_parse((PROJECT / "template.yaml").read_text())
    return loaded


@pytest.fixture
def sample() -> Callable[[str], dict[str, Any]]:
    """Return a function that loads a file of `events/`, afresh each time."""

    def load(name: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads((EVENTS / name).read_text())
        return event

    return load


_CLIENTS = (
    *(clients.dynamodb, clients.events, clients.logs, clients.s3, clients.scheduler, clients.secrets_manager),
    clients.sqs,
)


@cache
def _session() -> boto3.Session:
    """The session of every mocked AWS: it keeps what it read about a service, which is most of making a client."""
    return boto3.Session()


_build_checksum = MultipartChecksumBuilder.build


def _checksum_of_parts(builder: MultipartChecksumBuilder) -> tuple[str, str, int] | None:
    """Return it as S3 does, also to HeadObject: with the number of parts behind it."""
    built = _build_checksum(builder)
    return built and ("", f"{built[1]}-{built[2]}", built[2])


@contextmanager
def mocked_aws() -> Iterator[None]:
    """Give an empty AWS, and the clients of it that a fresh execution environment would make."""
    with mock_aws(), fresh_clients(), patch.object(MultipartChecksumBuilder, "build", _checksum_of_parts):
        yield


@contextmanager
def fresh_clients() -> Iterator[None]:
    """Give the clients that a fresh execution environment would make."""
    with patch.object(boto3, "DEFAULT_SESSION", _session()):
        for client in _CLIENTS:
            client.cache_clear()
        yield


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, template: dict[str, Any]) -> Iterator[None]:
    """An AWS account with the template's table, the sample account's secret, a queue and the default bus."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with mocked_aws():
        create_table(template, "RecordingsTable", TABLE)
        create_table(template, "IdempotencyTable", IDEMPOTENCY_TABLE)
        put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN})
        yield


def table_properties(
    template: Mapping[str, Any], logical_id: str, *, has_whole_indexes: bool = False
) -> dict[str, Any]:
    """Return what the template says of a table, by default with the indexes that a new stack gets."""

    def chosen(value: Any) -> Any:
        if isinstance(value, list):
            return [chosen(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            condition, whole, keys = value["Fn::If"]
            return chosen(whole if condition != "HasWholeIndexes" or has_whole_indexes else keys)
        return {name: chosen(inner) for name, inner in value.items()}

    properties: dict[str, Any] = chosen(template["Resources"][logical_id]["Properties"])
    return properties


def create_table(
    template: dict[str, Any], logical_id: str, name: str, client: Any = None, *, has_whole_indexes: bool = False
) -> None:
    """Create a table as the template defines it."""
    properties = table_properties(template, logical_id, has_whole_indexes=has_whole_indexes)
    taken = ("BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes")
    stream = properties.get("StreamSpecification")
    client = client or boto3.client("dynamodb")
    client.create_table(
        TableName=name,
        **{key: properties[key] for key in taken if key in properties},
        **({"StreamSpecification": {"StreamEnabled": True, **stream}} if stream else {}),
    )


def put_secret(account_sid: str, secret: object) -> None:
    """Store an account's secret, in place of any other."""
    client, name = boto3.client("secretsmanager"), f"{SECRET_PREFIX}{account_sid}"
    text = secret if isinstance(secret, str) else json.dumps(secret)
    try:
        client.create_secret(Name=name, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=text)


@pytest.fixture
def table(aws: None) -> RecordingsTable:
    return RecordingsTable(boto3.client("dynamodb"), TABLE, 400)


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    """A simulated Twilio with the sample account and its call in progress; its callbacks stay with it.

    What the test makes the application send, and what it is answered, is held against our description of Twilio.
    """
    server, contract = TwilioServer(), Contract()
    server.twilio.observe = contract.observe
    server.twilio.add_account(Account(ACCOUNT_SID, AUTH_TOKEN))
    server.twilio.begin_call(ACCOUNT_SID, call_sid=CALL_SID)
    server.start()
    yield server
    server.close()
    assert contract.broken == []


class Time:
    """A clock that stands still unless somebody sleeps or turns it."""

    def __init__(self, moment: datetime) -> None:
        self.seconds = moment.timestamp()

    def turn(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    """Time that the test turns, from the minute of the sample events on, for our code and for libraries."""
    told = Time(datetime(2026, 11, 22, 7, 33, 1, tzinfo=UTC))
    with time_machine.travel(told.seconds, tick=False) as traveller:

        def turn(seconds: float) -> None:
            told.seconds += seconds
            traveller.move_to(told.seconds)

        monkeypatch.setattr(told, "turn", turn)
        monkeypatch.setattr(clock, "sleep", turn)
        monkeypatch.setattr(clock, "monotonic", lambda: told.seconds)
        yield told


@pytest.fixture
def reconcile_recordings(aws: None, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The reconciler function, freshly imported."""
    set_environment(monkeypatch, TWILIO_API_URL=twilio.url, RECONCILER_CONCURRENCY="1", STALE_AFTER_MINUTES="10")
    return load_app("reconcile_recordings")


@pytest.fixture
def callback_queue(aws: None) -> str:
    url: str = boto3.client("sqs").create_queue(QueueName="callbacks")["QueueUrl"]
    return url


@pytest.fixture
def start_recording(aws: None, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The start function, freshly imported, between the local AWS and the simulated Twilio."""
    set_environment(monkeypatch, TWILIO_API_URL=twilio.url, EVENT_BUS_NAME="default")
    return load_app("start_recording")


@pytest.fixture
def bucket(aws: None) -> str:
    """The archive's bucket, versioned as in the template."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return BUCKET


@pytest.fixture
def recordings_api(bucket: str, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function that reads and controls, freshly imported."""
    boto3.client("scheduler").create_schedule_group(Name=TIMER_GROUP)
    secret = boto3.client("secretsmanager").create_secret(Name="page-tokens", SecretString="k" * 64)
    queue = boto3.client("sqs").create_queue(QueueName="control")["QueueUrl"]
    arn = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    boto3.client("logs").create_log_group(logGroupName=AUDIT_LOG_GROUP)
    set_environment(
        monkeypatch,
        ARCHIVE_BUCKET=bucket,
        ARCHIVE_RECORDINGS="true",
        AUDIT_LOG_GROUP=AUDIT_LOG_GROUP,
        EVENT_BUS_NAME="default",
        PAGE_TOKEN_SECRET=secret["ARN"],
        RESUME_TIMER_DEAD_LETTER_QUEUE_ARN=arn["Attributes"]["QueueArn"],
        RESUME_TIMER_GROUP=TIMER_GROUP,
        RESUME_TIMER_PREFIX="resume-0123abcd-",
        RESUME_TIMER_ROLE_ARN="arn:aws:iam::123456789012:role/timer",
        TWILIO_API_URL=twilio.url,
    )
    return load_app("recordings_api")


@pytest.fixture
def archive_recording(bucket: str, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The archiving function, freshly imported, with the template's defaults."""
    return load_archive_recording(bucket, twilio, monkeypatch)


def load_archive_recording(
    bucket: str, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, **changes: str
) -> ModuleType:
    environment = {
        "ARCHIVE_BUCKET": bucket,
        "ARCHIVE_CHANNELS": "as-recorded",
        "ARCHIVE_FORMAT": "wav",
        "ARCHIVE_QUEUE_URL": boto3.client("sqs").create_queue(QueueName="archive")["QueueUrl"],
        "DELETE_AT_TWILIO_AFTER_ARCHIVING": "false",
        "EVENT_BUS_NAME": "default",
        "MOST_RECEIVES": str(MOST_RECEIVES),
        "TWILIO_API_URL": twilio.url,
    }
    set_environment(monkeypatch, **environment | changes)
    return load_app("archive_recording")


@pytest.fixture
def recording_status(aws: None, callback_queue: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The webhook function, freshly imported."""
    set_environment(monkeypatch, CALLBACK_DEAD_LETTER_QUEUE_URL=callback_queue)
    return load_app("recording_status")


def set_environment(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Set the variables that the template sets for every function, and more."""
    common = {
        "IDEMPOTENCY_TABLE": IDEMPOTENCY_TABLE,
        "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
        "RECORDINGS_TABLE": TABLE,
        "ROW_RETENTION_DAYS": "400",
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_SECRET_PREFIX": SECRET_PREFIX,
        "WEBHOOK_URL": WEBHOOK_URL,
    }
    for name, value in (common | more).items():
        monkeypatch.setenv(name, value)


def load_app(function: str, *, folder: str = "functions") -> ModuleType:
    """Import a function's app.py as Lambda does when it starts one."""
    path = Path(PROJECT, folder, function, "app.py")
    spec = importlib.util.spec_from_file_location(f"app_of_{function}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    beside = {file.stem for file in path.parent.glob("*.py")}
    with patch.object(sys, "path", [str(path.parent), *sys.path]):
        spec.loader.exec_module(module)
    for name in beside:  # the next one gets its own
        sys.modules.pop(name, None)
    return module


LOG_EVENT_BYTES: Final = 26
"""What CloudWatch Logs adds to each event, for its bill. Source: PutLogEvents, in its API reference."""


def capture_log(app: ModuleType) -> io.StringIO:
    """Return what the function logs from now on."""
    stream = io.StringIO()
    log = logging.getLogger(app.logger.service)
    log.setLevel(logging.INFO)  # whatever an earlier test wanted to hear
    for handler in log.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream = stream  # setStream flushes what it had, which an earlier test may have closed
    return stream


def callback_event(twilio: TwilioServer, recording: Recording, status: str) -> dict[str, Any]:
    """Return the event in which WebhookApi hands over Twilio's signed callback about a recording."""
    with twilio.locked():
        parameters = recording.callback_parameters(status, base_url=twilio.url)
    target = CallbackTarget(WEBHOOK_URL, "POST", frozenset())
    request = sign(Callback(target, ACCOUNT_SID, parameters), auth_token=AUTH_TOKEN)
    return http_api_event(request.method, request.url, headers=request.headers, body=request.body)


def archive_message(
    recording_sid: str, *, account_sid: str = ACCOUNT_SID, received: int = 1, **more: str
) -> dict[str, Any]:
    """Return a message of ArchiveQueue about a completed recording, which Lambda hands over for that many a time."""
    detail = {"recording_sid": recording_sid, "account_sid": account_sid, "status": "completed"} | more
    return {
        "messageId": "1",
        "receiptHandle": "handle",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:archive",
        "attributes": {"ApproximateReceiveCount": str(received)},
        "body": json.dumps({"detail-type": "Call Recording Status Change", "detail": detail}),
    }


def rows() -> list[dict[str, Any]]:
    """Return every row of the recordings table, as plain values."""
    recordings = RecordingsTable(boto3.client("dynamodb"), TABLE, 400)
    items = boto3.client("dynamodb").scan(TableName=TABLE)["Items"]
    found = [recordings.reader.get(item["recording_sid"]["S"]) for item in items]
    return [row for row in found if row is not None]


def begin_recording(twilio: TwilioServer, table: RecordingsTable, call_sid: str = CALL_SID) -> Recording:
    """Begin a recording by the API, and write its row as the start function does."""
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[call_sid])
    return write_row(twilio, table, recording)


def write_row(twilio: TwilioServer, table: RecordingsTable, recording: Recording) -> Recording:
    """Write the row of a recording that has just begun, and return that."""
    resource = RecordingResource(recording.resource(status="in-progress"), api_url=twilio.url)
    table.record(Facts.from_recording(resource))
    return recording


def status_of(recording: Recording) -> str:
    """Return what the recording's row says."""
    (found,) = (row["status"] for row in rows() if row["recording_sid"] == recording.sid)
    return str(found)


def timers() -> list[dict[str, Any]]:
    """Return each timer of a pause as EventBridge Scheduler has it, the one that was set first first."""
    client = boto3.client("scheduler")
    names = sorted(schedule["Name"] for schedule in client.list_schedules(GroupName=TIMER_GROUP)["Schedules"])
    return [dict(client.get_schedule(GroupName=TIMER_GROUP, Name=name)) for name in names]


class Bus:
    """The events that were published to the default bus."""

    def __init__(self) -> None:
        self.queue = boto3.client("sqs").create_queue(QueueName="published")["QueueUrl"]
        events = boto3.client("events")
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["call-recording"]}))
        arn = boto3.client("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}])

    def events(self, detail_type: str = REQUEST_FAILED) -> list[dict[str, Any]]:
        """Return the details of what was published; nothing else than that type was."""
        found = boto3.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(message["Body"]) for message in found]
        assert all(body["detail-type"] == detail_type for body in bodies)
        return [body["detail"] for body in bodies]


def written_metrics(text: str) -> list[dict[str, Any]]:
    """Return the metrics in what was written to the standard output: name, value, dimensions and namespace."""
    found = []
    for line in text.splitlines():
        if '"CloudWatchMetrics"' in line:
            told = json.loads(line)
            (group,) = told["_aws"]["CloudWatchMetrics"]
            (dimensions,) = group["Dimensions"]
            (metric,) = group["Metrics"]
            found.append(
                {
                    "name": metric["Name"],
                    "value": told[metric["Name"]][0],
                    "unit": metric["Unit"],
                    "dimensions": {name: told[name] for name in dimensions},
                    "namespace": group["Namespace"],
                }
            )
    return found
