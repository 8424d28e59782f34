"""A request to pause, resume or stop acts once: what an earlier delivery left open is not done to something else."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clients, clock
from call_recording.bus import STILL_PAUSED
from call_recording.errors import CallRecordingError, RowsUnavailableError, TableUnavailableError
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Bus, Context, Time, begin_recording, rows, timers

Api = Callable[..., dict[str, Any]]
Sample = Callable[[str], dict[str, Any]]
Put = Callable[..., None]

CURRENT, ALL = "Twilio.CURRENT", "ALL"
LOST, NOT_DONE = RequestFault("cut", after_acting=True), RequestFault(500)
URN = "urn:problem:call-recording:"


class Killed(BaseException):
    """Nobody handles it, as nobody handles the end of a function."""


@pytest.fixture
def recording(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    return begin_recording(twilio, table)


@pytest.fixture
def put(recordings_api: ModuleType, sample: Sample, recording: Recording, time: Time) -> Put:
    """Deliver the same event, a moment later."""

    def send(status: str, of: str | None = None, **more: Any) -> None:
        time.turn(0.002)
        event = sample("control-eventbridge.json")
        event["detail"] = {"CallSid": CALL_SID, "RecordingSid": of or recording.sid, "Status": status} | more
        recordings_api.handler(event, Context())

    return send


@pytest.fixture
def do(api: Api, recording: Recording, time: Time) -> Callable[..., dict[str, Any]]:
    """Ask over HTTP, a moment later."""

    def send(status: str, of: str | None = None, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        time.turn(0.002)
        where = {"CallSid": CALL_SID, "RecordingSid": of or recording.sid}
        return api("control-rest-api.json", {"Status": status} | more, path=where, key=key)

    return send


def fail(twilio: TwilioServer, *faults: RequestFault) -> None:
    twilio.twilio.faults.requests = deque(faults)


def changes(twilio: TwilioServer) -> list[str]:
    """Return the statuses that Twilio was asked for."""
    return [request.form()["Status"][0] for request in twilio.twilio.requests if request.method == "POST"]


@contextmanager
def when_the_row_is_written(happens: BaseException) -> Iterator[None]:
    def refuse(_: RecordingsTable, facts: Facts, **_how: bool) -> None:
        raise happens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordingsTable, "record", refuse)
        yield


@contextmanager
def without_a_note() -> Iterator[None]:
    """Let IdempotencyTable forget what became of requests."""
    update = clients.dynamodb().update_item

    def refuse(**named: Any) -> Any:
        if "#data" in named["UpdateExpression"] or ":free" in named["UpdateExpression"]:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "UpdateItem")
        return update(**named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients.dynamodb(), "update_item", refuse)
        yield


def put_in_vain(put: Put, *args: Any, **more: Any) -> None:
    with pytest.raises(CallRecordingError):
        put(*args, **more)


# --- Twilio.CURRENT ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [LOST, NOT_DONE], ids=["done", "not done"])
def test_an_event_about_the_current_recording_does_not_stop_the_next_one(
    put: Put, twilio: TwilioServer, table: RecordingsTable, bus: Bus, time: Time, fault: RequestFault
) -> None:
    fail(twilio, fault)
    put_in_vain(put, "stopped", CURRENT)
    second = begin_recording(twilio, table)

    for _ in range(2):
        time.turn(60)
        put("stopped", CURRENT)

    assert (second.status, changes(twilio)) == ("in-progress", ["stopped"])
    assert [failed["reason"] for failed in bus.events()] == ["outcome-unknown", "outcome-unknown"]


def test_an_event_that_was_said_to_have_failed_is_not_done_when_it_comes_again(
    put: Put, recording: Recording, twilio: TwilioServer, table: RecordingsTable, bus: Bus, time: Time
) -> None:
    with twilio.locked() as simulated:
        simulated.recordings[recording.sid].status = "completed"
    put("paused", CURRENT)
    second = begin_recording(twilio, table)

    time.turn(60)
    put("paused", CURRENT)

    assert second.status == "in-progress"
    first, again = bus.events()
    assert (first["reason"], again) == ("nothing-records", first)


def test_an_event_about_the_current_recording_does_not_pause_it_after_somebody_resumed(
    put: Put, do: Callable[..., Any], recording: Recording, twilio: TwilioServer, bus: Bus, time: Time
) -> None:
    fail(twilio, LOST)
    put_in_vain(put, "paused", CURRENT)
    do("in-progress", CURRENT)
    time.turn(60)

    put("paused", CURRENT)

    assert recording.status == "in-progress"
    assert [failed["reason"] for failed in bus.events()] == ["outcome-unknown"]


def test_a_key_of_the_current_recording_says_that_nobody_knows(do: Callable[..., Any], twilio: TwilioServer) -> None:
    fail(twilio, LOST)

    answers = [do("stopped", CURRENT, key="k") for _ in range(3)]

    assert [answer["statusCode"] for answer in answers] == [502, 409, 409]
    assert answers[1]["json"]["type"] == f"{URN}outcome-unknown"
    assert changes(twilio) == ["stopped"]


def test_what_was_surely_not_done_to_the_current_recording_is_done_by_the_next_delivery(
    put: Put, do: Callable[..., Any], recording: Recording, twilio: TwilioServer
) -> None:
    fail(twilio, *[RequestFault(429)] * 8)
    put_in_vain(put, "paused", CURRENT)
    put("paused", CURRENT)
    assert recording.status == "paused"

    fail(twilio, *[RequestFault(429)] * 8)
    assert do("in-progress", CURRENT, key="k")["statusCode"] == 503
    assert do("in-progress", CURRENT, key="k")["statusCode"] == 200


# --- by SID --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [LOST, NOT_DONE], ids=["done", "not done"])
def test_what_stayed_unknown_is_asked_for_again_while_nobody_else_controlled_the_recording(
    put: Put, do: Callable[..., Any], recording: Recording, twilio: TwilioServer, bus: Bus, time: Time, fault: Any
) -> None:
    do("paused")
    time.turn(20)
    fail(twilio, *[fault] * 20)
    put_in_vain(put, "in-progress")
    fail(twilio)
    time.turn(60)

    put("in-progress")

    assert (recording.status, rows()[0]["status"], bus.events()) == ("in-progress", "in-progress", [])


@pytest.mark.parametrize("fault", [LOST, NOT_DONE], ids=["done", "not done"])
def test_what_stayed_unknown_is_not_asked_for_again_after_somebody_controlled_the_recording(
    put: Put, do: Callable[..., Any], recording: Recording, twilio: TwilioServer, bus: Bus, time: Time, fault: Any
) -> None:
    do("in-progress")
    fail(twilio, *[fault] * 20)
    put_in_vain(put, "paused")
    fail(twilio)
    assert do("in-progress")["statusCode"] == 200
    asked = len(changes(twilio))
    time.turn(60)

    put("paused")

    assert (recording.status, len(changes(twilio))) == ("in-progress", asked)
    (failed,) = bus.events()
    assert (failed["reason"], failed["recording_sid"]) == ("controlled-since", recording.sid)


def test_within_one_delivery_nobody_elses_control_is_undone(
    do: Callable[..., Any], recording: Recording, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(twilio, LOST)
    wait = clock.sleep

    def resume_meanwhile(seconds: float) -> None:
        wait(seconds)
        assert do("in-progress")["statusCode"] == 200

    monkeypatch.setattr(clock, "sleep", resume_meanwhile)

    answer = do("paused", ResumeWithinSeconds=60)

    assert (answer["statusCode"], answer["json"]["type"]) == (409, f"{URN}controlled-since")
    assert (recording.status, changes(twilio)) == ("in-progress", ["paused", "in-progress"])
    assert len(timers()) == 1, "it was paused, and whether it still is only the timer will find out"


def test_without_a_look_at_the_row_nothing_is_asked_for_twice(
    do: Callable[..., Any], twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RowsUnavailableError

    fail(twilio, LOST, LOST)
    with monkeypatch.context() as patch:
        patch.setattr(RecordingsReader, "get", refuse)
        first, second = do("paused", key="k"), do("paused", key="k")

    assert (first["json"]["type"], second["json"]["type"]) == (f"{URN}twilio-unavailable", f"{URN}rows-unavailable")
    assert changes(twilio) == ["paused"]


@pytest.mark.parametrize("of", [None, CURRENT])
def test_what_twilio_answered_is_not_asked_for_again_only_because_it_was_not_stored(
    put: Put, do: Callable[..., Any], recording: Recording, twilio: TwilioServer, bus: Bus, time: Time, of: str | None
) -> None:
    with when_the_row_is_written(TableUnavailableError(RECORDING_SID)):
        put_in_vain(put, "paused", of, ResumeWithinSeconds=60)
    time.turn(20)
    do("in-progress", of)
    time.turn(40)

    put("paused", of, ResumeWithinSeconds=60)

    assert (recording.status, rows()[0]["status"]) == ("in-progress", "in-progress")
    assert (changes(twilio), bus.events(), len(timers())) == (["paused", "in-progress"], [], 1)


def test_a_key_whose_answer_was_not_stored_gets_the_answer(do: Callable[..., Any], twilio: TwilioServer) -> None:
    with when_the_row_is_written(TableUnavailableError(RECORDING_SID)):
        assert do("paused", CURRENT, key="k")["statusCode"] == 503

    answer = do("paused", CURRENT, key="k")

    assert (answer["statusCode"], answer["json"]["status"]) == (200, "paused")
    assert (changes(twilio), rows()[0]["status"]) == (["paused"], "paused")


@pytest.mark.parametrize("of", [None, CURRENT])
@pytest.mark.parametrize("status", ["paused", "in-progress", "stopped"])
def test_what_was_done_and_not_noted_is_found_in_the_row(
    put: Put, do: Callable[..., Any], twilio: TwilioServer, bus: Bus, time: Time, status: str, of: str | None
) -> None:
    do("paused")
    with without_a_note():
        put(status, of)
    asked = changes(twilio)
    time.turn(100)

    put(status, of)

    assert (changes(twilio), bus.events()) == (asked, [])
    assert rows()[0]["status"] == status


def test_what_was_done_and_not_noted_is_not_done_to_what_somebody_else_did_since(
    put: Put, do: Callable[..., Any], recording: Recording, bus: Bus, time: Time
) -> None:
    with without_a_note():
        put("paused")
    time.turn(50)
    do("in-progress")
    time.turn(50)

    put("paused")

    assert recording.status == "in-progress"
    assert [failed["reason"] for failed in bus.events()] == ["controlled-since"]


@pytest.mark.parametrize(
    ("seconds_before", "reasons"), [(None, []), (120, []), (20, ["controlled-since"])], ids=["never", "long", "just"]
)
def test_after_a_killed_function_only_an_old_control_is_known_to_have_come_before(
    put: Put,
    do: Callable[..., Any],
    recording: Recording,
    bus: Bus,
    time: Time,
    seconds_before: int | None,
    reasons: list[str],
) -> None:
    if seconds_before:
        do("in-progress")
        time.turn(seconds_before)
    with when_the_row_is_written(Killed()), without_a_note(), pytest.raises(Killed):
        put("paused")
    time.turn(100)

    put("paused")

    assert [failed["reason"] for failed in bus.events()] == reasons
    assert recording.status == "paused"


def test_a_refusal_of_what_may_have_been_done_before_is_not_told_as_one(
    put: Put, twilio: TwilioServer, bus: Bus, time: Time
) -> None:
    fail(twilio, *[LOST] * 20)
    put_in_vain(put, "stopped")
    fail(twilio)
    time.turn(60)

    put("stopped")

    assert [failed["reason"] for failed in bus.events()] == ["outcome-unknown"]


def test_what_may_have_been_done_in_time_is_not_called_too_old(
    put: Put, twilio: TwilioServer, bus: Bus, time: Time
) -> None:
    fail(twilio, *[LOST] * 20)
    put_in_vain(put, "paused")
    fail(twilio)
    asked = changes(twilio)
    time.turn(600)

    put("paused")

    assert [failed["reason"] for failed in bus.events()] == ["outcome-unknown"]
    assert changes(twilio) == asked


def test_a_key_of_yesterday_knows_nothing(do: Callable[..., Any], twilio: TwilioServer, time: Time) -> None:
    with when_the_row_is_written(TableUnavailableError(RECORDING_SID)):
        assert do("paused", key="k")["statusCode"] == 503
    time.turn(25 * 3600)

    assert do("paused", key="k")["statusCode"] == 200
    assert changes(twilio) == ["paused", "paused"]


@pytest.mark.parametrize("of", [None, ALL])
def test_a_field_that_a_control_does_not_use_does_not_change_what_its_key_stands_for(
    do: Callable[..., Any], recording: Recording, of: str | None
) -> None:
    """The hash of a request stays the same when a later version knows more fields."""
    do("paused", of, key="k", PauseBehavior="skip")

    said = {"account_sid": ACCOUNT_SID, "call_sid": CALL_SID, "recording_sid": of or recording.sid}
    said |= {"status": "paused", "pause_behavior": "skip"}
    items = boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE)["Items"]
    (hashed,) = (item["validation"]["S"] for item in items if "validation" in item)
    assert hashed == hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


# --- everything on a call ------------------------------------------------------------------------------


def test_a_resume_of_everything_that_was_not_noted_does_not_end_the_next_pause(
    put: Put, do: Callable[..., Any], recording: Recording, bus: Bus, time: Time
) -> None:
    do("paused", ALL)
    time.turn(20)
    with without_a_note():
        put("in-progress", ALL)
    assert recording.status == "in-progress"
    time.turn(20)
    assert do("paused", ALL)["statusCode"] == 200
    time.turn(80)

    put("in-progress", ALL)

    assert (recording.status, bus.events()) == ("paused", [])


@pytest.mark.parametrize("end", ["in-progress", "nobody"])
def test_a_pause_of_everything_that_was_not_noted_is_not_done_again_after_somebody_resumed(
    put: Put, do: Callable[..., Any], recording: Recording, bus: Bus, time: Time, end: str
) -> None:
    with without_a_note():
        put("paused", ALL)
    time.turn(20)
    if end != "nobody":
        assert do(end, ALL)["statusCode"] == 200
    time.turn(80)

    put("paused", ALL)

    assert recording.status == ("paused" if end == "nobody" else end)
    assert [failed["reason"] for failed in bus.events()] == ([] if end == "nobody" else ["resumed-meanwhile"])


def test_nor_where_it_joined_a_pause_that_another_request_has_begun_and_a_third_one_followed(
    put: Put, do: Callable[..., Any], recording: Recording, bus: Bus, time: Time
) -> None:
    do("paused", ALL)
    with without_a_note():
        put("paused", ALL)
    for status in ("in-progress", "paused", "in-progress"):
        time.turn(20)
        assert do(status, ALL)["statusCode"] == 200
    time.turn(80)

    put("paused", ALL)

    assert recording.status == "in-progress"
    assert [failed["reason"] for failed in bus.events()] == ["resumed-meanwhile"]


def test_a_repeated_pause_of_everything_does_not_bring_back_a_resume_that_another_one_has_canceled(
    put: Put, do: Callable[..., Any], recordings_api: ModuleType, recording: Recording, bus: Bus, time: Time
) -> None:
    auto = {"ResumeWithinSeconds": 300, "AutoResume": True}
    with without_a_note():
        put("paused", ALL, **auto)
    time.turn(20)
    assert do("paused", ALL)["statusCode"] == 200
    time.turn(80)

    put("paused", ALL, **auto)
    (timer,) = timers()
    time.turn(300)
    recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())

    assert [told["resumed"] for told in bus.events(STILL_PAUSED)] == [False]
    assert recording.status == "paused"


def test_a_resume_of_everything_that_was_killed_goes_on_with_the_same_pause(
    put: Put, do: Callable[..., Any], twilio: TwilioServer, table: RecordingsTable, recording: Recording, time: Time
) -> None:
    other = begin_recording(twilio, table)
    do("paused", ALL)
    time.turn(20)
    with when_the_row_is_written(Killed()), without_a_note(), pytest.raises(Killed):
        put("in-progress", ALL)
    assert {recording.status, other.status} == {"paused", "in-progress"}
    time.turn(100)

    put("in-progress", ALL)

    assert (recording.status, other.status) == ("in-progress", "in-progress")


def test_a_pause_that_has_paused_nothing_is_tried_again_with_its_key(
    do: Callable[..., Any], twilio: TwilioServer, time: Time
) -> None:
    with twilio.locked() as simulated:
        conference = simulated.begin_conference([simulated.begin_call(ACCOUNT_SID) for _ in range(2)])
    assert do("paused", ALL, key="k", ConferenceSid=conference.sid)["statusCode"] == 422
    with twilio.locked() as simulated:
        simulated.join(conference, simulated.calls[CALL_SID])

    assert do("paused", ALL, key="k", ConferenceSid=conference.sid)["statusCode"] == 200


def test_what_may_have_been_done_to_everything_in_time_is_not_called_too_old(
    put: Put, recording: Recording, bus: Bus, time: Time
) -> None:
    with without_a_note():
        put("paused", ALL)
    time.turn(400)

    put("paused", ALL)

    assert recording.status == "paused"
    assert [failed["reason"] for failed in bus.events()] == ["outcome-unknown"]
