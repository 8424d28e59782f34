"""No watched pause is forgotten, and nobody else's pause is resumed: whoever else controls the recording meanwhile."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from call_recording import clients, clock
from call_recording.bus import STILL_PAUSED
from call_recording.errors import TableUnavailableError
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import attributes
from call_recording.recordings.table import RecordingsTable
from call_recording.recordings.watches import MOST_TIMERS
from call_recording.twilio.api import RecordingResource, TwilioAccount
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Repeats
from tests.conftest import TABLE, Bus, Context, Time, begin_recording, rows, timers

Api = Callable[..., dict[str, Any]]
Do = Callable[..., dict[str, Any]]
Fire = Callable[..., list[dict[str, Any]]]

CURRENT = "Twilio.CURRENT"
OTHER_ACCOUNT = "AC" + "f" * 32
WATCHED = {"Status": "paused", "ResumeWithinSeconds": 60}
AUTO = WATCHED | {"AutoResume": True}
PAUSED, RESUMED, STOPPED = ({"Status": status} for status in ("paused", "in-progress", "stopped"))
LOST = RequestFault("cut", after_acting=True)


@pytest.fixture
def recording(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    """A running recording with its row."""
    return begin_recording(twilio, table)


@pytest.fixture
def do(api: Api, recording: Recording, time: Time) -> Do:
    """Ask for something by HTTP, a moment later, of the running recording if no other is named."""

    def send(body: dict[str, Any], of: str | None = None) -> dict[str, Any]:
        time.turn(0.002)
        return api("control-rest-api.json", body, path={"CallSid": CALL_SID, "RecordingSid": of or recording.sid})

    return send


def handed_over() -> list[dict[str, Any]]:
    """Return what each timer hands over, the first one first."""
    return [json.loads(timer["Target"]["Input"]) for timer in timers()]


@pytest.fixture
def fire(recordings_api: ModuleType, bus: Bus) -> Fire:
    """Do what EventBridge Scheduler does when a timer, by default the first, is due; return what is told then."""

    def invoke(number: int = 0) -> list[dict[str, Any]]:
        recordings_api.handler(handed_over()[number], Context())
        return bus.events(STILL_PAUSED)

    return invoke


@contextmanager
def without_rows() -> Iterator[None]:
    """Let no row be written."""

    def refuse(_: RecordingsTable, facts: Facts, **_how: bool) -> None:
        raise TableUnavailableError(facts.recording_sid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingsTable, "record", refuse)
        yield


@contextmanager
def before_the_row(happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen between Twilio's answer to the next request and its row."""
    record, left = RecordingsTable.record, [happens]

    def later(table: RecordingsTable, facts: Facts, **how: bool) -> None:
        if left:
            left.pop()()
        record(table, facts, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingsTable, "record", later)
        yield


@contextmanager
def before_the_answer(happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen while Twilio's answer to the next request is on its way."""
    update, left = TwilioAccount.update_call_recording, [happens]

    def slowly(twilio: TwilioAccount, *args: Any, **named: Any) -> RecordingResource:
        happen = left.pop() if left else None
        answer = update(twilio, *args, **named)
        if happen:
            happen()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwilioAccount, "update_call_recording", slowly)
        yield


@contextmanager
def clock_ahead(seconds: float) -> Iterator[None]:
    """Give the function another clock."""
    now = clock.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: now() + timedelta(seconds=seconds))
        yield


def changes(twilio: TwilioServer) -> list[str]:
    """Return the statuses that Twilio was asked for."""
    return [request.form()["Status"][0] for request in twilio.twilio.requests if request.method == "POST"]


# --- never forgotten ----------------------------------------------------------------------------------


def test_a_watched_pause_of_a_row_that_somebody_edited_is_told(
    do: Do, fire: Fire, recording: Recording, table: RecordingsTable
) -> None:
    assert do(WATCHED)["statusCode"] == 200
    edited = table.reader.one(recording.sid) | {"reference": {b"\xff"}}
    table.client.put_item(TableName=TABLE, Item=attributes(edited))

    (event,) = fire()

    assert (event["recording_sid"], event["reference"]) == (recording.sid, ["/w=="])


def test_a_pause_without_a_row_is_told_although_somebody_paused_again_without_a_watch(
    do: Do, fire: Fire, recording: Recording, time: Time
) -> None:
    with without_rows():
        assert do(WATCHED)["statusCode"] == 503
    time.turn(1)
    assert do(PAUSED)["statusCode"] == 200

    (told,) = fire()

    assert (told["status"], told["recording_sid"]) == ("unknown", recording.sid)


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_pause_is_told_although_another_one_came_between_its_answer_and_its_row(
    do: Do, fire: Fire, time: Time, seconds: int
) -> None:
    def pause_again() -> None:
        time.turn(seconds)
        assert do(PAUSED)["statusCode"] == 200

    with before_the_row(pause_again):
        assert do(AUTO)["statusCode"] == 200

    (told,) = fire()
    assert (told["status"], told["resumed"]) == ("paused", False)


def test_an_unknown_pause_of_the_current_recording_is_not_ended_by_another_recording(
    do: Do, fire: Fire, twilio: TwilioServer, table: RecordingsTable, time: Time
) -> None:
    twilio.twilio.faults.requests.append(LOST)
    assert do(WATCHED, CURRENT)["statusCode"] == 502
    other = begin_recording(twilio, table)
    for body in (PAUSED, RESUMED):
        time.turn(100)
        assert do(body, other.sid)["statusCode"] == 200

    (told,) = fire()

    assert (told["status"], told["recording_sid"]) == ("unknown", CURRENT)


def test_an_unknown_pause_of_the_current_recording_is_told_where_that_has_no_row(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    assert do(STOPPED)["statusCode"] == 200
    with twilio.locked() as simulated:
        simulated.record(simulated.calls[CALL_SID], source="DialVerb")
    twilio.twilio.faults.requests.append(LOST)
    assert do(WATCHED, CURRENT)["statusCode"] == 502
    time.turn(60)

    assert [told["status"] for told in fire()] == ["unknown"]


def test_an_unknown_pause_of_the_current_recording_ends_with_what_could_be_meant(
    do: Do, fire: Fire, twilio: TwilioServer, time: Time
) -> None:
    twilio.twilio.faults.requests.append(LOST)
    assert do(WATCHED | {"ResumeWithinSeconds": 120}, CURRENT)["statusCode"] == 502
    time.turn(110)
    assert do(RESUMED, CURRENT)["statusCode"] == 200

    assert fire() == []


@pytest.mark.parametrize("is_watched", [True, False])
def test_what_other_accounts_have_under_the_same_call_hides_nothing(
    do: Do, fire: Fire, twilio: TwilioServer, table: RecordingsTable, *, is_watched: bool
) -> None:
    large: Any = {"metadata": {"M": {"New": {"S": "x" * 350_000}}}, "start_time": {"S": "2099-01-01T00:00:00Z"}}
    for number in range(4):
        foreign = {"recording_sid": f"RE{number:032x}", "account_sid": OTHER_ACCOUNT, "call_sid": CALL_SID}
        row = {name: {"S": value} for name, value in (foreign | {"status": "completed"}).items()}
        table.client.put_item(TableName=TABLE, Item=row | large)
    if is_watched:
        assert do(WATCHED, CURRENT)["statusCode"] == 200
        twilio.twilio.faults.requests.append(RequestFault(500))  # what Twilio lists is not needed
    else:
        twilio.twilio.faults.requests.append(LOST)
        assert do(WATCHED, CURRENT)["statusCode"] == 502

    assert [told["status"] for told in fire()] == ["paused" if is_watched else "unknown"]


def test_what_another_account_says_of_the_recording_itself_does_not_count(do: Do, fire: Fire, bus: Bus) -> None:
    def claim() -> None:
        ((key, row),) = ((row["recording_sid"], row) for row in rows())
        boto3.client("dynamodb").update_item(
            TableName=TABLE,
            Key={"recording_sid": {"S": key}},
            UpdateExpression="SET account_sid = :other, #status = :over",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":other": {"S": OTHER_ACCOUNT}, ":over": {"S": "completed"}},
        )
        assert row["account_sid"] == ACCOUNT_SID

    with before_the_row(claim):
        assert do(WATCHED)["statusCode"] == 403

    assert [told["status"] for told in fire()] == ["unknown"]


def test_a_resume_of_the_same_second_whose_answer_is_slower_does_not_end_a_pause(
    do: Do, fire: Fire, time: Time, recording: Recording
) -> None:
    def pause() -> None:
        time.turn(0.1)
        assert do(WATCHED)["statusCode"] == 200
        time.turn(0.1)

    with before_the_answer(pause):
        assert do(RESUMED)["statusCode"] == 200
    assert (recording.status, rows()[0]["status"]) == ("paused", "in-progress")

    assert [told["status"] for told in fire()] == ["unknown"]


@pytest.mark.parametrize("of", [None, CURRENT])
@pytest.mark.parametrize("end", [RESUMED, STOPPED, WATCHED | {"ResumeWithinSeconds": 600}], ids=lambda e: e["Status"])
def test_what_ends_a_pause_in_the_same_second_ends_it(do: Do, fire: Fire, end: dict[str, Any], of: str | None) -> None:
    for body in (RESUMED, WATCHED, end):
        assert do(body, of)["statusCode"] == 200

    assert fire() == []


@pytest.mark.parametrize("seconds", [-60, -30, 30, 60])
def test_no_clock_decides_what_came_first_within_a_second(do: Do, fire: Fire, time: Time, seconds: int) -> None:
    with clock_ahead(seconds):
        assert do(WATCHED)["statusCode"] == 200
    assert do(RESUMED)["statusCode"] == 200
    assert rows()[0]["status"] == "in-progress"
    with clock_ahead(seconds):
        assert do(WATCHED)["statusCode"] == 200
    assert rows()[0]["status"] == "paused"
    time.turn(60)

    assert fire(0) == []
    assert [told["status"] for told in fire(1)] == ["paused"]


@pytest.mark.parametrize("seconds", [-60, -30, 0, 30, 60])
def test_a_resume_by_another_clock_does_not_end_a_pause_that_came_later(
    do: Do, fire: Fire, twilio: TwilioServer, time: Time, seconds: int
) -> None:
    with clock_ahead(seconds):
        assert do(RESUMED)["statusCode"] == 200
    time.turn(1)
    twilio.twilio.faults.requests.extend([LOST] * 20)
    with clock_ahead(-seconds):
        assert do(WATCHED)["statusCode"] in {502, 504}
    twilio.twilio.faults.requests.clear()
    time.turn(60)

    assert [told["status"] for told in fire()] == ["unknown"]


def test_what_twilio_does_late_is_watched_too(do: Do, fire: Fire, twilio: TwilioServer, time: Time) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", acts_after_seconds=4))
    assert do(WATCHED)["statusCode"] == 200
    time.turn(2)
    assert do(RESUMED)["statusCode"] == 200
    time.turn(3)
    with twilio.locked() as simulated:
        simulated.due_callbacks()
    time.turn(60)

    assert [told["status"] for told in fire()] == ["unknown"]


def test_a_pause_that_had_to_be_asked_for_twice_and_was_resumed_is_not_told(
    do: Do, fire: Fire, twilio: TwilioServer, time: Time
) -> None:
    twilio.twilio.faults.requests.append(LOST)
    assert do(WATCHED)["statusCode"] == 200
    time.turn(20)
    assert do(RESUMED)["statusCode"] == 200
    time.turn(40)

    assert fire() == []


def test_of_many_watched_pauses_the_last_one_is_told_and_the_row_stays_small(do: Do, fire: Fire, time: Time) -> None:
    for _ in range(MOST_TIMERS + 5):
        time.turn(1)
        assert do(WATCHED | {"ResumeWithinSeconds": 600})["statusCode"] == 200

    assert len(rows()[0]["timers"]) == MOST_TIMERS
    time.turn(600)
    assert fire(MOST_TIMERS) == []
    assert [told["status"] for told in fire(MOST_TIMERS + 4)] == ["paused"]


@pytest.mark.parametrize("end", [RESUMED, STOPPED], ids=["resumed", "stopped"])
def test_a_pause_that_could_not_be_told_at_once_is_told_although_somebody_ended_it_since(
    do: Do, fire: Fire, time: Time, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any]
) -> None:
    assert do(WATCHED)["statusCode"] == 200
    time.turn(60)
    with monkeypatch.context() as patch:
        patch.setattr(clients.events(), "put_events", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fire()
    time.turn(10)
    assert do(end)["statusCode"] == 200
    time.turn(50)

    assert [(told["status"], told["resumed"]) for told in fire()] == [("unknown", False)]


@pytest.mark.parametrize(("seconds", "times"), [(59, 0), (61, 0), (200, 1)])
def test_a_timer_that_comes_very_late_tells_what_had_not_ended_in_time(
    do: Do, fire: Fire, time: Time, seconds: int, times: int
) -> None:
    assert do(WATCHED)["statusCode"] == 200
    time.turn(seconds)
    assert do(RESUMED)["statusCode"] == 200
    for body in (PAUSED, RESUMED):
        time.turn(3600)
        assert do(body)["statusCode"] == 200

    assert len(fire()) == times


# --- nobody else's pause is resumed -----------------------------------------------------------------------


def test_a_pause_by_somebody_else_is_not_resumed_by_an_earlier_timer(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    assert do(AUTO)["statusCode"] == 200
    time.turn(10)
    with without_rows():
        assert do(RESUMED)["statusCode"] == 503
    time.turn(10)
    assert do(PAUSED)["statusCode"] == 200
    time.turn(40)

    (told,) = fire()

    assert (told["status"], told["resumed"], recording.status) == ("paused", False, "paused")
    assert changes(twilio) == ["paused", "in-progress", "paused"]


def test_an_unwatched_pause_over_a_watched_one_is_told_and_not_resumed(
    do: Do, fire: Fire, recording: Recording, time: Time
) -> None:
    assert do(AUTO)["statusCode"] == 200
    assert do(PAUSED)["statusCode"] == 200
    time.turn(60)

    (told,) = fire()

    assert (told["status"], told["resumed"], recording.status) == ("paused", False, "paused")


@pytest.mark.parametrize(("ofs", "repeats"), [([None, "ALL"], "refused"), (["ALL", None], "ignored")])
def test_what_is_paused_with_everything_else_is_not_resumed(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time, ofs: list[str | None], repeats: Repeats
) -> None:
    twilio.twilio.repeats = repeats
    for of in ofs:
        assert do(PAUSED if of else AUTO, of)["statusCode"] == 200
        time.turn(20)
    time.turn(40)

    (told,) = fire()

    assert (told["resumed"], told["reason"], recording.status) == (False, "controlled-since", "paused")


def test_a_pause_of_everything_that_has_ended_keeps_nothing_paused(
    do: Do, fire: Fire, recording: Recording, time: Time
) -> None:
    for body, of in [(PAUSED, "ALL"), (RESUMED, "ALL"), (AUTO, None)]:
        assert do(body, of)["statusCode"] == 200
        time.turn(20)
    time.turn(40)

    (told,) = fire()

    assert (told["resumed"], recording.status) == (True, "in-progress")


@pytest.mark.parametrize("later", [PAUSED, AUTO | {"ResumeWithinSeconds": 600}], ids=["unwatched", "watched"])
def test_a_pause_that_only_twilio_knows_of_is_not_resumed(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time, later: dict[str, Any]
) -> None:
    twilio.twilio.repeats = "dated"  # otherwise nothing tells that there was a second pause
    assert do(AUTO)["statusCode"] == 200
    time.turn(10)
    with without_rows():
        assert do(later)["statusCode"] == 503
    time.turn(50)

    (told,) = fire()

    assert (told["resumed"], told["reason"], recording.status) == (False, "controlled-since", "paused")


def test_a_pause_of_the_same_second_that_may_have_come_later_is_not_resumed(
    do: Do, fire: Fire, recording: Recording, time: Time
) -> None:
    def pause_again() -> None:
        with clock_ahead(-5):
            assert do(PAUSED)["statusCode"] == 200

    with before_the_answer(pause_again):
        assert do(AUTO)["statusCode"] == 200
    time.turn(60)

    (told,) = fire()
    assert (told["status"], told["resumed"], recording.status) == ("paused", False, "paused")


def test_a_pause_that_comes_while_the_resume_waits_is_not_undone(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert do(AUTO)["statusCode"] == 200
    time.turn(60)
    twilio.twilio.faults.requests.extend([None, RequestFault(429, retry_after=5)])
    waits = clock.sleep

    def pause_meanwhile(seconds: float) -> None:
        waits(seconds)
        assert do(PAUSED)["statusCode"] == 200

    monkeypatch.setattr(clock, "sleep", pause_meanwhile)

    (told,) = fire()

    assert (told["resumed"], told["reason"], recording.status) == (False, "controlled-since", "paused")


def test_its_own_pause_is_resumed_after_earlier_controls_of_the_same_second(
    do: Do, fire: Fire, recording: Recording
) -> None:
    for body in (WATCHED, RESUMED, PAUSED, AUTO):
        assert do(body)["statusCode"] == 200

    assert [told["resumed"] for told in fire(1)] == [True]
    assert recording.status == "in-progress"


def test_that_it_was_resumed_is_told_although_the_row_could_not_be_written(
    do: Do, fire: Fire, recording: Recording, time: Time
) -> None:
    assert do(AUTO)["statusCode"] == 200
    time.turn(60)

    with without_rows():
        (told,) = fire()

    assert (told["status"], told["resumed"], "reason" in told) == ("paused", True, False)
    assert recording.status == "in-progress"


def test_a_resume_whose_answer_was_lost_is_asked_for_again(
    do: Do, fire: Fire, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    assert do(AUTO)["statusCode"] == 200
    time.turn(60)
    twilio.twilio.faults.requests.extend([None, LOST])

    assert [told["resumed"] for told in fire()] == [True]
    assert (recording.status, rows()[0]["status"]) == ("in-progress", "in-progress")


# --- timers -------------------------------------------------------------------------------------------------


def test_a_timer_is_never_set_in_the_past(do: Do, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    create = clients.scheduler().create_schedule
    set_for: list[str] = []

    def slowly(**named: Any) -> Any:
        time.turn(8)
        set_for.append(named["ScheduleExpression"])
        assert f"at({clock.now():%Y-%m-%dT%H:%M:%S})" < set_for[-1]
        return create(**named)

    monkeypatch.setattr(clients.scheduler(), "create_schedule", slowly)

    assert do(WATCHED | {"ResumeWithinSeconds": 1})["statusCode"] == 200
    assert len(set_for) == 1


def test_a_timer_that_was_set_too_late_is_taken_back_and_nothing_is_paused(
    do: Do, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = clients.scheduler().create_schedule

    def slowly(**named: Any) -> Any:
        answer = create(**named)
        time.turn(11)
        return answer

    monkeypatch.setattr(clients.scheduler(), "create_schedule", slowly)

    assert do(WATCHED | {"ResumeWithinSeconds": 1})["json"]["type"] == "urn:problem:call-recording:timer-not-set"
    assert (handed_over(), changes(twilio)) == ([], [])


def test_a_timer_that_may_have_been_set_is_taken_back_and_nothing_is_paused(
    do: Do, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = clients.scheduler().create_schedule

    def lose(**named: Any) -> None:
        create(**named)
        raise ReadTimeoutError(endpoint_url="https://scheduler.example.com")

    monkeypatch.setattr(clients.scheduler(), "create_schedule", lose)

    assert do(WATCHED)["statusCode"] == 503
    assert (handed_over(), changes(twilio)) == ([], [])


def test_a_timer_that_is_there_already_was_set_by_an_attempt_whose_answer_was_lost(
    do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = clients.scheduler().create_schedule

    def set_twice(**named: Any) -> Any:
        create(**named)
        raise ClientError({"Error": {"Code": "ConflictException", "Message": ""}}, "CreateSchedule")

    def as_botocore_does(**named: Any) -> Any:
        try:
            set_twice(**named)
        except ClientError as error:
            raise clients.scheduler().exceptions.ConflictException(error.response, "CreateSchedule") from error

    monkeypatch.setattr(clients.scheduler(), "create_schedule", as_botocore_does)

    assert do(WATCHED)["statusCode"] == 200
    assert len(handed_over()) == 1
