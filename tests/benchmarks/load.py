"""A burst through the local stack: what is lost or double, and how it compares with a function that does nothing."""

import io
import json
import statistics
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from local.stack import Stack, on_loopback
from local.twilio_simulator.delivery import Signed, sign
from local.twilio_simulator.model import CallbackTarget, new_sid
from local.twilio_simulator.twilio import Callback
from tests.benchmarks.starts import Ratio

AT_ONCE: Final = 32
STARTS_AT_ONCE: Final = 16
CALLBACKS: Final = 2_000
STARTS: Final = 500
TURNS: Final = 8

_EMPTY: Final = "def handler(event, context):\n    return {'statusCode': 204}\n"


@dataclass(frozen=True)
class Burst:
    """What came of it.

    `throughput` is in parts of the empty function's; `p99` of the time of one callback among 32, in
    multiples of the empty function's.
    """

    lost_callbacks: int
    lost_starts: int
    double_starts: int
    throughput: Ratio
    p99: Ratio


def burst(stack: Stack) -> Burst:
    """Send 500 start requests, then 2,000 callbacks in turns with as many requests to an empty function."""
    lost_starts, double_starts = _starts(stack)
    callbacks = list(_callbacks(stack))
    each = CALLBACKS // TURNS
    with _empty_api(stack) as empty_url:
        _send(stack.webhook_local_url, callbacks[:AT_ONCE])  # so that both are warm
        _send(empty_url, callbacks[:AT_ONCE])
        throughput, p99 = [], []
        for turn in range(TURNS):
            some = callbacks[turn * each : (turn + 1) * each]
            urls = [stack.webhook_local_url, empty_url]
            runs = {url: _send(url, some) for url in (urls if turn % 2 else reversed(urls))}
            ours, empty = runs[stack.webhook_local_url], runs[empty_url]
            throughput.append(empty.seconds / ours.seconds)
            p99.append(ours.p99_seconds / empty.p99_seconds)
            if ours.statuses != Counter({204: each}):
                raise ValueError(f"callbacks were answered {ours.statuses}")
    lost_callbacks = CALLBACKS - _rows_written(stack, callbacks)
    return Burst(lost_callbacks, lost_starts, double_starts, Ratio(throughput), Ratio(p99))


@dataclass(frozen=True)
class _Run:
    seconds: float
    p99_seconds: float
    statuses: Counter[int]


def _send(url: str, requests_to_send: list[Signed]) -> _Run:
    address, host = on_loopback(url)
    local = threading.local()

    def send(signed: Signed) -> tuple[int, float]:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        began = time.monotonic()
        answer = local.session.post(address, data=signed.body, headers=signed.headers | host, timeout=120)
        return answer.status_code, time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, requests_to_send))
    taken = time.monotonic() - began
    return _Run(
        taken, statistics.quantiles([seconds for _, seconds in answers], n=100)[98], Counter(s for s, _ in answers)
    )


def _callbacks(stack: Stack) -> Iterator[Signed]:
    target = CallbackTarget(stack.webhook_url, "POST", frozenset())
    for _ in range(CALLBACKS):
        parameters = {
            "AccountSid": stack.account_sid,
            "CallSid": new_sid("CA"),
            "RecordingSid": new_sid("RE"),
            # Not `completed`: nothing is to be fetched from Twilio while the clock runs.
            "RecordingStatus": "absent",
            "RecordingChannels": "1",
            "RecordingSource": "StartCallRecordingAPI",
            "RecordingStartTime": "Sun, 22 Nov 2026 07:33:00 +0000",
            "RecordingTrack": "both",
        }
        yield sign(Callback(target, stack.account_sid, parameters), auth_token=stack.auth_token)


def _rows_written(stack: Stack, callbacks: list[Signed]) -> int:
    sids = {dict(part.split("=") for part in signed.body.decode().split("&"))["RecordingSid"] for signed in callbacks}
    return len(sids & {row["recording_sid"]["S"] for row in _rows(stack) if row["status"]["S"] == "absent"})


def _rows(stack: Stack) -> Iterator[dict[str, Any]]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.recordings_table)
    for page in pages:
        yield from page["Items"]


def _starts(stack: Stack) -> tuple[int, int]:
    """Send 500 start requests, each twice with its key; return how many recordings are missing, and too many."""
    with stack.simulator.locked() as twilio:
        calls = [twilio.begin_call(stack.account_sid) for _ in range(STARTS)]

    def start(call_sid: str) -> None:
        for _ in range(2):
            answer = stack.call_control_api(
                "POST", f"/calls/{call_sid}/recordings", json={}, headers={"Idempotency-Key": call_sid}
            )
            if answer.status_code != 201:
                raise ValueError(f"a start was answered {answer.status_code}")

    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        list(pool.map(start, [call.sid for call in calls]))
    with stack.simulator.locked() as twilio:
        made = Counter(recording.call.sid for recording in twilio.recordings.values())
    started = {row["call_sid"]["S"] for row in _rows(stack) if "call_sid" in row}
    return sum(call.sid not in started for call in calls), sum(made[call.sid] - 1 for call in calls)


@contextmanager
def _empty_api(stack: Stack) -> Iterator[str]:
    """Put a function that does nothing behind an HTTP API; give its URL."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", _EMPTY)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = stack.client("iam").create_role(
        RoleName="empty", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    function = stack.client("lambda").create_function(
        FunctionName="empty",
        Runtime="python3.13",
        Architectures=["arm64"],
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": code.getvalue()},
        MemorySize=512,
    )["FunctionArn"]
    apis = stack.client("apigatewayv2")
    api = apis.create_api(Name="empty", ProtocolType="HTTP")["ApiId"]
    integration = apis.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    stack.client("lambda").add_permission(
        FunctionName=function, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    apis.create_route(ApiId=api, RouteKey="POST /recording-status", Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    port = urlsplit(stack.endpoint_url).port
    yield f"http://{api}.execute-api.localhost:{port}/recording-status"
    apis.delete_api(ApiId=api)
    stack.client("lambda").delete_function(FunctionName="empty")
    stack.client("iam").delete_role(RoleName="empty")
