"""A burst through the local stack: what is lost or double, and how it compares with a function that does nothing."""

import io
import json
import statistics
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests

from local.stack import Stack
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
_ONE_WRITE: Final = """
import base64
from urllib.parse import parse_qsl

import boto3

dynamodb = boto3.client("dynamodb")


def handler(event, context):
    form = dict(parse_qsl(base64.b64decode(event["body"]).decode()))
    dynamodb.update_item(
        TableName="one-write",
        Key={"recording_sid": {"S": form["RecordingSid"]}},
        UpdateExpression="SET call_sid = :call_sid",
        ExpressionAttributeValues={":call_sid": {"S": form["CallSid"]}},
    )
    return {"statusCode": 204}
"""


@dataclass(frozen=True)
class Burst:
    """What came of it.

    Throughputs are in parts of the empty function's: ours, and that of a function that only writes one
    item. `p99` is of the time of one callback among 32, in multiples of the empty function's.
    """

    lost_callbacks: int
    lost_starts: int
    double_starts: int
    throughput: Ratio
    one_write_throughput: Ratio
    p99: Ratio


def burst(stack: Stack) -> Burst:
    """Send 500 start requests, then 2,000 callbacks in turns with as many requests to an empty function."""
    lost_starts, double_starts = _starts(stack)
    callbacks = list(_callbacks(stack))
    each = CALLBACKS // TURNS
    ours = stack.webhook_local_url
    taken: dict[str, list[_Run]] = {}
    with (
        _function(stack, "empty", _EMPTY) as empty,
        _one_write_table(stack),
        _function(stack, "one-write", _ONE_WRITE) as one_write,
    ):
        urls = [ours, empty, one_write]
        for url in urls:
            _send(url, callbacks[:AT_ONCE])  # so that all are warm
        for turn in range(TURNS):
            some = callbacks[turn * each : (turn + 1) * each]
            for url in urls if turn % 2 else reversed(urls):
                run = _send(url, some)
                taken.setdefault(url, []).append(run)
                if run.statuses != Counter({204: each}):
                    raise ValueError(f"callbacks were answered {run.statuses}")
    lost_callbacks = CALLBACKS - _rows_written(stack, callbacks)
    return Burst(
        lost_callbacks,
        lost_starts,
        double_starts,
        throughput=_ratio(taken[empty], taken[ours], lambda run: run.seconds),
        one_write_throughput=_ratio(taken[empty], taken[one_write], lambda run: run.seconds),
        p99=_ratio(taken[ours], taken[empty], lambda run: run.p99_seconds),
    )


@dataclass(frozen=True)
class _Run:
    seconds: float
    p99_seconds: float
    statuses: Counter[int]


def _ratio(of: list[_Run], to: list[_Run], figure: Callable[[_Run], float]) -> Ratio:
    return Ratio([figure(one) / figure(other) for one, other in zip(of, to, strict=True)])


def _send(url: str, requests_to_send: list[Signed]) -> _Run:
    local = threading.local()

    def send(signed: Signed) -> tuple[int, float]:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        began = time.monotonic()
        answer = local.session.post(url, data=signed.body, headers=signed.headers, timeout=120)
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
def _one_write_table(stack: Stack) -> Iterator[None]:
    stack.client("dynamodb").create_table(
        TableName="one-write",
        KeySchema=[{"AttributeName": "recording_sid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "recording_sid", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield
    stack.client("dynamodb").delete_table(TableName="one-write")


@contextmanager
def _function(stack: Stack, name: str, source: str) -> Iterator[str]:
    """Put a function behind an HTTP API of its own; give the URL."""
    iam, functions, apis = stack.client("iam"), stack.client("lambda"), stack.client("apigatewayv2")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    write = {"Effect": "Allow", "Action": "dynamodb:UpdateItem", "Resource": "arn:aws:dynamodb:*:*:table/one-write"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName=name, PolicyName="write", PolicyDocument=_policy(write))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", source)
    function = functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Architectures=["arm64"],
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": code.getvalue()},
        MemorySize=512,
        Timeout=29,
    )["FunctionArn"]
    api = apis.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    integration = apis.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    functions.add_permission(
        FunctionName=function, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    apis.create_route(ApiId=api, RouteKey="POST /recording-status", Target=f"integrations/{integration}")
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    yield f"{stack.endpoint_url}/restapis/{api}/$default/_user_request_/recording-status"
    apis.delete_api(ApiId=api)
    functions.delete_function(FunctionName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="write")
    iam.delete_role(RoleName=name)


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
