"""Twilio may have acted without our hearing of it: look before asking again, and wait as long as it says."""

from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from call_recording import clock
from call_recording.errors import OutcomeUnknownError
from call_recording.start.starter import _Attempts
from call_recording.twilio.api import RecordingResource
from generators.sample_events import CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Bus, Context, Time, rows

Ask = Callable[..., dict[str, Any]]
LOST = [RequestFault(500, after_acting=True), RequestFault("cut", after_acting=True)]
NOT_DONE = [RequestFault(500), RequestFault("cut"), RequestFault(503)]


def methods(twilio: TwilioServer) -> list[str]:
    return [request.method for request in twilio.twilio.requests]


def fail(twilio: TwilioServer, *faults: RequestFault | None) -> None:
    twilio.twilio.faults.requests = deque(faults)


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_a_recording_that_twilio_made_without_saying_so_is_adopted(
    ask: Ask, twilio: TwilioServer, fault: RequestFault
) -> None:
    fail(twilio, fault)

    answer = ask({"RecordingChannels": "dual"})

    (recording,) = twilio.twilio.recordings
    assert (answer["statusCode"], answer["json"]["sid"]) == (201, recording)
    assert methods(twilio) == ["POST", "GET"]
    (row,) = rows()
    assert (row["requested_by"], row["status"]) == ("http", "in-progress")


@pytest.mark.parametrize("fault", NOT_DONE, ids=str)
def test_a_recording_that_twilio_did_not_make_is_asked_for_again_after_a_look(
    ask: Ask, twilio: TwilioServer, fault: RequestFault
) -> None:
    fail(twilio, fault)

    assert ask()["statusCode"] == 201
    assert methods(twilio) == ["POST", "GET", "GET", "POST"], "one empty list is no proof"
    assert len(twilio.twilio.recordings) == 1


@pytest.mark.parametrize(
    "fault", [RequestFault("cut", acts_after_seconds=4), RequestFault(503, acts_after_seconds=1)], ids=str
)
def test_a_recording_that_twilio_makes_a_little_later_is_adopted(
    ask: Ask, twilio: TwilioServer, fault: RequestFault, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn_and_let_twilio_act(seconds: float) -> None:
        time.turn(seconds)
        with twilio.locked() as simulated:
            simulated.due_callbacks()

    monkeypatch.setattr(clock, "sleep", turn_and_let_twilio_act)
    fail(twilio, fault)

    assert ask()["statusCode"] == 201
    assert "POST" not in methods(twilio)[1:]
    assert len(twilio.twilio.recordings) == 1


def test_a_refusal_to_show_what_was_made_is_no_refusal_of_the_request(
    ask: Ask, put_event: Callable[..., None], twilio: TwilioServer, bus: Bus
) -> None:
    fail(twilio, RequestFault(500, after_acting=True), *[RequestFault(403)] * 20)

    answer = ask()

    assert (answer["statusCode"], answer["json"]["type"]) == (502, "urn:problem:call-recording:twilio-unavailable")
    fail(twilio, RequestFault(500, after_acting=True), *[RequestFault(403)] * 20)
    with pytest.raises(OutcomeUnknownError):
        put_event()
    assert bus.events() == []


def test_a_key_that_was_used_a_day_ago_adopts_nothing(ask: Ask, twilio: TwilioServer, time: Time) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("call_recording.recordings.table.RecordingsTable.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(key="key-1")
    time.turn(25 * 3600)
    foreign(twilio, "by another program")

    ask(key="key-1")

    assert methods(twilio) == ["POST", "POST"]


def test_a_delivery_that_surely_made_nothing_leaves_nothing_to_look_for(ask: Ask, twilio: TwilioServer) -> None:
    fail(twilio, RequestFault(429, retry_after=60))
    assert ask(key="key-1")["statusCode"] == 503

    assert ask(key="key-1")["statusCode"] == 201
    assert methods(twilio) == ["POST", "POST"]


def test_a_look_that_fails_is_repeated_before_anything_is_asked_for_again(ask: Ask, twilio: TwilioServer) -> None:
    fail(twilio, RequestFault(500, after_acting=True), RequestFault(503), RequestFault(429))

    assert ask()["statusCode"] == 201
    assert methods(twilio) == ["POST", "GET", "GET", "GET"]
    assert len(twilio.twilio.recordings) == 1


def test_what_was_left_unknown_is_looked_up_by_the_next_delivery(ask: Ask, twilio: TwilioServer) -> None:
    fail(twilio, RequestFault(500, after_acting=True), *[RequestFault(503)] * 30)
    assert ask(key="key-1")["statusCode"] == 502

    fail(twilio)
    twilio.twilio.requests.clear()

    assert ask(key="key-1")["statusCode"] == 201
    assert methods(twilio) == ["GET"]
    assert len(twilio.twilio.recordings) == 1


def test_too_many_requests_waits_as_long_as_twilio_says_and_needs_no_look(
    ask: Ask, twilio: TwilioServer, time: Time
) -> None:
    fail(twilio, RequestFault(429, retry_after=5))
    began = time.seconds

    assert ask()["statusCode"] == 201
    assert methods(twilio) == ["POST", "POST"]
    assert 5 <= time.seconds - began < 10


def test_waiting_longer_than_there_is_time_is_not_begun(ask: Ask, twilio: TwilioServer, time: Time) -> None:
    fail(twilio, RequestFault(429, retry_after=60))
    began = time.seconds

    answer = ask()

    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "60")
    assert time.seconds == began


def test_with_no_time_left_nothing_is_sent(
    start_recording: ModuleType, sample: Callable[[str], dict[str, Any]], twilio: TwilioServer
) -> None:
    answer = start_recording.handler(sample("start-rest-api.json"), Context(remaining_milliseconds=5_000))

    assert answer["statusCode"] == 502
    assert twilio.twilio.requests == []


def test_attempts_end_within_the_invocations_time(ask: Ask, twilio: TwilioServer, time: Time) -> None:
    fail(twilio, *[RequestFault(503)] * 100)
    began = time.seconds

    assert ask()["statusCode"] == 502
    assert time.seconds - began < 24


def foreign(twilio: TwilioServer, how: str) -> Recording:
    """Let a recording run on the call that this request cannot have made."""
    call = twilio.twilio.calls[CALL_SID]
    form = {"RecordingChannels": ["dual" if how == "other channels" else "mono"]}
    form |= {"RecordingTrack": ["inbound" if how == "another track" else "both"]}
    source = "RecordVerb" if how == "another source" else "StartCallRecordingAPI"
    recording = twilio.twilio.record(call, form, source=source)
    if how == "started before we asked":
        recording.started_at -= 120
    return recording


@pytest.mark.parametrize(
    "how", ["another source", "other channels", "another track", "started before we asked", "serves another request"]
)
def test_only_what_this_request_must_have_made_is_adopted(ask: Ask, twilio: TwilioServer, how: str) -> None:
    other = ask(key="another")["json"]["sid"] if how == "serves another request" else foreign(twilio, how).sid
    fail(twilio, RequestFault(500))

    answer = ask(key="key-1")

    assert answer["statusCode"] == 201
    assert answer["json"]["sid"] != other
    assert len(twilio.twilio.recordings) == 2


def test_when_another_request_took_our_recording_we_ask_for_another(
    ask: Ask, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one lost its own answer, and found ours before our row was written."""
    claim_new = _Attempts._claim_new  # noqa: SLF001
    robberies: list[dict[str, Any]] = []

    def be_robbed_once(attempts: _Attempts, recording: RecordingResource) -> dict[str, Any]:
        if attempts.intent.name == "http#key-1" and not robberies:
            fail(twilio, RequestFault(500))
            robberies.append(ask(key="robber"))
        return claim_new(attempts, recording)

    monkeypatch.setattr(_Attempts, "_claim_new", be_robbed_once)

    answer = ask(key="key-1")

    assert answer["statusCode"] == 201
    assert robberies[0]["json"]["sid"] != answer["json"]["sid"]
    assert sorted(row["intent"] for row in rows()) == ["http#key-1", "http#robber"]
    assert len(twilio.twilio.recordings) == 2


def test_where_twilio_answers_with_the_recording_that_runs_it_serves_both(
    ask: Ask, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(key="key-1")["json"]["sid"]
    running = twilio.twilio.recordings[first]
    monkeypatch.setattr(twilio.twilio, "record", lambda *_: running)

    answer = ask(key="key-2")

    assert (answer["statusCode"], answer["json"]["sid"]) == (201, first)
    assert [row["intent"] for row in rows()] == ["http#key-1"]


def test_an_event_older_than_five_minutes_starts_nothing_and_says_so(
    put_event: Callable[..., None], twilio: TwilioServer, bus: Bus
) -> None:
    put_event(time="2026-11-22T07:28:00Z")

    (failure,) = bus.events()
    assert (failure["reason"], failure["call_sid"]) == ("too-old", CALL_SID)
    assert twilio.twilio.requests == []


def test_an_event_just_young_enough_starts_its_recording(put_event: Callable[..., None], twilio: TwilioServer) -> None:
    put_event(time="2026-11-22T07:28:01Z")

    assert len(twilio.twilio.recordings) == 1


def test_an_old_event_whose_recording_was_made_is_met_all_the_same(
    put_event: Callable[..., None], twilio: TwilioServer, time: Time, bus: Bus
) -> None:
    fail(twilio, RequestFault(500, after_acting=True), *[RequestFault(503)] * 30)
    with pytest.raises(Exception, match="Internal Server Error"):
        put_event()
    fail(twilio)
    time.turn(600)

    put_event()

    assert bus.events() == []
    assert [row["intent"] for row in rows()] == ["eventbridge#17793124-05d4-b198-2fde-7ededc63b103"]
    assert len(twilio.twilio.recordings) == 1


@pytest.mark.parametrize("changes", [{"id": None}, {"id": ""}, {"time": None}, {"time": "yesterday"}])
def test_an_event_without_an_id_or_time_becomes_a_failure_event(
    put_event: Callable[..., None], twilio: TwilioServer, bus: Bus, changes: dict[str, Any]
) -> None:
    put_event(**changes)

    (failure,) = bus.events()
    assert [error["field"] for error in failure["errors"]] == list(changes)
    assert twilio.twilio.requests == []
