"""What a delivery does, and what it leaves for the next one."""

import json
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from call_recording import clock
from call_recording.bus import STILL_PAUSED, Bus
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import Pauses
from call_recording.control import controller as controlling
from call_recording.control.controller import Controller
from call_recording.control.request import CURRENT, ControlRequest
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    ControlledSinceError,
    ForeignAccountError,
    NothingRecordsError,
    OutcomeLostError,
    OutcomeUnknownError,
    RateLimitedError,
    RequestTooOldError,
    RowsUnavailableError,
    TableUnavailableError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
)
from call_recording.recordings import watches
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, TwilioAccount, session
from call_recording.twilio.credentials import CredentialStore
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, SECRET_PREFIX, TIMER_GROUP, Time
from tests.conftest import Bus as EventBridge

OTHER_ACCOUNT = "AC" + "f" * 32
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
        pauses=Pauses(boto3.client("dynamodb"), IDEMPOTENCY_TABLE),
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


# --- what the row and the next delivery learn -------------------------------------------------------------


def test_a_request_without_a_name_or_a_watch_leaves_neither(
    controller: Controller, recording: Recording, time: Time
) -> None:
    control(controller, Intent("", clock.now()), recording.sid)

    held = row(controller, recording)
    assert (held["control"]["by"], held["control"]["timer"], held.get("timers", {})) == ("", "", {})


def test_while_twilio_is_asked_the_next_delivery_would_know_that_it_may_have_acted(
    controller: Controller, recording: Recording, intent: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, noted = TwilioAccount.update_call_recording, list[bool]()

    def note_and_update(self: TwilioAccount, *args: Any, **named: Any) -> Any:
        noted.append(intent.may_exist)
        return update(self, *args, **named)

    monkeypatch.setattr(TwilioAccount, "update_call_recording", note_and_update)

    control(controller, intent, recording.sid)

    assert (noted, intent.may_exist) == ([True], True)


def test_a_row_that_is_written_later_says_what_it_would_have_said_at_once(
    controller: Controller,
    recording: Recording,
    intent: Intent,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twilio.twilio.repeats = "dated"
    control(controller, Intent("http#first", clock.now()), recording.sid, resume_within_seconds=60)
    (earlier,) = row(controller, recording)["timers"]
    time.turn(5)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsTable, "record", _unavailable)
        with pytest.raises(TableUnavailableError):
            control(controller, intent, recording.sid, resume_within_seconds=600)
    answered_at = clock.iso_milliseconds(clock.now())
    time.turn(60)

    control(controller, intent, recording.sid, resume_within_seconds=600)

    held = row(controller, recording)
    seconds = f"{answered_at[:19]}Z"
    assert (held["control"]["seen_at"], held["control"]["changed_at"]) == (answered_at, seconds)
    assert held["pauses_ended_at"] == seconds
    assert held["timers"] == {earlier: f"ended {seconds}", held["control"]["timer"]: seconds}


def test_a_row_that_is_written_later_says_when_twilio_answered_and_where_its_audio_is(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, time: Time
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingsTable, "record", _unavailable)
        with pytest.raises(TableUnavailableError):
            control(controller, intent, recording.sid, "stopped")
    answered_at = clock.iso_milliseconds(clock.now())
    time.turn(60)

    control(controller, intent, recording.sid, "stopped")

    held = row(controller, recording)
    assert held["status_at"] == {"stopped": answered_at}
    assert held["recording_url"] == f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{recording.sid}"


@pytest.mark.parametrize("is_repeated", ["by us", "by an earlier delivery", "not"])
def test_what_was_asked_for_more_than_once_may_yet_be_done(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, is_repeated: str
) -> None:
    """Twilio may act on the first attempt late: until then a resume may come before it."""
    intent.may_exist = is_repeated == "by an earlier delivery"
    fail(twilio, *[LOST] * (is_repeated == "by us"))

    control(controller, intent, recording.sid, resume_within_seconds=60)

    (held,) = [row(controller, recording)]
    at = datetime.fromisoformat(held["control"]["changed_at"])
    late = timedelta() if is_repeated == "not" else watches.ACTS_LATE
    assert held["timers"] == {held["control"]["timer"]: clock.iso_seconds(at + late)}


def test_the_timer_of_a_pause_that_was_not_made_is_missed_only_where_it_could_not_be_taken_back(
    controller: Controller,
    recording: Recording,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(controlling.logger, "warning", lambda _, *, timer: warned.append(timer))
    twilio.twilio.hang_up(CALL_SID)

    with pytest.raises(CallNotInProgressError):
        control(controller, Intent("http#1", clock.now()), recording.sid, resume_within_seconds=60)
    with pytest.raises(CallNotInProgressError):
        control(controller, Intent("http#2", clock.now()), recording.sid)
    assert (warned, timers()) == ([], 0)

    monkeypatch.setattr(ResumeTimers, "cancel", lambda *_: False)
    with pytest.raises(CallNotInProgressError):
        control(controller, Intent("http#3", clock.now()), recording.sid, resume_within_seconds=60)
    (left,) = boto3.client("scheduler").list_schedules(GroupName=TIMER_GROUP)["Schedules"]
    assert warned == [left["Name"]]


def test_that_nothing_records_says_what_twilio_said_of_it(
    controller: Controller, recording: Recording, intent: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    control(controller, Intent("http#stop", clock.now()), recording.sid, "stopped")
    refusal = TwilioNotFoundError(http_status=404, code=20404, message="no", more_info="https://twilio/20404")
    monkeypatch.setattr(TwilioAccount, "update_call_recording", _raising(refusal))

    with pytest.raises(NothingRecordsError) as caught:
        control(controller, intent, CURRENT)

    told = caught.value
    assert (told.http_status, told.code, told.more_info) == (404, 20404, "https://twilio/20404")
    assert (told.message, told.__cause__) == ("the call has no recording that runs or is paused", refusal)
    assert not intent.may_exist


def _raising(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


# --- whether Twilio is asked again ------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "is_asked"), [(-66, True), (-65, False), (0, False)])
def test_what_was_controlled_so_long_before_the_first_attempt_was_there_by_every_clock(
    controller: Controller, recording: Recording, begun: Intent, time: Time, seconds: int, *, is_asked: bool
) -> None:
    control(controller, Intent("http#other", clock.now()), recording.sid, "in-progress")
    begun.asked_at = clock.now() - timedelta(seconds=seconds)
    time.turn(100)

    if is_asked:
        assert control(controller, begun, recording.sid)["status"] == "paused"
    else:
        with pytest.raises(ControlledSinceError) as caught:
            control(controller, begun, recording.sid)
        assert caught.value.recording_sid == recording.sid


def test_a_recording_is_asked_for_again_while_its_row_says_what_it_said_before(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, time: Time
) -> None:
    control(controller, Intent("http#other", clock.now()), recording.sid, "in-progress")
    fail(twilio, *[RequestFault("cut")] * 20)
    with pytest.raises(TwilioUnavailableError):
        control(controller, intent, recording.sid)
    fail(twilio)
    assert intent.known == {"before": row(controller, recording)["control"]}

    again, known = Intent(intent.name, intent.asked_at), dict(intent.known)
    again.may_exist, again.known = True, dict(known)
    assert control(controller, again, recording.sid)["status"] == "paused"

    time.turn(1)
    again.known, again.name = known, "http#as if nobody had answered"
    with pytest.raises(ControlledSinceError):
        control(controller, again, recording.sid)


def test_a_row_without_any_control_says_nothing_of_an_earlier_delivery(
    controller: Controller, recording: Recording, begun: Intent, twilio: TwilioServer
) -> None:
    told = RecordingResource(recording.resource(status="in-progress"), api_url=twilio.url)
    controller.recordings.record(Facts.from_recording(told))

    assert control(controller, begun, recording.sid)["status"] == "paused"


@pytest.mark.parametrize("is_begun", [True, False])
def test_what_another_accounts_row_says_of_the_recording_does_not_count(
    controller: Controller, recording: Recording, intent: Intent, twilio: TwilioServer, *, is_begun: bool
) -> None:
    told = RecordingResource(recording.resource(status="paused"), api_url=twilio.url) | {"account_sid": OTHER_ACCOUNT}
    facts = Facts.from_updated(RecordingResource(told, api_url=twilio.url))
    controller.recordings.record(facts)
    intent.may_exist = is_begun

    with pytest.raises(ForeignAccountError):
        control(controller, intent, recording.sid)

    assert (asked(twilio), recording.status) == (1, "paused")
    assert intent.known.get("before") is None


@pytest.mark.parametrize("resume_within_seconds", [None, 60])
@pytest.mark.parametrize("is_begun", [True, False])
def test_a_request_that_is_too_old_is_refused_or_its_outcome_lost_and_nobody_is_asked(
    controller: Controller,
    recording: Recording,
    intent: Intent,
    twilio: TwilioServer,
    resume_within_seconds: int | None,
    *,
    is_begun: bool,
) -> None:
    intent.may_exist = is_begun
    request = ControlRequest(
        ACCOUNT_SID, CALL_SID, recording.sid, "paused", resume_within_seconds=resume_within_seconds
    )
    sent_at = clock.now() - timedelta(minutes=5, seconds=1)

    with pytest.raises(OutcomeLostError if is_begun else RequestTooOldError):
        controller.control(request, intent=intent, deadline=Deadline(24), sent_at=sent_at)

    assert (asked(twilio), timers(), intent.may_exist) == (0, 0, is_begun)


def test_what_is_refused_for_good_after_an_earlier_delivery_may_have_been_done_by_that(
    controller: Controller, recording: Recording, begun: Intent, twilio: TwilioServer
) -> None:
    twilio.twilio.hang_up(CALL_SID)

    with pytest.raises(OutcomeLostError) as caught:
        control(controller, begun, recording.sid, resume_within_seconds=60)

    assert isinstance(caught.value.__cause__, CallNotInProgressError)
    assert (begun.may_exist, timers()) == (True, 0)


# --- in the time there is ----------------------------------------------------------------------------------


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Deadline]:
    """The deadline of the last request of each kind to Twilio, by the method that sent it."""
    given: dict[str, Deadline] = {}

    def noting(name: str, send: Any) -> Any:
        def note_and_send(self: TwilioAccount, *args: Any, deadline: Deadline) -> Any:
            given[name] = deadline
            return send(self, *args, deadline=deadline)

        return note_and_send

    for name in ("update_call_recording", "list_call_recordings", "fetch_recording"):
        monkeypatch.setattr(TwilioAccount, name, noting(name, getattr(TwilioAccount, name)))
    return given


@pytest.mark.parametrize("how_many", [0, 2])
def test_everything_that_twilio_is_asked_about_the_current_recording_ends_with_the_time_there_is(
    controller: Controller, twilio: TwilioServer, intent: Intent, deadlines: dict[str, Deadline], how_many: int
) -> None:
    with twilio.locked() as simulated:
        active = [simulated.record(simulated.calls[CALL_SID]).sid for _ in range(how_many)]
    deadline = Deadline(24)

    with pytest.raises(TwilioRefusedError) as caught:
        controller.control(ControlRequest(ACCOUNT_SID, CALL_SID, CURRENT, "paused"), intent=intent, deadline=deadline)

    assert list(getattr(caught.value, "active_recording_sids", ())) == active
    assert {name: given is deadline for name, given in deadlines.items()} == {
        "update_call_recording": True,
        "list_call_recordings": True,
    }


def test_what_an_earlier_delivery_did_is_looked_up_in_the_time_there_is(
    controller: Controller, recording: Recording, intent: Intent, deadlines: dict[str, Deadline]
) -> None:
    control(controller, intent, recording.sid)
    intent.known, deadline = {}, Deadline(24)
    request = ControlRequest(ACCOUNT_SID, CALL_SID, recording.sid, "paused")

    controller.control(request, intent=intent, deadline=deadline)

    assert deadlines["fetch_recording"] is deadline


def test_a_timer_is_looked_after_in_the_time_there_is(
    controller: Controller, recording: Recording, intent: Intent, time: Time, deadlines: dict[str, Deadline]
) -> None:
    told = EventBridge()
    control(controller, intent, recording.sid, resume_within_seconds=60, auto_resume=True)
    scheduler = boto3.client("scheduler")
    (name,) = [schedule["Name"] for schedule in scheduler.list_schedules(GroupName=TIMER_GROUP)["Schedules"]]
    event = json.loads(scheduler.get_schedule(GroupName=TIMER_GROUP, Name=name)["Target"]["Input"])
    timer = ResumeTimer.of_event(event)
    assert timer
    time.turn(60)
    deadlines.clear()
    deadline = Deadline(24)

    assert controller.on_timer(timer, deadline=deadline)

    assert [(one["timer"], one["resumed"]) for one in told.events(STILL_PAUSED)] == [(name, True)]
    assert (recording.status, row(controller, recording)["status"]) == ("in-progress", "in-progress")
    assert {name: given is deadline for name, given in deadlines.items()} == {
        "fetch_recording": True,
        "update_call_recording": True,
    }


@pytest.mark.parametrize(("seconds", "is_enough"), [(5, False), (4.9, True)])
def test_rows_of_a_call_are_read_until_there_is_only_the_time_to_ask(
    controller: Controller,
    recording: Recording,
    begun: Intent,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    *,
    is_enough: bool,
) -> None:
    """Others can have written as many under the same call as they like."""
    said: list[tuple[str, str, bool]] = []

    def all_of_call(_: Any, call_sid: str, *, account_sid: str, is_enough: Any) -> list[Any]:
        said.append((call_sid, account_sid, is_enough()))
        return []

    monkeypatch.setattr(RecordingsReader, "all_of_call", all_of_call)
    request = ControlRequest(ACCOUNT_SID, CALL_SID, CURRENT, "paused")

    with pytest.raises(OutcomeLostError):
        controller.control(request, intent=begun, deadline=Deadline(seconds))
    begun.may_exist = False
    controller.control(request, intent=begun, deadline=Deadline(24))

    # Before Twilio is asked for the first time one page must do.
    assert said == [(CALL_SID, ACCOUNT_SID, is_enough), (CALL_SID, ACCOUNT_SID, True)]
