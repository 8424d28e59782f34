"""The doctor on the real stack, deployed to the local AWS: it finds what is spoilt, and no problem before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.stack import ACCESS_KEY, PROJECT, SECRET_KEY, STACK_NAME, Stack
from local.twilio_simulator.model import Call


def examined(stack: Stack) -> tuple[int, str]:
    """Run the doctor as a person does, and return its exit status and what it printed."""
    done = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-m", "operations.doctor", STACK_NAME],
        cwd=PROJECT,
        env=os.environ
        | {
            "AWS_ENDPOINT_URL": stack.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": stack.region,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    assert stack.auth_token not in done.stdout
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def disabled_mappings(stack: Stack) -> None:
    """MiniStack calls a mapping enabled that CloudFormation has made disabled, until it is told once more."""
    outputs = stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Outputs"]
    for uuid in (each["OutputValue"] for each in outputs if each["OutputKey"].endswith("RedriveMapping")):
        stack.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)


@pytest.fixture
def dead_letter(stack: Stack) -> Iterator[None]:
    outputs = stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Outputs"]
    (queue,) = [each["OutputValue"] for each in outputs if each["OutputKey"] == "CallbackDeadLetterQueueUrl"]
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    yield
    stack.client("sqs").purge_queue(QueueUrl=queue)


@pytest.fixture
def other_token(stack: Stack) -> Iterator[None]:
    name = f"twilio/{stack.account_sid}"
    secrets = stack.client("secretsmanager")
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps({"auth_token": "f" * 32}))
    yield
    secrets.put_secret_value(SecretId=name, SecretString=json.dumps({"auth_token": stack.auth_token}))


def test_a_stack_that_records_has_no_problem(stack: Stack, call: Call) -> None:
    assert stack.call_control_api("POST", f"/calls/{call.sid}/recordings", json={}).status_code == 201

    status, printed = examined(stack)

    assert (status, "PROBLEM" in printed) == (0, False), printed
    assert "No alarm has a topic" in printed


def test_what_is_spoilt_is_found(stack: Stack, dead_letter: None, other_token: None) -> None:
    status, printed = examined(stack)

    assert status == 1
    assert "1 message waits in CallbackDeadLetterQueue." in printed
    assert f"Twilio refuses auth_token of twilio/{stack.account_sid} (HTTP 401, code 20003)." in printed
    assert "2 problems, " in printed
