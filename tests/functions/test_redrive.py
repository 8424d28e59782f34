"""Everything in a dead-letter queue comes back, is done once, and nothing of it is lost."""

import json
import re
import subprocess
import sys
import textwrap
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording.archive.archiver import Archiver
from call_recording.bus import ARCHIVED, STATUS_CHANGE, STILL_PAUSED
from call_recording.callbacks import facts as callbacks
from call_recording.recordings.facts import Facts
from call_recording.recordings.statuses import FINAL, is_known, lower_than
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from local.api_gateway import http_api_event
from local.stack import PROJECT
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import (
    TABLE,
    Bus,
    Context,
    Time,
    begin_recording,
    load_app,
    put_secret,
    rows,
    set_environment,
    timers,
)
from tests.functions.test_recording_status import PARAMETERS, signed

Sample = Callable[[str], dict[str, Any]]


def batch(*bodies: object) -> dict[str, Any]:
    """Return messages as Lambda takes them out of a queue."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "eventSource": "aws:sqs",
                "body": body if isinstance(body, str) else json.dumps(body),
            }
            for number, body in enumerate(bodies)
        ]
    }


def from_lambda(event: object) -> dict[str, Any]:
    """Return what Lambda puts into the queue for an event that it gave up on."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-22T07:35:01.123Z",
        "requestContext": {
            "requestId": Context.aws_request_id,
            "functionArn": f"{Context.invoked_function_arn}:live",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "1", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "Twilio did not answer in time", "errorType": "TwilioTimedOutError"},
    }


def from_scheduler(payload: str) -> dict[str, Any]:
    """Return what EventBridge Scheduler puts into the queue when Lambda does not take what a schedule hands over."""
    return {"FunctionName": f"{Context.invoked_function_arn}:live", "InvocationType": "Event", "Payload": payload}


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "undelivered by EventBridge": lambda event: event,
    "given up on by Lambda": from_lambda,
    "undelivered by EventBridge Scheduler": lambda event: from_scheduler(json.dumps(event)),
    "a letter that somebody invoked the function with": lambda event: from_lambda(from_scheduler(json.dumps(event))),
    "an event that holds what a letter would": lambda event: event | {"requestPayload": {}, **from_scheduler("{}")},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_start_is_met_in_whatever_form_it_lies_in_the_queue(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer, form: str
) -> None:
    letter = FORMS[form](sample("start-eventbridge.json"))

    for _ in range(2):
        assert start_recording.handler(batch(letter), Context()) == {"batchItemFailures": []}

    assert len(twilio.twilio.recordings) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_control_is_met_in_whatever_form_it_lies_in_the_queue(
    recordings_api: ModuleType, sample: Sample, twilio: TwilioServer, table: RecordingsTable, form: str
) -> None:
    recording = begin_recording(twilio, table)
    event = sample("control-eventbridge.json")
    event["detail"] |= {"RecordingSid": recording.sid, "Status": "paused"}

    assert recordings_api.handler(batch(FORMS[form](event)), Context()) == {"batchItemFailures": []}

    assert recording.status == "paused"


@pytest.mark.parametrize("form", [*FORMS][:-1])
def test_a_timer_is_looked_after_in_whatever_form_it_lies_in_the_queue(
    recordings_api: ModuleType,
    api: Callable[..., dict[str, Any]],
    twilio: TwilioServer,
    table: RecordingsTable,
    time: Time,
    bus: Bus,
    form: str,
) -> None:
    recording = begin_recording(twilio, table)
    path = {"CallSid": CALL_SID, "RecordingSid": recording.sid}
    watched = {"Status": "paused", "ResumeWithinSeconds": 60, "AutoResume": True}
    assert api("control-rest-api.json", watched, path=path)["statusCode"] == 200
    (timer,) = timers()
    time.turn(7200)

    answer = recordings_api.handler(batch(FORMS[form](json.loads(timer["Target"]["Input"]))), Context())

    assert answer == {"batchItemFailures": []}
    assert len(bus.events(STILL_PAUSED)) == 1
    assert recording.status == "in-progress"


@pytest.mark.parametrize(
    "letter",
    [
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param(None, id="null"),
        pytest.param([], id="a list"),
        pytest.param("text", id="a text"),
        pytest.param({}, id="nothing"),
        pytest.param(from_lambda(None), id="nothing was asked for"),
        pytest.param(from_lambda([{"detail-type": "Call Recording Requested"}]), id="a list was asked for"),
        pytest.param(from_scheduler('{"resume_timer": {"na'), id="cut off by Scheduler"),
        pytest.param(from_scheduler('"text"'), id="Scheduler had a text"),
        pytest.param(from_scheduler("") | {"Payload": {"resume_timer": {}}}, id="no JSON in a text"),
        pytest.param(from_scheduler(json.dumps({"resume_timer": {"name": "x"}})), id="half a timer"),
        pytest.param({"Payload": "{}"}, id="half a request of Scheduler's"),
        pytest.param({"fields": [["RecordingSid", RECORDING_SID]]}, id="a callback"),
    ],
)
@pytest.mark.parametrize("function", ["start_recording", "recordings_api"])
def test_a_letter_that_is_none_stays_and_nothing_is_asked_of_twilio(
    request: pytest.FixtureRequest, twilio: TwilioServer, function: str, letter: object
) -> None:
    app = request.getfixturevalue(function)

    answer = app.handler(batch(letter if isinstance(letter, str) else json.dumps(letter)), Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert twilio.twilio.requests == []


@pytest.mark.parametrize("form", FORMS)
def test_a_letter_lets_nobody_in_by_a_door_that_it_did_not_come_from(
    start_recording: ModuleType, recordings_api: ModuleType, sample: Sample, twilio: TwilioServer, form: str
) -> None:
    """What a signed caller may do, whoever can have an event put into the queue may not."""
    asked_by_http = [
        (start_recording, sample("start-rest-api.json")),
        (recordings_api, sample("control-rest-api.json")),
        (recordings_api, sample("delete-rest-api.json")),
        (start_recording, sample("control-eventbridge.json")),
        (recordings_api, sample("start-eventbridge.json")),
    ]

    for app, event in asked_by_http:
        answer = app.handler(batch(FORMS[form](event)), Context())
        assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}

    assert twilio.twilio.requests == []


@pytest.mark.parametrize("form", [*FORMS][1:4])
def test_only_what_the_webhook_itself_kept_is_a_proven_callback(recording_status: ModuleType, form: str) -> None:
    kept = {"fields": list(PARAMETERS.items())}

    assert recording_status.handler(batch(FORMS[form](kept)), Context())["batchItemFailures"]
    assert rows() == []

    assert recording_status.handler(batch(kept), Context()) == {"batchItemFailures": []}
    assert len(rows()) == 1


def test_a_message_that_was_met_before_is_not_applied_again(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer
) -> None:
    event = sample("start-eventbridge.json")
    start_recording.handler(event, Context())

    start_recording.handler(batch(event, {"requestPayload": event}), Context())

    assert len(twilio.twilio.recordings) == 1


def test_a_message_that_fails_again_stays_and_the_others_do_not(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer
) -> None:
    event = sample("start-eventbridge.json")
    twilio.twilio.faults.requests = deque([RequestFault(503)] * 8)

    answer = start_recording.handler(batch(event, event | {"id": "another"}, "not JSON"), Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}, {"itemIdentifier": "message-2"}]}
    assert [row["intent"] for row in rows()] == ["eventbridge#another"]


def test_a_message_that_waited_too_long_becomes_a_failure_event(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer, time: Time, bus: Bus
) -> None:
    time.turn(3600)

    answer = start_recording.handler(batch(sample("start-eventbridge.json")), Context())

    assert answer == {"batchItemFailures": []}
    assert [failure["reason"] for failure in bus.events()] == ["too-old"]
    assert twilio.twilio.requests == []


def test_a_callback_that_a_later_version_can_read_is_recorded_even_after_a_rotation(
    recording_status: ModuleType, callback_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = signed(RecordingStatus="COMPLETED")
    event = http_api_event(request.method, request.url, headers=request.headers, body=request.body)
    assert recording_status.handler(event, Context())["statusCode"] == 202
    (message,) = boto3.client("sqs").receive_message(QueueUrl=callback_queue)["Messages"]
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})
    assert recording_status.handler(batch(message["Body"]), Context())["batchItemFailures"], "still not readable"

    monkeypatch.setattr(callbacks, "_STATUS", re.compile(r"[A-Za-z-]+"))
    for _ in range(2):
        assert recording_status.handler(batch(message["Body"]), Context()) == {"batchItemFailures": []}

    assert [row["recording_sid"] for row in rows()] == [RECORDING_SID]


# --- changes that were not published, as docs/how-to/operate/redrive-dead-letters.md has them done --------------

PAGE = PROJECT / "docs/how-to/operate/redrive-dead-letters.md"


def from_the_page(*, since: str, until: str, folder: Path) -> list[dict[str, Any]]:
    """Read the rows as the page's command does; return what its program has PublishChangesFunction invoked with."""
    page = PAGE.read_text()
    commands = re.search(r"\n( +FILTER=.+?); done\n", page, re.DOTALL)
    names = re.search(r"--expression-attribute-names '(.+?)'", page, re.DOTALL)
    program = re.search(r"<<'END'\n(.+?)\n   END\n", page, re.DOTALL)
    assert commands
    assert names
    assert program
    expression = subprocess.check_output(["bash", "-c", f'{commands[1]}; done; echo "$FILTER"'], text=True)  # noqa: S603, S607 (the page's own)
    read = boto3.client("dynamodb").scan(
        TableName=TABLE,
        FilterExpression=expression.strip(),
        ExpressionAttributeNames=json.loads(names[1]),
        ExpressionAttributeValues={":s": {"S": since}, ":u": {"S": until}},
    )
    (folder / "rows.json").write_text(json.dumps(read["Items"]))
    run = [sys.executable, "-c", textwrap.dedent(program[1]), since]
    assert int(subprocess.check_output(run, cwd=folder)) == len(read["Items"])  # noqa: S603 (the page's own)
    return [json.loads(file.read_text()) for file in sorted(folder.glob("again-*.json"))]


@pytest.mark.parametrize("status", ["in-progress", "paused", "stopped", "processing", *sorted(FINAL)])
def test_a_change_that_was_never_published_is_published_from_its_row(
    table: RecordingsTable, bus: Bus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str
) -> None:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    app = load_app("publish_changes")
    seen = {"before": "2026-11-22T07:29:59.999Z", "within": "2026-11-22T07:33:00.123Z", "after": "2026-11-22T07:36:00Z"}
    for number, at in enumerate(seen.values()):
        told = {"start_time": "2026-11-22T07:00:00Z"}
        table.record(Facts(f"RE{number:032x}", ACCOUNT_SID, status, at, told))

    batches = from_the_page(since="2026-11-22T07:30:00Z", until="2026-11-22T07:35:00Z", folder=tmp_path)
    for _ in range(2):
        assert [app.handler(batch, Context()) for batch in batches] == [{"batchItemFailures": []}]

    first, second = bus.events(STATUS_CHANGE)
    assert (first["recording_sid"], first["status"], first["previous_status"]) == (f"RE{1:032x}", status, None)
    assert first == second, "with the same id"


def test_every_status_can_be_published_again() -> None:
    (names,) = re.findall(r"--expression-attribute-names '(.+?)'", PAGE.read_text(), re.DOTALL)

    assert {status for status in json.loads(names).values() if is_known(status)} == {*lower_than("deleted"), "deleted"}


def test_audio_whose_archiving_was_never_told_is_told_from_its_row(
    table: RecordingsTable, bus: Bus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    app = load_app("publish_changes")
    table.record(Facts(RECORDING_SID, ACCOUNT_SID, "completed", "2026-11-22T07:00:00Z", {}))
    table.note(table.reader.one(RECORDING_SID), archive={"archived_at": "2026-11-22T07:33:00.123Z", "bytes": 1})

    for batch_of_rows in from_the_page(since="2026-11-22T07:30:00Z", until="2026-11-22T07:35:00Z", folder=tmp_path):
        app.handler(batch_of_rows, Context())

    sent = boto3.client("sqs").receive_message(QueueUrl=bus.queue, MaxNumberOfMessages=10)["Messages"]
    assert {json.loads(message["Body"])["detail-type"] for message in sent} == {STATUS_CHANGE, ARCHIVED}


# --- audio that could not be kept -------------------------------------------------------------------------------------


def test_whoever_put_it_there_audio_gets_its_new_attempts(
    archive_recording: ModuleType, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EventBridge puts what it would have sent to ArchiveQueue, which is what SQS moves when attempts are over."""
    asked = []
    monkeypatch.setattr(Archiver, "process", lambda _, recording_sid, **_named: asked.append(recording_sid))
    whole = {
        "version": "0",
        "id": "1",
        "detail-type": STATUS_CHANGE,
        "source": "call-recording",
        "account": "123456789012",
    }
    event = whole | {"detail": {"recording_sid": RECORDING_SID, "account_sid": ACCOUNT_SID, "status": "completed"}}
    least = {"detail": {"recording_sid": RECORDING_SID, "account_sid": ACCOUNT_SID}}

    answer = archive_recording.handler(batch(event, least, from_lambda(event), "[" * 100_000, "null"), Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": f"message-{number}"} for number in (2, 3, 4)]}
    assert asked == [RECORDING_SID] * 2
