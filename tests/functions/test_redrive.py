"""Everything in a dead-letter queue comes back, is done once, and nothing of it is lost."""

import json
import re
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording.callbacks import facts as callbacks
from generators.sample_events import ACCOUNT_SID, RECORDING_SID
from local.api_gateway import http_api_event
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Bus, Context, Time, put_secret, rows
from tests.functions.test_recording_status import signed

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


def test_what_eventbridge_could_not_deliver_and_what_lambda_gave_up_on_are_both_met(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer
) -> None:
    event = sample("start-eventbridge.json")
    undelivered, given_up = event, {"requestPayload": event | {"id": "another"}, "responsePayload": {}}

    answer = start_recording.handler(batch(undelivered, given_up), Context())

    assert answer == {"batchItemFailures": []}
    assert len(twilio.twilio.recordings) == 2


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
