"""Where histories happen: the functions as they are, loaded once, with the network and the clock in our hands."""

import os
import random
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import cache
from io import TextIOBase
from types import ModuleType
from typing import Any, Final, override
from unittest.mock import patch
from urllib.parse import urlsplit

import requests
import time_machine
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from requests.adapters import HTTPAdapter
from samcli.yamlhelper import yaml_parse

from call_recording import clock
from call_recording.metrics import Metric
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID, WEBHOOK_URL
from local.stack import PROJECT
from local.twilio_simulator.model import Account
from local.twilio_simulator.twilio import Request
from tests.conftest import (
    AUDIT_LOG_GROUP,
    BUCKET,
    IDEMPOTENCY_TABLE,
    METRICS_NAMESPACE,
    SECRET_PREFIX,
    TABLE,
    TIMER_GROUP,
    Context,
    fresh_clients,
    load_app,
)
from tests.exploration.delivery import Delivery
from tests.exploration.history import API_URL, BEGINS, Chooser, History
from tests.exploration.memory import Table

FUNCTIONS: Final = ("start_recording", "recordings_api")
ENVIRONMENTS: Final = 2
"""Execution environments of each function: two deliveries at the same time are never in one."""

_ENVIRONMENT: Final = {
    "ARCHIVE_BUCKET": BUCKET,
    "ARCHIVE_RECORDINGS": "true",
    "AUDIT_LOG_GROUP": AUDIT_LOG_GROUP,
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "EVENT_BUS_NAME": "default",
    "IDEMPOTENCY_TABLE": IDEMPOTENCY_TABLE,
    "PAGE_TOKEN_SECRET": "page-tokens",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
    "RECORDINGS_TABLE": TABLE,
    "RESUME_TIMER_DEAD_LETTER_QUEUE_ARN": "arn:aws:sqs:us-east-1:123456789012:control",
    "RESUME_TIMER_GROUP": TIMER_GROUP,
    "RESUME_TIMER_PREFIX": "resume-0123abcd-",
    "RESUME_TIMER_ROLE_ARN": "arn:aws:iam::123456789012:role/timer",
    "ROW_RETENTION_DAYS": "400",
    "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
    "TWILIO_API_URL": API_URL,
    "TWILIO_SECRET_PREFIX": SECRET_PREFIX,
    "WEBHOOK_URL": WEBHOOK_URL,
}


class Stage:
    """One history at a time; the functions' modules, AWS clients and HTTP sessions outlive them all."""

    def __init__(self) -> None:
        self.history: History | None = None
        self._apps: dict[str, list[ModuleType]] = {}
        self._clock: Any = None

    @contextmanager
    def set_up(self) -> Iterator["Stage"]:
        """Put the stage in place of the network and of time."""
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(_Nowhere()))
            stack.enter_context(patch.dict(os.environ, _ENVIRONMENT))
            stack.enter_context(fresh_clients())
            stack.enter_context(patch.object(BaseClient, "_make_api_call", self._aws()))
            stack.enter_context(patch.object(HTTPAdapter, "send", self._send_to_twilio))
            stack.enter_context(patch.object(clock, "sleep", self._sleep))
            stack.enter_context(patch.object(clock, "monotonic", self._monotonic))
            stack.enter_context(patch.object(uuid, "uuid4", self._name))
            stack.enter_context(patch.object(secrets, "randbits", lambda _: self._name().int))
            stack.enter_context(patch.object(random, "uniform", lambda _, most: most))  # the jitter of back-offs
            stack.enter_context(patch.object(Metric, "add", lambda *_, **__: None))  # a third of all the time
            self._apps = {name: [load_app(name) for _ in range(ENVIRONMENTS)] for name in FUNCTIONS}
            self._clock = stack.enter_context(time_machine.travel(BEGINS, tick=False))
            yield self

    def begin(self, chooser: Chooser, *, faults: int, latency: float) -> History:
        """Return a new history on this stage, in place of the one before."""
        if self.history is not None:
            self.history.abandon()
        self.history = History(
            chooser,
            tables=tables(),
            account=Account(ACCOUNT_SID, AUTH_TOKEN),
            call_sid=CALL_SID,
            faults=faults,
            latency=latency,
        )
        return self.history

    def deliver(
        self,
        who: str,
        function: str,
        event: Mapping[str, Any],
        *,
        begins: float,
        environment: int = 0,
        clock_offset: float = 0.0,
    ) -> Delivery:
        """Return a delivery of an event to a function, in one of its environments, whose clock may be off."""
        app = self._apps[function][environment]

        def run() -> Any:
            return app.handler(dict(event), _Deadline(delivery))

        delivery = _OnStage(self, who, run, begins=begins, clock_offset=clock_offset)
        return delivery

    def somebody(self, who: str, run: Callable[[], Any], *, begins: float) -> Delivery:
        """Return what somebody does who is not of this stack."""
        somebody = _OnStage(self, who, run, begins=begins)
        somebody.dies_at = float("inf")
        return somebody

    def turn_clock(self, seconds: float) -> None:
        """Have every clock say that."""
        self._clock.move_to(seconds)

    # --- in place of the world --------------------------------------------------------------------

    def _aws(self) -> Callable[..., Any]:
        stage = self

        def make_api_call(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            assert stage.history is not None
            if operation == "GetSecretValue":
                return {"SecretString": f'{{"auth_token": "{AUTH_TOKEN}"}}'}
            if operation == "BatchGetItem" and IDEMPOTENCY_TABLE in arguments["RequestItems"]:
                return {"Responses": {}}  # nothing is paused as a whole here, and who saw that does not look each time
            try:
                if stage.history.running is None:  # the setting of a history
                    return stage.history.memory.call(operation, arguments)
                return stage.history.ask_aws(operation, arguments)
            except ClientError as error:
                kind: Any = client.exceptions.from_code(error.response["Error"]["Code"])
                raise kind(error.response, operation) from None

        return make_api_call

    def _send_to_twilio(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        assert self.history is not None
        parts = urlsplit(str(request.url))
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = self.history.ask_twilio(Request(str(request.method), parts.path, parts.query, headers, bytes(body)))
        response = requests.Response()
        response.status_code, response._content = answer.status, answer.body  # noqa: SLF001
        response.headers.update({"Content-Type": answer.content_type, **answer.headers})
        response.url, response.request = str(request.url), request
        return response

    def _running(self) -> Delivery:
        assert self.history is not None
        assert self.history.running is not None
        return self.history.running

    def _sleep(self, seconds: float) -> None:
        running = self._running()
        running.now += seconds
        self.turn_clock(running.now + running.clock_offset)

    def _monotonic(self) -> float:
        return self._running().now if self.history and self.history.running else BEGINS

    def _name(self) -> uuid.UUID:
        """Return a name that nobody had, and that does not depend on what others do."""
        assert self.history is not None
        running = self._running()
        running.names_made += 1
        return uuid.UUID(int=self.history.deliveries.index(running) << 32 | running.names_made)


class _OnStage(Delivery):
    """A delivery whose clock is right whenever it runs, and whose router is its own."""

    def __init__(
        self, stage: Stage, who: str, run: Callable[[], Any], *, begins: float, clock_offset: float = 0.0
    ) -> None:
        super().__init__(who, run, begins=begins, clock_offset=clock_offset)
        self._stage = stage
        self._router: dict[str, Any] = {}

    @override
    def resume(self, go_on: Callable[[], object]) -> None:
        self._stage.turn_clock(self.now + self.clock_offset)
        # Powertools keeps what is being worked on in a class; a function's environments are processes of their own.
        for name, value in self._router.items():
            setattr(BaseRouter, name, value)
        go_on()
        self._router = {name: getattr(BaseRouter, name, None) for name in ("current_event", "lambda_context")}


class _Deadline(Context):
    """The context of one invocation, whose time is virtual."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._delivery.dies_at - self._delivery.now) * 1000))


class _Nowhere(TextIOBase):
    """Where logs go that nobody reads."""

    @override
    def write(self, text: str) -> int:
        return len(text)


def tables() -> dict[str, Table]:
    """Return the application's tables, empty."""
    return {
        TABLE: Table(*_shape("RecordingsTable")),
        IDEMPOTENCY_TABLE: Table(*_shape("IdempotencyTable")),
    }


@cache
def _shape(logical_id: str) -> tuple[str, Mapping[str, Any]]:
    table = Table.of(_template(), logical_id)
    return table.key, table.indexes


@cache
def _template() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml_parse((PROJECT / "template.yaml").read_text())
    return loaded
