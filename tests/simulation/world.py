"""The whole application in virtual time: handlers as they are, DynamoDB by moto, Twilio by the simulator."""

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

import boto3
import requests
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from call_recording import clock
from local.api_gateway import http_api_event
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.model import Account, new_sid
from local.twilio_simulator.twilio import Callback, Request, Twilio
from tests.conftest import (
    IDEMPOTENCY_TABLE,
    METRICS_NAMESPACE,
    SECRET_PREFIX,
    TABLE,
    Context,
    create_table,
    load_app,
    mocked_aws,
    put_secret,
)
from tests.simulation.chaos import Chaos, SeededFaults
from tests.simulation.scheduler import Killed, Scheduler, Task

BEGINS: Final = 1795332780.0
API_URL: Final = "https://api.twilio.com"
WEBHOOK_URL: Final = "https://webhook.example.com/recording-status"
TIMEOUTS: Final = {"start_recording": 28.0, "recording_status": 14.0, "reconcile_recordings": 180.0}
CLOCKS_OFF_BY: Final = 30.0
"""Every clock may be off by this much either way, so two of them by a minute."""

KILLED: Final = object()
"""The result of an invocation of which nobody hears."""

CALLBACK_QUEUE: Final = "https://sqs.us-east-1.amazonaws.com/123456789012/callbacks"


@dataclass(eq=False)
class Environment:
    """An execution environment of a function: its module with its caches, and its machine's clock."""

    app: ModuleType
    clock_offset: float


@dataclass
class World:
    """One course of events, all of it decided by the seed."""

    seed: int
    faults_last: float
    template: dict[str, Any]
    published: list[dict[str, Any]] = field(default_factory=list)
    kept_callbacks: list[str] = field(default_factory=list)
    answers_to_callbacks: list[tuple[bool, int | None]] = field(default_factory=list)
    """Whether the callback was Twilio's, and what it was answered."""

    log_level: str = "CRITICAL"
    written: io.StringIO = field(default_factory=io.StringIO, init=False)
    """What the functions wrote to the standard output: their logs, and their metrics."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 (to be repeatable is the point)
        self.scheduler = Scheduler(begins=BEGINS)
        self.chaos = Chaos.of(
            self.seed, random=self.random, now=lambda: self.scheduler.now, ends=BEGINS + self.faults_last
        )
        offset = self.random.uniform(-CLOCKS_OFF_BY, CLOCKS_OFF_BY)
        self.twilio = Twilio(clock=lambda: self.scheduler.now + offset, base_url=API_URL, source=self.random)
        self.twilio_offset = offset
        self.twilio.faults = SeededFaults(self.chaos)
        token = f"{self.random.getrandbits(128):032x}"
        self.account = self.twilio.add_account(Account(new_sid("AC", self.random), token))
        self._idle: dict[str, list[Environment]] = {name: [] for name in TIMEOUTS}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put the world in place of the network and of time."""
        environment = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "POWERTOOLS_LOG_LEVEL": self.log_level,
            "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
            "RECORDINGS_TABLE": TABLE,
            "IDEMPOTENCY_TABLE": IDEMPOTENCY_TABLE,
            "ROW_RETENTION_DAYS": "400",
            "STALE_AFTER_MINUTES": "10",
            "TWILIO_ACCOUNT_SID": self.account.sid,
            "TWILIO_API_URL": API_URL,
            "TWILIO_SECRET_PREFIX": SECRET_PREFIX,
            "WEBHOOK_URL": WEBHOOK_URL,
            "EVENT_BUS_NAME": "default",
            "CALLBACK_DEAD_LETTER_QUEUE_URL": CALLBACK_QUEUE,
        }
        random.seed(self.seed)  # the jitter of back-offs
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(self.written))
            stack.enter_context(patch.dict("os.environ", environment))
            stack.enter_context(mocked_aws())
            create_table(self.template, "RecordingsTable", TABLE)
            create_table(self.template, "IdempotencyTable", IDEMPOTENCY_TABLE)
            put_secret(self.account.sid, {"auth_token": self.account.auth_token})
            stack.enter_context(patch.object(BaseClient, "_make_api_call", self._around(BaseClient._make_api_call)))  # type: ignore[attr-defined] # noqa: SLF001
            stack.enter_context(patch.object(HTTPAdapter, "send", self._send_to_twilio))
            stack.enter_context(patch.object(clock, "sleep", self.scheduler.pause))
            stack.enter_context(patch.object(clock, "monotonic", lambda: self.scheduler.now))
            yield

    # --- invocations ---------------------------------------------------------------------------

    def invoke(self, function: str, event: dict[str, Any], then: Callable[[Any], None] = lambda _: None) -> None:
        """Invoke a function; `then` gets its result, its exception, or KILLED."""
        idle = self._idle[function]
        if not idle:
            idle.append(Environment(load_app(function), self.random.uniform(-CLOCKS_OFF_BY, CLOCKS_OFF_BY)))
        environment = idle.pop(self.random.randrange(len(idle)))
        task = Task(lambda: self._run(function, environment, event, then), environment.clock_offset)
        task.dies_at = self.scheduler.now + TIMEOUTS[function]
        self.scheduler.spawn(task)

    def _run(self, function: str, environment: Environment, event: dict[str, Any], then: Callable[[Any], None]) -> None:
        task = self.scheduler.current()
        assert task is not None
        context = _Deadline(task, self.scheduler)
        try:
            result = environment.app.handler(event, context)
        except Killed:
            then(KILLED)  # and with it go the environment and its caches
            return
        except Exception as error:  # noqa: BLE001 (Lambda's runtime catches everything, too)
            result = error
        self._idle[function].append(environment)
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
            fault = world.chaos.aws_fault()
            if fault == "throttled":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, operation)
            result = world._answer_aws(operation, arguments) or call(client, operation, arguments)
            world._step()
            if fault == "answer lost":
                raise ReadTimeoutError(endpoint_url="https://aws.example.com")
            return result

        return make_api_call

    def _answer_aws(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """Take note of what leaves the application."""
        if operation == "PutEvents":
            self.published += [json.loads(entry["Detail"]) for entry in arguments["Entries"]]
            return {"FailedEntryCount": 0, "Entries": [{}]}
        if operation == "SendMessage":
            self.kept_callbacks.append(arguments["MessageBody"])
            return {"MessageId": "1"}
        return None

    def _send_to_twilio(
        self, request: requests.PreparedRequest, *, timeout: tuple[float, float], **_: object
    ) -> requests.Response:
        self._step()
        parts = urlsplit(str(request.url))
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = self.twilio.handle(Request(str(request.method), parts.path, parts.query, headers, bytes(body)))
        self.wake_for_twilio()
        if answer.transport == "hang":
            self.scheduler.pause(timeout[1])
            raise requests.ReadTimeout
        self._step()
        if answer.transport == "cut":
            raise requests.ConnectionError(ProtocolError("Connection aborted."))
        response = requests.Response()
        response.status_code, response._content = answer.status, answer.body  # noqa: SLF001
        response.headers.update({"Content-Type": answer.content_type, **answer.headers})
        response.url, response.request = str(request.url), request
        return response

    # --- callbacks -----------------------------------------------------------------------------

    def wake_for_twilio(self) -> None:
        """Look after the simulated Twilio when something happens there next."""
        due = self.twilio.next_due()
        if due is not None:
            self.scheduler.at(due - self.twilio_offset, self._deliver_due)

    def _deliver_due(self) -> None:
        for callback in self.twilio.due_callbacks():
            if callback.target.url.startswith(WEBHOOK_URL):  # else it goes to the caller's own
                self.deliver(callback, self.account.auth_token, tries=6)
        self.wake_for_twilio()

    def deliver(self, callback: Callback, auth_token: str, *, tries: int, is_twilios: bool = True) -> None:
        """Send a callback, again and again as our URL's fragment asks for, for as long as Twilio would."""
        signed = sign(callback, auth_token=auth_token)
        event = http_api_event(signed.method, signed.url, headers=signed.headers, body=signed.body)
        gives_up = self.scheduler.now + 15

        def answered(result: Any) -> None:
            status = result["statusCode"] if isinstance(result, dict) else None
            self.answers_to_callbacks.append((is_twilios, status))
            if (status is None or status >= 500) and tries > 1 and self.scheduler.now < gives_up:
                self.deliver(callback, auth_token, tries=tries - 1, is_twilios=is_twilios)

        self.invoke("recording_status", event, answered)

    def rows(self) -> list[dict[str, Any]]:
        """Return every row, as DynamoDB has it."""
        paginator = boto3.client("dynamodb").get_paginator("scan")
        return [item for page in paginator.paginate(TableName=TABLE) for item in page["Items"]]


class _Deadline(Context):
    """The context of one invocation, whose time is virtual."""

    def __init__(self, task: Task, scheduler: Scheduler) -> None:
        super().__init__()
        self._task, self._scheduler = task, scheduler

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._task.dies_at - self._scheduler.now) * 1000))
