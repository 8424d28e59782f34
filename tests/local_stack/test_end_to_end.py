"""The deployed stack, from request to row: real template, real signatures, real bytes."""

import json
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode

import pytest
import requests

from local.stack import EVENTS, STACK_NAME, Stack
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Call, CallbackTarget, new_sid
from local.twilio_simulator.twilio import Callback
from tests.local_stack.conftest import (
    PHONE_NUMBER,
    Published,
    eventually,
    finished,
    function_named,
    hang_up_after,
    physical_id,
    put_event,
    rows,
    start,
)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_recording_started_by_http_ends_completed_in_the_table(stack: Stack, call: Call, method: str) -> None:
    answer = start(stack, call, {"RecordingChannels": "dual", "RecordingStatusCallbackMethod": method})
    assert answer.status_code == 201
    assert [row["status"] for row in rows(stack, call)] == ["in-progress"], "the row is there before the answer"

    hang_up_after(stack, call)

    (row,) = eventually(lambda: finished(stack, call))
    assert row["recording_sid"] == answer.json()["sid"]
    assert (row["status"], row["channels"], row["requested_by"]) == ("completed", 2, "http")
    assert row["duration_seconds"] == stack.simulator.twilio.recordings[row["recording_sid"]].duration

    def attempts() -> list[tuple[str, int | None]]:
        told = [a for a in stack.simulator.attempts if a.callback.parameters.get("CallSid") == call.sid]
        return [(a.callback.target.method, a.status) for a in told]

    eventually(lambda: len(attempts()) == 2)  # the row can be there before Twilio has our answer
    assert attempts() == [(method, 204)] * 2


def test_a_recording_started_by_an_event_ends_completed_in_the_table(stack: Stack, call: Call) -> None:
    put_event(stack, {"CallSid": call.sid, "AccountSid": stack.account_sid, "RecordingTrack": "inbound"})
    assert eventually(lambda: rows(stack, call))

    hang_up_after(stack, call)

    (row,) = eventually(lambda: finished(stack, call))
    assert (row["status"], row["track"], row["requested_by"]) == ("completed", "inbound", "eventbridge")


def test_a_recording_of_silence_ends_absent_in_the_table(stack: Stack) -> None:
    with stack.simulator.locked() as twilio:
        call = twilio.begin_call(stack.account_sid, is_silent=True)
    start(stack, call)

    hang_up_after(stack, call)

    (row,) = eventually(lambda: finished(stack, call))
    assert (row["status"], row["error_code"]) == ("absent", "16102")


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_every_parameter_reaches_twilio_through_the_deployed_api(stack: Stack, call: Call, content_type: str) -> None:
    given = {
        "RecordingChannels": "dual",
        "RecordingStatusCallback": "http://127.0.0.1:1/status?a=b",
        "RecordingStatusCallbackEvent": "in-progress absent",
        "RecordingStatusCallbackMethod": "GET",
        "RecordingTrack": "outbound",
        "Trim": "trim-silence",
    }
    body = json.dumps(given) if content_type.endswith("json") else urlencode(given)

    assert start(stack, call, body.encode(), **{"Content-Type": content_type}).status_code == 201

    request = next(r for r in stack.simulator.twilio.requests if call.sid in r.path)
    assert parse_qs(request.body.decode()) == {name: [value] for name, value in given.items()}


def test_requests_without_a_signature_are_refused_before_the_function(stack: Stack, call: Call) -> None:
    answer = stack.call_control_api("POST", f"/calls/{call.sid}/recordings", body=b"{}", sign=False)

    assert answer.status_code == 403
    assert not [r for r in stack.simulator.twilio.requests if call.sid in r.path]


def test_bad_input_gets_a_problem_from_the_deployed_api(stack: Stack, call: Call) -> None:
    answer = start(stack, call, {"Trim": "all", "RecordingTrack": "left"})

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == ["Trim", "RecordingTrack"]


def test_an_event_for_a_call_that_ended_becomes_a_failure_event(stack: Stack, call: Call, published: Published) -> None:
    hang_up_after(stack, call, seconds=0)

    event_id = put_event(stack, {"CallSid": call.sid})

    (event,) = eventually(lambda: published("Call Recording Request Failed"))
    assert (event["detail"]["reason"], event["detail"]["twilio_code"]) == ("call-not-in-progress", 21220)
    assert (event["detail"]["event_id"], event["detail"]["call_sid"]) == (event_id, call.sid)


def test_a_forged_callback_is_refused_and_changes_nothing(stack: Stack, call: Call) -> None:
    recording_sid = start(stack, call).json()["sid"]
    before = eventually(lambda: [row for row in rows(stack, call) if "in-progress" in row["status_at"]])
    url = stack.webhook_local_url
    forged = {
        "AccountSid": stack.account_sid,
        "CallSid": call.sid,
        "RecordingSid": recording_sid,
        "RecordingStatus": "absent",
    }

    for signature in ({}, {"X-Twilio-Signature": "Zm9yZ2Vk"}):
        assert requests.post(url, data=forged, headers=signature, timeout=30).status_code == 403
        assert requests.get(url, params=forged, headers=signature, timeout=30).status_code == 403

    assert [row["status"] for row in rows(stack, call)] == [row["status"] for row in before]


def test_a_phone_number_is_taken_and_refused_without_being_logged(stack: Stack, call: Call) -> None:
    refused = start(stack, call, {"Trim": PHONE_NUMBER, "To": PHONE_NUMBER, PHONE_NUMBER: "x"})
    recording_sid = start(stack, call).json()["sid"]
    target = CallbackTarget(stack.webhook_url, "POST", frozenset())
    recording = stack.simulator.twilio.recordings[recording_sid]
    parameters = recording.callback_parameters("in-progress", base_url=stack.twilio_url) | {"From": PHONE_NUMBER}
    signed = sign(Callback(target, stack.account_sid, parameters), auth_token=stack.auth_token)

    answer = requests.post(stack.webhook_local_url, data=signed.body, headers=signed.headers, timeout=30)

    assert (refused.status_code, answer.status_code) == (400, 204)
    assert rows(stack, call)[0]["metadata"] == {"From": PHONE_NUMBER}, "the row has it; the logs are read at the end"


def test_a_signed_callback_that_cannot_be_read_is_kept_in_the_dead_letter_queue(stack: Stack) -> None:
    target = CallbackTarget(stack.webhook_url, "POST", frozenset())
    parameters = {"AccountSid": stack.account_sid, "RecordingStatus": "completed", "Marker": "kept"}
    signed = sign(Callback(target, stack.account_sid, parameters), auth_token=stack.auth_token)

    answer = requests.post(stack.webhook_local_url, data=signed.body, headers=signed.headers, timeout=30)

    assert answer.status_code == 202
    sqs = stack.client("sqs")
    queue = physical_id(stack, "CallbackDeadLetterQueue")
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages", []))
    assert ["Marker", "kept"] in json.loads(message["Body"])["fields"]


def test_an_event_that_keeps_failing_ends_in_the_dead_letter_queue(stack: Stack, call: Call) -> None:
    other = "AC" + "6" * 32
    stack.client("secretsmanager").create_secret(Name=f"twilio/{other}", SecretString="not JSON")

    event = json.loads((EVENTS / "start-eventbridge.json").read_text())
    event |= {"time": datetime.now(UTC).isoformat(), "detail": {"CallSid": call.sid, "AccountSid": other}}
    # As EventBridge does in AWS; MiniStack's own EventBridge invokes once and does not retry, and what happens after
    # the last try it only knows of the unpublished version.
    function = function_named(stack, "StartRecording")
    stack.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))

    sqs = stack.client("sqs")
    queue = physical_id(stack, "StartDeadLetterQueue")
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages", []))
    assert json.loads(message["Body"])["requestPayload"]["detail"]["CallSid"] == call.sid


def test_a_request_that_is_repeated_with_its_key_starts_one_recording(stack: Stack, call: Call) -> None:
    answers = [start(stack, call, {"Trim": "trim-silence"}, **{"Idempotency-Key": call.sid}) for _ in range(3)]
    other = start(stack, call, {"Trim": "do-not-trim"}, **{"Idempotency-Key": call.sid})

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["sid"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true", "true"]
    assert (other.status_code, other.json()["title"]) == (422, "The idempotency key was used for another request")
    asked = [r for r in stack.simulator.twilio.requests if r.method == "POST" and call.sid in r.path]
    assert len(asked) == 1


def test_a_recording_that_twilio_made_without_saying_so_is_adopted(stack: Stack, call: Call) -> None:
    with stack.simulator.locked() as twilio:
        twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    answer = start(stack, call)

    assert answer.status_code == 201
    assert [r.sid for r in stack.simulator.twilio.recordings.values() if r.call.sid == call.sid] == [
        answer.json()["sid"]
    ]


def test_a_subaccount_starts_and_calls_back_with_its_own_token(stack: Stack) -> None:
    account = Account(new_sid("AC"), "subaccount-token")
    stack.client("secretsmanager").create_secret(
        Name=f"twilio/{account.sid}", SecretString=json.dumps({"auth_token": account.auth_token})
    )
    with stack.simulator.locked() as twilio:
        twilio.add_account(account)
        call = twilio.begin_call(account.sid)

    assert start(stack, call, {"AccountSid": account.sid}).status_code == 201
    hang_up_after(stack, call)

    (row,) = eventually(lambda: finished(stack, call))
    assert (row["account_sid"], row["status"]) == (account.sid, "completed")


def test_the_reconciler_completes_a_row_whose_callbacks_never_came(stack: Stack, call: Call) -> None:
    start(stack, call, {"RecordingStatusCallback": "http://127.0.0.1:1/nobody-listens"})
    hang_up_after(stack, call)
    eventually(lambda: [r for r in stack.simulator.twilio.recordings.values() if r.call is call and r.duration])
    assert [row["status"] for row in rows(stack, call)] == ["in-progress"]

    answer = stack.client("lambda").invoke(FunctionName=function_named(stack, "ReconcileRecordings"), Payload="{}")

    summary = json.loads(answer["Payload"].read())
    assert (summary["is_finished"], summary["failed_accounts"]) == (True, 0)
    assert [row["status"] for row in rows(stack, call)] == ["completed"]


def test_a_dead_letter_comes_back_when_its_mapping_is_enabled(stack: Stack, call: Call) -> None:
    event = json.loads((EVENTS / "start-eventbridge.json").read_text())
    event |= {"id": call.sid, "time": datetime.now(UTC).isoformat(), "detail": {"CallSid": call.sid}}
    sqs, functions = stack.client("sqs"), stack.client("lambda")
    queue = physical_id(stack, "StartDeadLetterQueue")
    outputs = stack.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]["Outputs"]
    (mapping,) = [o["OutputValue"] for o in outputs if o["OutputKey"] == "StartRedriveMapping"]
    sqs.purge_queue(QueueUrl=queue)
    for _ in range(2):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"requestPayload": event}))
    time.sleep(2)
    assert rows(stack, call) == [], "nothing comes back by itself"

    functions.update_event_source_mapping(UUID=mapping, Enabled=True)

    assert eventually(lambda: rows(stack, call))
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    assert eventually(
        lambda: set(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)["Attributes"].values()) == {"0"}
    )
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    assert len([r for r in stack.simulator.twilio.recordings.values() if r.call.sid == call.sid]) == 1
