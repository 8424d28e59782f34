"""One local stack for all tests here: the real template, built and deployed by SAM, and ways to use it."""

import json
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import KEY
from local.listening import listening
from local.stack import EVENTS, PROJECT, STACK_NAME, Stack, running_stack
from local.twilio_simulator.model import Call

type Published = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack(lambda _: None) as running:
        yield running
        assert leaked(running) == []


PHONE_NUMBER = "+14155550142"
REASON = "complaint of the person that was called"


def leaked(stack: Stack) -> list[str]:
    """Return each line of the functions' logs, over the whole session, that holds something that it must not."""
    secret = [stack.auth_token, "subaccount-token", PHONE_NUMBER, PHONE_NUMBER[1:], "X-Amz-Signature", REASON]
    logs = stack.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    pages = logs.get_paginator("filter_log_events")
    lines = [
        event["message"]
        for group in groups
        if "AuditLogGroup" not in group  # which is there for the reasons
        for page in pages.paginate(logGroupName=group)
        for event in page["events"]
    ]
    assert any("recording started" in line for line in lines), "there is something to look at"
    return [line for line in lines if any(word in line for word in secret)]


BUILD = PROJECT / ".aws-sam" / "build"
FROM_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "six.py")
PATIENCE_SECONDS = 30


def eventually[T](look: Callable[[], T]) -> T:
    """Return the first true thing that `look` sees; the stack works asynchronously."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()) and time.monotonic() < ends:
        time.sleep(0.1)
    return seen


@pytest.fixture
def call(stack: Stack) -> Iterator[Call]:
    with stack.simulator.locked() as twilio:
        begun = twilio.begin_call(stack.account_sid)
    yield begun
    with stack.simulator.locked() as twilio:
        twilio.hang_up(begun.sid)


def hang_up_after(stack: Stack, call: Call, seconds: float = 1.2) -> None:
    time.sleep(seconds)
    with stack.simulator.locked() as twilio:
        twilio.hang_up(call.sid)


def rows(stack: Stack, call: Call) -> list[dict[str, Any]]:
    reader = RecordingsReader(stack.client("dynamodb"), stack.recordings_table)
    entries, _ = reader.query("by-call", {"call_sid": call.sid}, oldest_first=True)
    found = reader.rows([entry[KEY] for entry in entries])
    return [found[entry[KEY]] for entry in entries if entry[KEY] in found]


def finished(stack: Stack, call: Call) -> list[dict[str, Any]]:
    return [row for row in rows(stack, call) if row["status"] in {"completed", "absent"}]


def start(stack: Stack, call: Call, body: object = None, **headers: str) -> requests.Response:
    text = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return stack.call_control_api("POST", f"/calls/{call.sid}/recordings", body=text, headers=headers)


def put_event(stack: Stack, detail: dict[str, Any], *, sample: str = "start-eventbridge.json") -> str:
    event = json.loads((EVENTS / sample).read_text())
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(detail)}
    event_id: str = stack.client("events").put_events(Entries=[entry])["Entries"][0]["EventId"]
    return event_id


@pytest.fixture
def published(stack: Stack) -> Iterator[Published]:
    """Return a function that gives the events of a type (or all) that came out since the test began, in order."""
    with listening(stack, "published") as heard:
        yield lambda detail_type: [event for event in heard() if detail_type in {"", event["detail-type"]}]


def function_named(stack: Stack, name: str) -> str:
    return physical_id(stack, f"{name}Function")


def physical_id(stack: Stack, logical_id: str, *, stack_name: str = STACK_NAME) -> str:
    """Return what CloudFormation made of a resource of the template: a function's name, a queue's URL."""
    found = stack.client("cloudformation").describe_stack_resources(StackName=stack_name, LogicalResourceId=logical_id)
    return str(found["StackResources"][0]["PhysicalResourceId"])


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Lambda's Python brings, boto3, and nothing else of the development environment."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in FROM_THE_RUNTIME:
        (folder / name).symlink_to(Path(sysconfig.get_paths()["purelib"]) / name)
    return folder
