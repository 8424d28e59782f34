"""The whole application in virtual time: handlers as they are, AWS by moto and by hand, Twilio by the simulator."""

import io
import os
import random
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

import boto3
import requests
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from call_recording import clock
from local.api_gateway import http_api_event
from local.twilio_simulator.delivery import Overrides, sign
from local.twilio_simulator.model import Account, SharedKey, new_sid
from local.twilio_simulator.twilio import Answer, Callback
from tests.conftest import (
    AUDIT_LOG_GROUP,
    BUCKET,
    IDEMPOTENCY_TABLE,
    METRICS_NAMESPACE,
    SECRET_PREFIX,
    TABLE,
    TIMER_GROUP,
    Context,
    create_table,
    load_app,
    mocked_aws,
)
from tests.simulation import dynamodb
from tests.simulation.aws import Aws
from tests.simulation.chaos import Chaos, SeededFaults
from tests.simulation.ledger import WAV_RATE_HZ, Ledger
from tests.simulation.scheduler import Killed, Scheduler, Task
from tests.simulation.ways import ANSWERS_RUNNING, BY_DAY, NAMES_CURRENT, NO_DATE, SHARED_KEYS, ways
from tests.simulation.witness import Delivery, TaggedRequest, Witness
from tests.twilio_contract import Contract

BEGINS: Final = 1795332780.0
BEFORE_MIDNIGHT: Final = BEGINS + 16 * 3600
API_URL: Final = "https://api.twilio.com"
WEBHOOK_URL: Final = "https://webhook.example.com/recording-status"
FUNCTIONS: Final = {
    "start_recording": "StartRecordingFunction",
    "recording_status": "RecordingStatusFunction",
    "recordings_api": "RecordingsApiFunction",
    "publish_changes": "PublishChangesFunction",
    "archive_recording": "ArchiveRecordingFunction",
    "reconcile_recordings": "ReconcileRecordingsFunction",
}
CLOCKS_OFF_BY: Final = 30.0
"""Every clock may be off by this much either way, so two of them by a minute."""

KILLED: Final = object()
"""The result of an invocation of which nobody hears."""

_PART_BYTES: Final = 32 * 1024
"""What is uploaded at once here: sounds are short, and uploads in several parts shall be interrupted, too."""

_UPLOADS: Final = ("PutObject", "UploadPart", "CompleteMultipartUpload")


@dataclass(eq=False)
class Environment:
    """An execution environment of a function: its module with its caches, and its machine's clock."""

    app: ModuleType
    clock_offset: float
    deployment: int


@dataclass
class World:
    """One course of events, all of it decided by the seed."""

    seed: int
    faults_last: float
    template: dict[str, Any]
    log_level: str = "CRITICAL"
    written: io.StringIO = field(default_factory=io.StringIO, init=False)
    """What the functions wrote to the standard output: their logs, and their metrics."""

    answers_to_callbacks: list[tuple[str, int, float]] = field(default_factory=list, init=False)
    """Whose the callback was (`twilio`, `forged`, `poison`), what it was answered, and when it was sent."""

    deliveries: list[Delivery] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 (to be repeatable is the point)
        self.begins = self.random.choice([BEGINS, BEFORE_MIDNIGHT])
        self.scheduler = Scheduler(begins=self.begins)
        self.chaos = Chaos.of(
            self.seed, random=self.random, now=lambda: self.scheduler.now, ends=self.begins + self.faults_last
        )
        offset = self.random.uniform(-CLOCKS_OFF_BY, CLOCKS_OFF_BY)
        self.twilio = Witness(
            now=lambda: self.scheduler.now,
            clock=lambda: self.scheduler.now + offset,
            base_url=API_URL,
            source=self.random,
            wav_rate_hz=WAV_RATE_HZ,
        )
        self.twilio_offset = offset
        self.contract = Contract()
        """What was sent to Twilio, or answered, that our description of it does not have."""

        self.twilio.observe = self.contract.observe
        self.ways = ways(self.seed)
        self.twilio.answers_running = ANSWERS_RUNNING in self.ways
        self.twilio.lists_by_day = BY_DAY in self.ways
        self.twilio.names_current = NAMES_CURRENT in self.ways
        self.twilio.faults = SeededFaults(self.chaos)
        self.accounts = [self._open_account() for _ in range(2)]
        """The stack's own account, and one more."""

        self.poisoner = self._open_account(begins="AC00")
        """An account with a secret here that has Twilio sign whatever it likes, and is first in every order."""

        self.twilio.poisoned_account_sid = self.poisoner.sid
        if SHARED_KEYS in self.ways:
            self.accounts[1].shared_key = SharedKey("webhooks_sharedkey_1", f"{self.random.getrandbits(128):032x}")
        self.ledger = Ledger(self.twilio, is_locked=self.random.random() < 0.35)
        self.aws = Aws(self)
        for account in [*self.accounts, self.poisoner]:
            key = account.shared_key
            shared: dict[str, Any] = {"webhook_shared_keys": {key.key_id: key.secret}} if key else {}
            self.aws.secrets[account.sid] = {"auth_token": account.auth_token} | shared
        self.timeouts = {
            name: float(self.template["Resources"][logical_id]["Properties"]["Timeout"])
            for name, logical_id in FUNCTIONS.items()
        }
        self._idle: dict[str, list[Environment]] = {name: [] for name in FUNCTIONS}
        self._deployment = 0
        self.settings = {
            "ARCHIVE_CHANNELS": "as-recorded",
            "ARCHIVE_FORMAT": self.random.choice(["wav", "wav", "wav", "mp3"]),
            "DELETE_AT_TWILIO_AFTER_ARCHIVING": self.random.choice(["true", "false"]),
        }

    def _open_account(self, *, begins: str = "AC") -> Account:
        token = f"{self.random.getrandbits(128):032x}"
        return self.twilio.add_account(Account(begins + new_sid("AC", self.random)[len(begins) :], token))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put the world in place of the network and of time."""
        environment = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": dynamodb.REGION,
            "POWERTOOLS_LOG_LEVEL": self.log_level,
            "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
            "RECORDINGS_TABLE": TABLE,
            "IDEMPOTENCY_TABLE": IDEMPOTENCY_TABLE,
            "ROW_RETENTION_DAYS": "400",
            "RECONCILER_CONCURRENCY": "1",
            "STALE_AFTER_MINUTES": "10",
            "TWILIO_ACCOUNT_SID": self.accounts[0].sid,
            "TWILIO_API_URL": API_URL,
            "TWILIO_SECRET_PREFIX": SECRET_PREFIX,
            "WEBHOOK_URL": WEBHOOK_URL,
            "EVENT_BUS_NAME": "default",
            "CALLBACK_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/callbacks",
            "ARCHIVE_BUCKET": BUCKET,
            "ARCHIVE_RECORDINGS": "true",
            "ARCHIVE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/archive",
            "MOST_RECEIVES": str(self.aws.to_archive.most_receives),
            "AUDIT_LOG_GROUP": AUDIT_LOG_GROUP,
            "PAGE_TOKEN_SECRET": "page-tokens",
            "RESUME_TIMER_DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:control",
            "RESUME_TIMER_GROUP": TIMER_GROUP,
            "RESUME_TIMER_PREFIX": "resume-0123abcd-",
            "RESUME_TIMER_ROLE_ARN": "arn:aws:iam::123456789012:role/timer",
            **self.settings,
        }
        random.seed(self.seed)  # the jitter of back-offs
        ids = random.Random(self.seed)  # noqa: S311 (as above)
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(self.written))
            stack.enter_context(patch.dict("os.environ", environment))
            stack.enter_context(mocked_aws())
            create_table(self.template, "RecordingsTable", TABLE)
            create_table(self.template, "IdempotencyTable", IDEMPOTENCY_TABLE)
            self._create_bucket()
            call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001
            stack.enter_context(patch.object(BaseClient, "_make_api_call", self._around(call)))
            stack.enter_context(patch.object(HTTPAdapter, "send", self._send_to_twilio))
            stack.enter_context(patch.object(clock, "sleep", self.scheduler.pause))
            stack.enter_context(patch.object(clock, "monotonic", lambda: self.scheduler.now))
            stack.enter_context(patch.object(uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4)))
            stack.enter_context(patch.object(secrets, "randbits", ids.getrandbits))
            if not self.ledger.is_locked:  # moto does not lock what comes in parts
                stack.enter_context(patch("call_recording.archive.bucket.PART_BYTES", _PART_BYTES))
            stack.enter_context(patch("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1))
            yield

    def _create_bucket(self) -> None:
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=self.ledger.is_locked)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        if self.ledger.is_locked:
            rule: Any = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
            s3.put_object_lock_configuration(
                Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
            )

    def twilio_now(self) -> float:
        """Return what time it is by Twilio's clock, in seconds since 1970."""
        return self.scheduler.now + self.twilio_offset

    @staticmethod
    def moment(text: str) -> float:
        """Return an ISO 8601 time as seconds since 1970."""
        return datetime.fromisoformat(text).timestamp()

    # --- invocations ---------------------------------------------------------------------------

    def invoke(
        self, function: str, event: dict[str, Any], then: Callable[[Any], None] = lambda _: None, *, cause: str = ""
    ) -> None:
        """Invoke a function; `then` gets its result, its exception, or KILLED. `cause` is what it is invoked for."""
        idle = self._idle[function]
        if not idle:
            offset = self.random.uniform(-CLOCKS_OFF_BY, CLOCKS_OFF_BY)
            idle.append(Environment(load_app(function), offset, self._deployment))
        environment = idle.pop(self.random.randrange(len(idle)))
        delivery = Delivery(function, cause, self.scheduler.now, environment.clock_offset)
        self.deliveries.append(delivery)
        task = Task(lambda: self._run(environment, event, delivery, then), environment.clock_offset, delivery)
        task.dies_at = self.scheduler.now + self.timeouts[function]
        self.scheduler.spawn(task)

    def delivery(self) -> Delivery:
        """Return what is being worked on."""
        task = self.scheduler.current()
        assert task is not None
        delivery: Delivery = task.about
        return delivery

    def deploy(self, **changes: str) -> None:
        """Change the functions' environment; what runs goes on, what begins has the new one."""
        os.environ.update(changes)
        self._deployment += 1
        for idle in self._idle.values():
            idle.clear()

    def _run(
        self, environment: Environment, event: dict[str, Any], delivery: Delivery, then: Callable[[Any], None]
    ) -> None:
        task = self.scheduler.current()
        assert task is not None
        context = _Deadline(task, self.scheduler)
        try:
            result = environment.app.handler(event, context)
        except Killed:
            result = KILLED  # and with it go the environment and its caches
        except Exception as error:  # noqa: BLE001 (Lambda's runtime catches everything, too)
            result = error
        delivery.ended, delivery.result = self.scheduler.now, result
        if result is not KILLED and environment.deployment == self._deployment:
            self._idle[delivery.function].append(environment)
        then(result)

    # --- the network ---------------------------------------------------------------------------

    def _step(self) -> None:
        """Let time pass around a network call; the function may die here."""
        self.scheduler.pause(self.chaos.latency())
        if self.chaos.kills():
            raise Killed

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        world = self

        def make_api_call(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            if world.scheduler.current() is None:
                return call(client, operation, arguments)
            world._step()
            if operation in _UPLOADS:
                world.scheduler.pause(world.chaos.delay() / 10)
            fault = world.chaos.aws_fault(client.meta.service_model.service_name, operation)
            world.delivery().went_wrong |= fault is not None
            if fault == "throttled":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, operation)
            result = world.aws.answer(call, client, operation, arguments)
            world._step()
            if fault == "answer lost":
                raise ReadTimeoutError(endpoint_url="https://aws.example.com")
            return result

        return make_api_call

    def _send_to_twilio(
        self, request: requests.PreparedRequest, *, timeout: tuple[float, float], **_: object
    ) -> requests.Response:
        self._step()
        parts = urlsplit(str(request.url))
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = self.twilio.handle(
            TaggedRequest(str(request.method), parts.path, parts.query, headers, bytes(body), by=self.delivery())
        )
        says_when = {} if NO_DATE in self.ways else {"Date": formatdate(self.twilio_now(), usegmt=True)}
        self.wake_for_twilio()
        if answer.transport == "hang":
            self.scheduler.pause(timeout[1])
            raise requests.ReadTimeout
        self._step()
        if answer.transport == "cut" and not answer.audio:
            raise requests.ConnectionError(ProtocolError("Connection aborted."))
        return _response(answer, request, headers=says_when)

    # --- callbacks -----------------------------------------------------------------------------

    def wake_for_twilio(self) -> None:
        """Look after the simulated Twilio when something happens there next."""
        due = self.twilio.next_due()
        if due is not None:
            self.scheduler.at(due - self.twilio_offset, self._deliver_due)

    def _deliver_due(self) -> None:
        for callback in self.twilio.due_callbacks():
            if callback.target.url.startswith(WEBHOOK_URL):  # else it goes to the caller's own
                account = self.twilio.accounts[callback.account_sid]
                self.deliver(callback, account.auth_token, shared_key=account.shared_key)
        self.wake_for_twilio()

    def deliver(
        self, callback: Callback, auth_token: str, *, shared_key: SharedKey | None = None, whose: str = "twilio"
    ) -> None:
        """Send a callback, again and again as the URL's fragment asks for, for as long as Twilio would."""
        signed = sign(callback, auth_token=auth_token, shared_key=shared_key)
        event = http_api_event(signed.method, signed.url, headers=signed.headers, body=signed.body)
        overrides = Overrides.of(callback.target.url)
        gives_up = self.scheduler.now + overrides.total_seconds

        def send(retries: int) -> None:
            waits_until = min(self.scheduler.now + overrides.read_seconds, gives_up)
            is_waiting, sent_at = True, self.scheduler.now

            def ended(failure: str | None) -> None:
                nonlocal is_waiting
                is_first, is_waiting = is_waiting, False
                if is_first and overrides.retry(failure) and retries and self.scheduler.now < gives_up:
                    send(retries - 1)

            def answered(result: Any) -> None:
                # Whatever becomes of the function, API Gateway answers: 5xx.
                status = result["statusCode"] if isinstance(result, dict) else 500
                self.answers_to_callbacks.append((whose, status, sent_at))
                ended("5xx" if status >= 500 else "4xx" if status >= 400 else None)

            self.invoke("recording_status", event, answered, cause="callback")
            self.scheduler.at(waits_until, lambda: ended("rt"))

        send(overrides.retries)

    # --- the rest ------------------------------------------------------------------------------

    def expire(self, recording_sid: str) -> bool:
        """Let the bucket's lifecycle take a recording away that Twilio still has; return whether it did."""
        found = self.ledger.expire(recording_sid)
        for where in found:
            version = self.ledger.versions.pop(where)
            boto3.client("s3").delete_object(Bucket=BUCKET, Key=version.key, VersionId=where[1])
        return bool(found)

    def has_row(self, recording_sid: str) -> bool:
        """Tell whether a recording has a row."""
        key = {"recording_sid": {"S": recording_sid}}
        return "Item" in dynamodb.answer("GetItem", {"TableName": TABLE, "Key": key})

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, as DynamoDB has it."""
        found: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        while True:
            page = dynamodb.answer("Scan", {"TableName": TABLE} | more)
            found += page["Items"]
            if "LastEvaluatedKey" not in page:
                return found
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _response(answer: Answer, request: requests.PreparedRequest, *, headers: dict[str, str]) -> requests.Response:
    body = b"".join(answer.audio.pieces) if answer.audio else answer.body
    headers |= {"Content-Type": answer.content_type, "Content-Length": str(len(body)), **answer.headers}
    if answer.transport == "cut":
        body = body[: len(body) // 2]
    response = requests.Response()
    response.status_code, response.url, response.request = answer.status, str(request.url), request
    response.headers.update(headers)
    response.raw = HTTPResponse(io.BytesIO(body), headers=headers, status=answer.status, preload_content=False)
    return response


class _Deadline(Context):
    """The context of one invocation, whose time is virtual."""

    def __init__(self, task: Task, scheduler: Scheduler) -> None:
        super().__init__()
        self._task, self._scheduler = task, scheduler

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._task.dies_at - self._scheduler.now) * 1000))
