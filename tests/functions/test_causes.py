"""Whatever goes wrong is counted with who can change it: whoever asked, Twilio, or whoever runs the stack."""

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clients
from call_recording.errors import (
    ArchiveUnavailableError,
    MediaNotReadyError,
    RecordingNotFoundError,
    UnknownAccountError,
    WrongMediaError,
)
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import SECRET_PREFIX, Context, archive_message, load_app, set_environment, written_metrics
from tests.functions.test_redrive import batch

Ask = Callable[..., dict[str, Any]]
Counted = Callable[[str], list[dict[str, str]]]
OTHER_ACCOUNT = "AC" + "9" * 32


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Counted:
    """Return a function that gives the dimensions of a metric's values since it was last asked; each counts one."""

    def read(name: str) -> list[dict[str, str]]:
        found = [metric for metric in written_metrics(capsys.readouterr().out) if metric["name"] == name]
        assert {metric["value"] for metric in found} <= {1}
        return [metric["dimensions"] for metric in found]

    return read


def fail_for(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def forget_secret() -> None:
    client = boto3.client("secretsmanager")
    client.delete_secret(SecretId=f"{SECRET_PREFIX}{ACCOUNT_SID}", ForceDeleteWithoutRecovery=True)


# --- starts ----------------------------------------------------------------------------------------------


def test_a_call_that_is_over_is_the_callers(ask: Ask, counted: Counted, twilio: TwilioServer) -> None:
    twilio.twilio.hang_up(CALL_SID)

    assert ask({})["statusCode"] == 409

    assert counted("RecordingGap") == [{"cause": "caller"}]


def test_an_account_that_somebody_makes_up_is_the_callers(ask: Ask, counted: Counted) -> None:
    assert ask({"AccountSid": OTHER_ACCOUNT})["json"]["type"].endswith(":unknown-account")

    assert counted("RecordingGap") == [{"cause": "caller"}]


def test_that_the_stacks_own_account_has_no_secret_is_ours(ask: Ask, counted: Counted) -> None:
    forget_secret()

    assert ask({})["json"]["type"].endswith(":unknown-account")

    assert counted("RecordingGap") == [{"cause": "ours"}]


def test_what_twilio_does_not_answer_is_twilios(ask: Ask, counted: Counted, twilio: TwilioServer) -> None:
    twilio.twilio.faults.requests = deque([RequestFault(503)] * 8)

    assert ask({})["statusCode"] == 502

    assert counted("RecordingGap") == [{"cause": "twilio"}]


def test_what_is_stored_wrongly_is_ours(ask: Ask, counted: Counted, twilio: TwilioServer) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    assert ask({})["statusCode"] == 502

    assert counted("RecordingGap") == [{"cause": "ours"}]


def test_an_exception_that_nobody_expected_is_ours_and_still_an_error_of_the_function(
    ask: Ask, start_recording: ModuleType, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(start_recording.starter()), "start", fail_for(KeyError("sid")))

    with pytest.raises(KeyError):
        ask({})

    assert counted("RecordingGap") == [{"cause": "ours"}]


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        ("absent", "16101", "caller"),
        ("absent", "16102", "caller"),
        ("absent", "16104", "twilio"),
        ("absent", None, "twilio"),
        ("absent", "made up", "twilio"),
        ("failed", "16102", "twilio"),
        ("failed", None, "twilio"),
    ],
)
def test_a_recording_without_audio_is_the_calls_where_it_was_short_or_silent_and_else_twilios(
    aws: None, counted: Counted, monkeypatch: pytest.MonkeyPatch, status: str, code: str | None, cause: str
) -> None:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    image = {"recording_sid": {"S": RECORDING_SID}, "status": {"S": status}} | (
        {"error_code": {"S": code}} if code else {}
    )

    load_app("publish_changes").handler(
        {"Records": [{"dynamodb": {"NewImage": image, "SequenceNumber": "1"}}]}, Context()
    )

    assert counted("RecordingGap") == [{"cause": cause}]


# --- control ---------------------------------------------------------------------------------------------


def test_a_pause_that_fails_is_counted_with_who_can_change_that(
    api: Callable[..., dict[str, Any]], counted: Counted, twilio: TwilioServer
) -> None:
    answers = [api("control-rest-api.json")["statusCode"]]
    twilio.twilio.faults.requests = deque([RequestFault(503)] * 8)
    answers.append(api("control-rest-api.json")["statusCode"])
    twilio.twilio.faults.requests.clear()
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"
    answers.append(api("control-rest-api.json")["statusCode"])

    assert answers == [404, 502, 502]
    assert counted("ControlFailures") == [{"cause": "caller"}, {"cause": "twilio"}, {"cause": "ours"}]


# --- batches: what is given back is a success to Lambda --------------------------------------------------------


def test_a_change_that_the_bus_does_not_take_is_a_failed_attempt(
    aws: None, counted: Counted, sample: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutEvents")

    monkeypatch.setattr(clients.events(), "put_events", refuse)

    answer = load_app("publish_changes").handler(sample("stream-completed.json"), Context())

    assert len(answer["batchItemFailures"]) == 1
    assert counted("FailedAttempts") == [{"work": "changes", "cause": "ours"}]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (KeyError("sid"), "ours"),
        (RecordingNotFoundError(RECORDING_SID), "ours"),
        (UnknownAccountError(ACCOUNT_SID), "ours"),
        (ArchiveUnavailableError("key"), "ours"),
        (MediaNotReadyError(RECORDING_SID), "twilio"),
        (WrongMediaError("it is a page"), "twilio"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_audio_that_is_tried_again_is_a_failed_attempt(
    archive_recording: ModuleType, counted: Counted, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str
) -> None:
    monkeypatch.setattr(clients.sqs(), "change_message_visibility", lambda **_: None)
    monkeypatch.setattr(type(archive_recording.archiver()), "process", fail_for(error))

    answer = archive_recording.handler({"Records": [archive_message(RECORDING_SID)]}, Context())

    assert len(answer["batchItemFailures"]) == 1
    assert counted("FailedAttempts") == [{"work": "archive", "cause": cause}]


def test_a_message_for_the_archive_that_nobody_can_read_is_a_failed_attempt_too(
    archive_recording: ModuleType, counted: Counted
) -> None:
    message = archive_message(RECORDING_SID) | {"body": "not JSON"}

    answer = archive_recording.handler({"Records": [message]}, Context())

    assert len(answer["batchItemFailures"]) == 1
    assert counted("FailedAttempts") == [{"work": "archive", "cause": "ours"}]


def test_a_letter_that_fails_again_is_a_failed_attempt_of_a_redrive(
    start_recording: ModuleType, sample: Callable[[str], dict[str, Any]], counted: Counted, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests = deque([RequestFault(503)] * 8)

    start_recording.handler(batch(sample("start-eventbridge.json"), "not JSON"), Context())

    assert counted("FailedAttempts") == [{"work": "redrive", "cause": "twilio"}, {"work": "redrive", "cause": "ours"}]


# --- secrets ---------------------------------------------------------------------------------------------


def test_a_secret_that_was_there_and_is_gone_is_counted_and_one_that_never_was_is_not(
    recording_status: ModuleType, sample: Callable[[str], dict[str, Any]], counted: Counted
) -> None:
    made_up = sample("callback-post-completed.json")
    body = b64decode(made_up["body"]).replace(ACCOUNT_SID.encode(), OTHER_ACCOUNT.encode())
    made_up["body"] = b64encode(body).decode()
    forget_secret()

    recording_status.handler(made_up, Context())
    assert counted("CredentialsRefused") == []
    recording_status.handler(sample("callback-post-completed.json"), Context())

    assert counted("CredentialsRefused") == [{}]
