"""A start is answered once its row is written, and what an earlier attempt may have made is looked for first."""

from typing import Any

import boto3
import pytest

from call_recording import clock
from call_recording.commands.intents import Intent
from call_recording.deadline import Deadline
from call_recording.errors import TwilioNotFoundError
from call_recording.recordings.facts import BY_HTTP
from call_recording.recordings.table import RecordingsTable
from call_recording.start.request import StartRequest
from call_recording.start.starter import Starter
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio
from generators.sample_events import ACCOUNT_SID, CALL_SID, WEBHOOK_URL
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Time, rows


@pytest.fixture
def starter(table: RecordingsTable, connection: Twilio) -> Starter:
    return Starter(
        accounts=Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID),
        recordings=table,
        twilio=connection,
        webhook_url=WEBHOOK_URL,
    )


@pytest.fixture
def intent(time: Time) -> Intent:
    return Intent("http#key-1", clock.now())


def start(starter: Starter, intent: Intent, *, call_sid: str = CALL_SID) -> dict[str, Any]:
    request = StartRequest(ACCOUNT_SID, call_sid)
    return starter.start(request, intent=intent, requested_by=BY_HTTP, deadline=Deadline(20))


def test_a_recording_that_was_started_has_a_row_with_its_intent(starter: Starter, intent: Intent) -> None:
    recording = start(starter, intent)

    (row,) = rows()
    assert (row["recording_sid"], row["status"], row["intent"]) == (recording["sid"], "in-progress", "http#key-1")


def test_what_twilio_made_without_saying_so_is_taken_and_not_made_again(
    starter: Starter, intent: Intent, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    recording = start(starter, intent)

    assert [recording["sid"]] == list(twilio.twilio.recordings)
    assert [row["intent"] for row in rows()] == ["http#key-1"]


def test_a_refusal_leaves_nothing_open_for_the_next_delivery(starter: Starter, intent: Intent) -> None:
    with pytest.raises(TwilioNotFoundError):
        start(starter, intent, call_sid="CA" + "9" * 32)

    assert not intent.may_exist
    assert rows() == []
