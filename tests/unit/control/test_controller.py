"""What a delivery does, and what it leaves for the next one."""

from collections import deque
from typing import Any

import boto3
import pytest

from call_recording import clock
from call_recording.bus import Bus
from call_recording.commands.intents import Intent
from call_recording.control.controller import Controller
from call_recording.control.request import CURRENT, ControlRequest
from call_recording.control.resume_timers import ResumeTimers
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    ControlledSinceError,
    OutcomeLostError,
    OutcomeUnknownError,
    RateLimitedError,
    RowsUnavailableError,
    TableUnavailableError,
    TwilioUnavailableError,
)
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio, session
from call_recording.twilio.credentials import CredentialStore
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, SECRET_PREFIX, TIMER_GROUP, Time

LOST = RequestFault("cut", after_acting=True)


@pytest.fixture
def controller(table: RecordingsTable, twilio: TwilioServer, time: Time) -> Controller:
    boto3.client("scheduler").create_schedule_group(Name=TIMER_GROUP)
    arn = "arn:aws:iam::123456789012:role/timer"
    return Controller(
        accounts=Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID),
        recordings=table,
        twilio=Twilio(session(twilio.url), twilio.url, CredentialStore(boto3.client("secretsmanager"), SECRET_PREFIX)),
        timers=ResumeTimers(boto3.client("scheduler"), TIMER_GROUP, "resume-", arn, arn, arn),
        bus=Bus(boto3.client("events"), "default"),
    )


@pytest.fixture
def recording(twilio: TwilioServer) -> Recording:
    with twilio.locked() as simulated:
        return simulated.record(simulated.calls[CALL_SID])


@pytest.fixture
def intent(time: Time) -> Intent:
    return Intent("http#k", clock.now())


def control(controller: Controller, intent: Intent, of: str, status: str = "paused", **more: Any) -> dict[str, Any]:
    request = ControlRequest(ACCOUNT_SID, CALL_SID, of, status, **more)
    return controller.control(request, intent=intent, deadline=Deadline(24))


def fail(twilio: TwilioServer, *faults: RequestFault) -> None:
    twilio.twilio.faults.requests = deque(faults)


def asked(twilio: TwilioServer) -> int:
    return sum(request.method == "POST" for request in twilio.twilio.requests)


def timers() -> int:
    return len(boto3.client("scheduler").list_schedules(GroupName=TIMER_GROUP)["Schedules"])


def row(controller: Controller, recording: Recording) -> dict[str, Any]:
    return controller.recordings.reader.get(recording.sid) or {}


def test_a_pause_is_in_the_table_with_the_timer_that_watches_it(
    controller: Controller, recording: Recording, intent: Intent
) -> None:
    control(controller, intent, recording.sid, resume_within_seconds=60)

    held = row(controller, recording)
    (timer,) = boto3.client("scheduler").list_schedules(GroupName=TIMER_GROUP)["Schedules"]
    assert (held["status"], held["control"]["timer"]) == ("paused", timer["Name"])


def test_the_row_names_the_request_by_nothing_that_can_be_read(
    controller: Controller, recording: Recording, intent: Intent
) -> None:
    control(controller, intent, recording.sid)

    assert len(row(controller, recording)["control"]["by"]) == 16
    assert "http" not in str(row(controller, recording)["control"])


@pytest.mark.parametrize(("fault", "error"), [(RequestFault(429), RateLimitedError), (None, CallNotInProgressError)])
def test_what_was_surely_not_done_leaves_nothing_open(
    controller: Controller,
    recording: Recording,
    intent: Intent,
    twilio: TwilioServer,
    fault: RequestFault | None,
    error: type[Exception],
) -> None:
    if fault:
        fail(twilio, *[fault] * 8)
    else:
        twilio.twilio.hang_up(CALL_SID)

    with pytest.raises(error):
        control(controller, intent, recording.sid, resume_within_seconds=60)

    assert (intent.may_exist, timers()) == (False, 0)


@pytest.mark.parametrize("is_current", [True, False])
def test_what_may_have_been_done_is_left_open_and_watched(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, *, is_current: bool
) -> None:
    fail(twilio, *[LOST] * 20)

    with pytest.raises(TwilioUnavailableError):
        control(controller, intent, CURRENT if is_current else recording.sid, resume_within_seconds=60)

    assert (intent.may_exist, timers()) == (True, 1)
    assert intent.known == ({} if is_current else {"before": None})


def test_what_twilio_answered_is_known_from_then_on(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", _unavailable)
        with pytest.raises(TableUnavailableError):
            control(controller, intent, CURRENT, resume_within_seconds=60)
    assert intent.may_exist
    next_one = Intent(intent.name, intent.asked_at)
    next_one.may_exist, next_one.known = True, intent.known

    answer = control(controller, next_one, CURRENT, resume_within_seconds=60)

    assert (answer["sid"], answer["status"]) == (recording.sid, "paused")
    assert (asked(twilio), timers(), len(row(controller, recording)["timers"])) == (1, 1, 1)


def _unavailable(_: RecordingsTable, facts: Any) -> None:
    raise TableUnavailableError(facts.recording_sid)


@pytest.fixture
def begun(intent: Intent) -> Intent:
    """The request as the next delivery gets it after its function was killed."""
    intent.may_exist = True
    return intent


def test_the_current_recording_is_not_asked_for_again(
    controller: Controller, recording: Recording, begun: Intent, twilio: TwilioServer
) -> None:
    with pytest.raises(OutcomeLostError):
        control(controller, begun, CURRENT, resume_within_seconds=60)

    assert (recording.status, asked(twilio), timers(), begun.may_exist) == ("in-progress", 0, 0, True)


def test_a_recording_that_nobody_controlled_is_asked_for_again(
    controller: Controller, recording: Recording, begun: Intent
) -> None:
    assert control(controller, begun, recording.sid)["status"] == "paused"


def test_a_recording_that_somebody_controlled_is_not_asked_for_again(
    controller: Controller, recording: Recording, begun: Intent, twilio: TwilioServer
) -> None:
    control(controller, Intent("http#other", clock.now()), recording.sid, "in-progress")

    with pytest.raises(ControlledSinceError):
        control(controller, begun, recording.sid, resume_within_seconds=60)

    assert (recording.status, asked(twilio), timers()) == ("in-progress", 1, 0)


def test_a_recording_whose_row_cannot_be_read_is_not_asked_for_again(
    controller: Controller, recording: Recording, begun: Intent, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordingsReader, "get", _unreadable)

    with pytest.raises(RowsUnavailableError):
        control(controller, begun, recording.sid)

    assert (asked(twilio), begun.may_exist) == (0, True)


def test_a_row_that_cannot_be_read_keeps_nobody_from_pausing(
    controller: Controller, recording: Recording, intent: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsReader, "all_of_call", _unreadable)
        control(controller, intent, CURRENT)

    assert recording.status == "paused"


def test_an_unknown_outcome_is_asked_for_again_only_with_a_look_at_the_row(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(twilio, LOST)
    get = RecordingsReader.get

    def until_asked(reader: RecordingsReader, sid: str) -> Any:
        return _unreadable() if twilio.twilio.requests else get(reader, sid)

    monkeypatch.setattr(RecordingsReader, "get", until_asked)

    with pytest.raises(OutcomeUnknownError):
        control(controller, intent, recording.sid)

    assert (asked(twilio), intent.may_exist) == (1, True)


def _unreadable(*_: Any, **__: Any) -> Any:
    raise RowsUnavailableError


def test_what_was_done_is_answered_as_the_row_has_it(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer
) -> None:
    control(controller, intent, CURRENT)
    intent.known = {}

    answer = control(controller, intent, CURRENT)

    assert (answer["sid"], answer["status"], asked(twilio)) == (recording.sid, "paused", 1)


def test_timers_are_named_in_the_order_of_their_times(controller: Controller, time: Time) -> None:
    names = []
    for _ in range(5):
        names.append(controller.timers.new_name())
        time.turn(0.002)

    assert names == sorted(names)
    assert len({len(name) for name in names}) == 1
