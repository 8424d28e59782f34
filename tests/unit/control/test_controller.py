"""What Twilio said to a pause is in the table before the answer, and somebody watches before Twilio is asked."""

import boto3
import pytest

from call_recording.bus import Bus
from call_recording.control.controller import Controller
from call_recording.control.request import PAUSED, ControlRequest
from call_recording.control.resume_timers import ResumeTimers
from call_recording.deadline import Deadline
from call_recording.errors import OutcomeUnknownError, TwilioNotFoundError
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Time, rows

TIMER_GROUP = "timers"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:control"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:function"
ROLE = "arn:aws:iam::123456789012:role/timer"


@pytest.fixture
def recording(twilio: TwilioServer, time: Time) -> Recording:
    return twilio.twilio.record(twilio.twilio.calls[CALL_SID])


@pytest.fixture
def controller(table: RecordingsTable, connection: Twilio) -> Controller:
    boto3.client("scheduler").create_schedule_group(Name=TIMER_GROUP)
    return Controller(
        accounts=Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID),
        recordings=table,
        twilio=connection,
        timers=ResumeTimers(boto3.client("scheduler"), TIMER_GROUP, "resume-", ROLE, QUEUE, FUNCTION),
        bus=Bus(boto3.client("events"), "default"),
    )


def timers() -> list[str]:
    return [each["Name"] for each in boto3.client("scheduler").list_schedules(GroupName=TIMER_GROUP)["Schedules"]]


def pause(controller: Controller, recording_sid: str) -> None:
    request = ControlRequest(ACCOUNT_SID, CALL_SID, recording_sid, PAUSED, resume_within_seconds=60)
    controller.control(request, deadline=Deadline(20))


def test_a_pause_is_in_the_table_with_the_timer_that_watches_it(controller: Controller, recording: Recording) -> None:
    pause(controller, recording.sid)

    (row,) = rows()
    assert (row["recording_sid"], row["status"]) == (recording.sid, PAUSED)
    assert timers() == [row["control"]["timer"]]


def test_the_timer_of_a_pause_that_was_refused_is_taken_back(controller: Controller, recording: Recording) -> None:
    with pytest.raises(TwilioNotFoundError):
        pause(controller, "RE" + "9" * 32)

    assert timers() == []


def test_the_timer_of_a_pause_that_may_have_been_made_stays(
    controller: Controller, recording: Recording, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests.extend([RequestFault(500, after_acting=True), RequestFault(404)])

    with pytest.raises(OutcomeUnknownError):
        pause(controller, recording.sid)

    assert len(timers()) == 1
