"""Pausing, resuming and stopping: at Twilio, in the table, once, and never forgotten."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clients
from call_recording.bus import STILL_PAUSED
from call_recording.callbacks.facts import callback_facts
from call_recording.errors import NotActionableError
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer, Request
from tests.conftest import (
    IDEMPOTENCY_TABLE,
    Bus,
    Context,
    Time,
    begin_recording,
    capture_log,
    put_secret,
    rows,
    status_of,
    timers,
    written_metrics,
)

Api = Callable[..., dict[str, Any]]
Fire = Callable[[], None]

CONTROL, EVENT = "control-rest-api.json", "control-eventbridge.json"
CURRENT = {"CallSid": CALL_SID, "RecordingSid": "Twilio.CURRENT"}
WATCHED = {"ResumeWithinSeconds"}
OTHER_ACCOUNT = "AC" + "f" * 32


def path(recording: Recording) -> dict[str, str]:
    return {"CallSid": CALL_SID, "RecordingSid": recording.sid}


@pytest.fixture
def recording(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    """A running recording with its row, as the start function and the callback leave it."""
    return begin_recording(twilio, table)


def requests(twilio: TwilioServer, method: str = "POST") -> list[dict[str, list[str]]]:
    return [request.form() for request in twilio.twilio.requests if request.method == method]


def test_a_pause_a_resume_and_a_stop_go_to_twilio_and_into_the_table(
    api: Api, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    seen = []
    for request in ({"Status": "paused", "PauseBehavior": "skip"}, {"Status": "in-progress"}, {"Status": "stopped"}):
        time.turn(2)
        answer = api(CONTROL, request, path=path(recording))
        assert (answer["statusCode"], answer["json"]["sid"]) == (200, recording.sid)
        seen.append((answer["json"]["status"], status_of(recording)))

    assert seen == [("paused", "paused"), ("in-progress", "in-progress"), ("stopped", "stopped")]
    assert requests(twilio) == [
        {"Status": ["paused"], "PauseBehavior": ["skip"]},
        {"Status": ["in-progress"]},
        {"Status": ["stopped"]},
    ]
    assert timers() == []


def test_a_pause_and_a_resume_within_one_second_end_resumed(api: Api, recording: Recording, time: Time) -> None:
    api(CONTROL, {"Status": "paused"}, path=path(recording))
    time.turn(0.1)
    api(CONTROL, {"Status": "in-progress"}, path=path(recording))

    assert status_of(recording) == "in-progress"


def test_the_current_recording_is_the_one_that_runs(api: Api, recording: Recording) -> None:
    answer = api(CONTROL, {"Status": "paused"}, path=CURRENT)

    assert (answer["statusCode"], answer["json"]["sid"]) == (200, recording.sid)
    assert status_of(recording) == "paused"


def test_a_recording_that_only_twilio_knew_gets_its_row(api: Api, twilio: TwilioServer, aws: None) -> None:
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID], source="DialVerb")

    api(CONTROL, {"Status": "paused"}, path=path(recording))

    (row,) = rows()
    assert (row["status"], row["source"], row["requested_by"]) == ("paused", "DialVerb", "twilio")


def late_callback(recording: Recording, word: str) -> Facts:
    return callback_facts(recording.callback_parameters(word, base_url="https://api.twilio.com").items())


@pytest.mark.parametrize("word", ["paused", "stopped"])
def test_a_late_in_progress_callback_and_a_fetch_with_less_detail_change_nothing(
    api: Api, recording: Recording, table: RecordingsTable, word: str
) -> None:
    api(CONTROL, {"Status": word}, path=path(recording))

    table.record(late_callback(recording, "in-progress"))
    table.record(Facts.from_fetched(RecordingResource(recording.resource(), api_url="https://api.twilio.com")))

    assert recording.resource()["status"] == "processing", "which is what Twilio shows of both"
    assert status_of(recording) == word


def test_a_late_in_progress_callback_does_not_undo_a_pause_after_a_resume(
    api: Api, recording: Recording, table: RecordingsTable, time: Time
) -> None:
    for word in ("paused", "in-progress", "paused"):
        time.turn(2)
        api(CONTROL, {"Status": word}, path=path(recording))

    table.record(late_callback(recording, "in-progress"))

    assert status_of(recording) == "paused"


def test_several_active_recordings_are_409_and_listed_to_choose_from(
    api: Api, twilio: TwilioServer, recording: Recording, table: RecordingsTable
) -> None:
    second, stopped = begin_recording(twilio, table), begin_recording(twilio, table)
    api(CONTROL, {"Status": "stopped"}, path=path(stopped))

    answer = api(CONTROL, {"Status": "paused"}, path=CURRENT)

    assert answer["statusCode"] == 409
    assert answer["json"]["type"] == "urn:problem:call-recording:several-active"
    assert answer["json"]["twilio_code"] == 16108
    assert answer["json"]["active_recording_sids"] == [recording.sid, second.sid]
    assert (status_of(recording), status_of(second)) == ("in-progress", "in-progress")
    assert api(CONTROL, {"Status": "paused"}, path=path(second))["statusCode"] == 200


@pytest.mark.parametrize("word", ["paused", "in-progress", "stopped"])
def test_a_known_call_that_nothing_records_is_told_from_an_unknown_one(
    api: Api, twilio: TwilioServer, recording: Recording, word: str
) -> None:
    api(CONTROL, {"Status": "stopped"}, path=path(recording))

    known = api(CONTROL, {"Status": word}, path=CURRENT)
    unknown = api(CONTROL, {"Status": word}, path=CURRENT | {"CallSid": f"CA{'9' * 32}"})

    assert (known["statusCode"], known["json"]["type"]) == (404, "urn:problem:call-recording:nothing-records")
    assert (unknown["statusCode"], unknown["json"]["type"]) == (404, "urn:problem:call-recording:not-found")
    assert (known["json"]["twilio_code"], unknown["json"]["twilio_code"]) == (20404, 20404)


@pytest.mark.parametrize("fault", [RequestFault(429), RequestFault(500), RequestFault("cut")], ids=str)
def test_nothing_records_is_only_said_where_twilio_lists_nothing(
    api: Api, twilio: TwilioServer, aws: None, fault: RequestFault
) -> None:
    twilio.twilio.faults.requests.extend([None, fault])

    answer = api(CONTROL, {"Status": "paused"}, path=CURRENT)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:not-found")


def test_a_call_on_which_something_began_meanwhile_is_not_said_to_record_nothing(
    api: Api, twilio: TwilioServer, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = twilio.twilio.handle

    def begin_before_the_list(request: Request) -> Answer:
        if request.method == "GET":
            twilio.twilio.record(twilio.twilio.calls[CALL_SID])
        return handle(request)

    monkeypatch.setattr(twilio.twilio, "handle", begin_before_the_list)

    assert api(CONTROL, {"Status": "paused"}, path=CURRENT)["json"]["type"].endswith(":not-found")


def test_a_recording_that_the_call_does_not_have_is_not_found_whatever_runs(api: Api, twilio: TwilioServer) -> None:
    answer = api(CONTROL, {"Status": "paused"}, path={"CallSid": CALL_SID, "RecordingSid": f"RE{'9' * 32}"})

    assert answer["json"]["type"].endswith(":not-found")
    assert requests(twilio, "GET") == []


def test_what_the_table_knows_to_run_speaks_against_nothing_records(
    api: Api, twilio: TwilioServer, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twilio lists it late, or under the call's other leg."""
    handle = twilio.twilio.handle
    missing = Answer(404, json.dumps({"code": 20404, "message": "no", "status": 404}).encode())
    nothing = Answer(200, json.dumps({"recordings": [], "next_page_uri": None}).encode())
    answers = {"POST": missing, "GET": nothing}
    monkeypatch.setattr(twilio.twilio, "handle", lambda request: answers.get(request.method) or handle(request))

    answer = api(CONTROL, {"Status": "paused"}, path=CURRENT)

    assert answer["json"]["type"] == "urn:problem:call-recording:not-found"


def test_an_event_for_a_call_that_nothing_records_fails_for_good(
    recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]], twilio: TwilioServer, bus: Bus
) -> None:
    event = sample(EVENT)
    event["detail"] = {"CallSid": CALL_SID, "RecordingSid": "Twilio.CURRENT", "Status": "paused"}

    recordings_api.handler(event, Context())

    assert [failure["reason"] for failure in bus.events()] == ["nothing-records"]


@pytest.mark.parametrize("status_code", [400, 408])
def test_what_is_not_actionable_yet_is_asked_for_again_and_then_may_be_tried_later(
    api: Api,
    recordings_api: ModuleType,
    sample: Callable[[str], dict[str, Any]],
    twilio: TwilioServer,
    recording: Recording,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    bus: Bus,
    status_code: int,
) -> None:
    busy, handle = [True, True], twilio.twilio.handle
    body = json.dumps({"code": 16114, "message": "Recording is not in an actionable state"}).encode()

    def not_yet(request: Request) -> Answer:
        if not busy:
            return handle(request)
        busy.pop()
        twilio.twilio.requests.append(request)
        return Answer(status_code, body)

    monkeypatch.setattr(twilio.twilio, "handle", not_yet)
    assert api(CONTROL, {"Status": "paused"}, path=CURRENT)["statusCode"] == 200
    assert len(requests(twilio)) == 3

    busy += [True] * 99
    answer = api(CONTROL, {"Status": "in-progress"}, path=CURRENT, key="k")
    assert (answer["statusCode"], answer["json"]["type"]) == (503, "urn:problem:call-recording:not-actionable")
    assert answer["headers"]["Retry-After"]
    event = sample(EVENT)
    event["detail"] = {"CallSid": CALL_SID, "RecordingSid": "Twilio.CURRENT", "Status": "in-progress"}
    with pytest.raises(NotActionableError):
        recordings_api.handler(event, Context())
    assert bus.events() == []

    busy.clear()
    assert api(CONTROL, {"Status": "in-progress"}, path=CURRENT, key="k")["statusCode"] == 200


def test_without_twilios_list_the_tables_active_recordings_are_listed(
    api: Api, twilio: TwilioServer, recording: Recording, table: RecordingsTable
) -> None:
    second = begin_recording(twilio, table)
    twilio.twilio.faults.requests.extend([None, RequestFault(500)])

    answer = api(CONTROL, {"Status": "paused"}, path=CURRENT)

    assert answer["statusCode"] == 409
    assert sorted(answer["json"]["active_recording_sids"]) == sorted([recording.sid, second.sid])


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"Status"}),
        ({"Status": "completed"}, {"Status"}),
        ({"Status": "stopped", "PauseBehavior": "skip"}, {"PauseBehavior"}),
        (
            {"Status": "in-progress", "ResumeWithinSeconds": 5, "AutoResume": True},
            {"ResumeWithinSeconds", "AutoResume"},
        ),
        ({"Status": "paused", "AutoResume": True}, {"AutoResume"}),
        (
            {"Status": "paused", "PauseBehavior": "mute", "ResumeWithinSeconds": 0},
            {"PauseBehavior", "ResumeWithinSeconds"},
        ),
        ({"Status": "paused", "ResumeWithinSeconds": 86_401}, {"ResumeWithinSeconds"}),
        ({"Status": "paused", "ResumeWithinSeconds": True}, {"ResumeWithinSeconds"}),
        ({"Status": "paused", "ResumeWithinSeconds": 1.5}, {"ResumeWithinSeconds"}),
        ({"Status": "paused", "ResumeWithinSeconds": 5, "AutoResume": 1}, {"AutoResume"}),
        ({"status": "paused"}, {"status", "Status"}),
        ({"Status": "paused", "RecordingSid": "RE" + "9" * 32}, {"RecordingSid"}),
    ],
)
def test_every_wrong_field_is_named_and_nothing_is_sent(
    api: Api, twilio: TwilioServer, body: dict[str, Any], wrong: set[str]
) -> None:
    answer = api(CONTROL, body)

    assert answer["statusCode"] == 400
    assert {error["field"] for error in answer["json"]["errors"]} == wrong
    assert twilio.twilio.requests == []


def test_a_form_says_the_same_as_json(
    recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]], recording: Recording
) -> None:
    event = sample(CONTROL) | {"pathParameters": path(recording)}
    event["headers"] = {"Content-Type": "application/x-www-form-urlencoded"}
    event["body"] = "Status=paused&ResumeWithinSeconds=60&AutoResume=true"

    answer = recordings_api.handler(event, Context())

    assert answer["statusCode"] == 200
    assert json.loads(timers()[0]["Target"]["Input"])["resume_timer"]["auto_resume"] is True


def test_a_subaccount_is_controlled_with_its_own_credentials(api: Api, twilio: TwilioServer, aws: None) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other"})
    with twilio.locked() as simulated:
        simulated.add_account(Account(OTHER_ACCOUNT, "other"))
        call = simulated.begin_call(OTHER_ACCOUNT)
        recording = simulated.record(call)
    where = {"CallSid": call.sid, "RecordingSid": recording.sid}

    assert api(CONTROL, {"Status": "paused"}, path=where)["statusCode"] == 404
    assert api(CONTROL, {"Status": "paused", "AccountSid": OTHER_ACCOUNT}, path=where)["statusCode"] == 200
    assert [row["account_sid"] for row in rows()] == [OTHER_ACCOUNT]


# --- once ---------------------------------------------------------------------------------------


def test_the_same_key_changes_the_recording_once(
    api: Api, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    first = api(CONTROL, {"Status": "paused"}, path=path(recording), key="k")
    time.turn(1)
    api(CONTROL, {"Status": "in-progress"}, path=path(recording))
    again = api(CONTROL, {"Status": "paused"}, path=path(recording), key="k")
    other = api(CONTROL, {"Status": "stopped"}, path=path(recording), key="k")

    assert (again["statusCode"], again["json"], again["headers"]["Idempotent-Replayed"]) == (200, first["json"], "true")
    assert "Idempotent-Replayed" not in first["headers"]
    assert (other["statusCode"], other["json"]["type"]) == (422, "urn:problem:call-recording:idempotency-key-reused")
    assert len(requests(twilio)) == 2
    assert status_of(recording) == "in-progress", "a pause that was delivered again does not pause again"


@pytest.fixture
def put(
    recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]], recording: Recording
) -> Callable[..., None]:
    """Hand the sample event over for the running recording, with changes to it and to its detail."""

    def send(detail: dict[str, Any] | None = None, **changes: Any) -> None:
        event = sample(EVENT)
        event["detail"] |= {"RecordingSid": recording.sid} | (detail or {})
        recordings_api.handler(event | changes, Context())

    return send


def test_an_event_that_is_delivered_again_changes_nothing_more(
    put: Callable[..., None], api: Api, twilio: TwilioServer, recording: Recording, time: Time
) -> None:
    put()
    time.turn(1)
    api(CONTROL, {"Status": "in-progress"}, path=path(recording))
    put()

    assert len(requests(twilio)) == 2
    assert status_of(recording) == "in-progress"


def test_an_event_that_can_never_be_met_is_told_on_the_bus(
    put: Callable[..., None], bus: Bus, twilio: TwilioServer, recording: Recording
) -> None:
    twilio.twilio.hang_up(CALL_SID)
    put()

    (failed,) = bus.events()
    assert failed["requested"] == "Call Recording Control Requested"
    assert (failed["recording_sid"], failed["call_sid"]) == (recording.sid, CALL_SID)
    assert (failed["reason"], failed["twilio_code"]) == ("call-not-in-progress", 21220)
    assert timers() == [], "what was not paused needs no watching"


def test_an_old_event_is_not_acted_on(put: Callable[..., None], bus: Bus, twilio: TwilioServer, time: Time) -> None:
    time.turn(301)
    put()

    assert [failed["reason"] for failed in bus.events()] == ["too-old"]
    assert twilio.twilio.requests == []
    assert timers() == []


def test_an_event_that_may_be_met_later_is_raised_for_lambda_to_retry(
    put: Callable[..., None], bus: Bus, twilio: TwilioServer
) -> None:
    twilio.twilio.faults.requests.extend([RequestFault(429)] * 8)

    with pytest.raises(Exception, match="Too Many Requests"):
        put()

    assert bus.events() == []


# --- unknown outcomes -----------------------------------------------------------------------------


def test_a_pause_whose_answer_was_lost_is_asked_for_again(api: Api, twilio: TwilioServer, recording: Recording) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    answer = api(CONTROL, {"Status": "paused"}, path=path(recording))

    assert (answer["statusCode"], status_of(recording)) == (200, "paused")
    assert len(requests(twilio)) == 2


def test_a_stop_whose_answer_was_lost_is_not_called_refused(
    api: Api, twilio: TwilioServer, recording: Recording
) -> None:
    twilio.twilio.faults.requests.append(RequestFault("cut", after_acting=True))

    answer = api(CONTROL, {"Status": "stopped"}, path=path(recording))

    assert (answer["statusCode"], answer["json"]["type"]) == (502, "urn:problem:call-recording:twilio-unavailable")
    assert "cannot be determined yet" in answer["json"]["detail"]


def test_the_current_recording_is_not_asked_for_twice_where_it_may_be_another_by_then(
    api: Api, twilio: TwilioServer, recording: Recording
) -> None:
    twilio.twilio.faults.requests.append(RequestFault(500, after_acting=True))

    answer = api(CONTROL, {"Status": "stopped"}, path=CURRENT)

    assert answer["statusCode"] == 502
    assert len(requests(twilio)) == 1


def test_a_rate_limit_is_waited_for(api: Api, twilio: TwilioServer, recording: Recording, time: Time) -> None:
    twilio.twilio.faults.requests.append(RequestFault(429, retry_after=2))

    assert api(CONTROL, {"Status": "paused"}, path=CURRENT)["statusCode"] == 200
    assert time.seconds >= 1795332781 + 2


# --- a pause that nobody ends -----------------------------------------------------------------------


def pause(api: Api, recording: Recording, **more: Any) -> None:
    body = {"Status": "paused", "ResumeWithinSeconds": 60, **more}
    assert api(CONTROL, body, path=path(recording))["statusCode"] == 200


def test_a_watched_pause_has_a_timer_that_is_due_when_asked_for(api: Api, recording: Recording) -> None:
    pause(api, recording)

    (timer,) = timers()
    assert timer["ScheduleExpression"] == "at(2026-11-22T07:34:01)"
    assert timer["ActionAfterCompletion"] == "DELETE"
    assert timer["Target"]["Arn"] == Context().invoked_function_arn
    assert timer["Target"]["DeadLetterConfig"]["Arn"].endswith(":control")


def test_nobody_resumed_in_time_is_told_on_the_bus_and_counted(
    api: Api, recording: Recording, fire: Fire, bus: Bus, time: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    pause(api, recording)
    time.turn(60)
    fire()

    (told,) = bus.events(STILL_PAUSED)
    assert told.pop("timer").startswith("resume-")
    assert told == {
        "recording_sid": recording.sid,
        "call_sid": CALL_SID,
        "account_sid": ACCOUNT_SID,
        "status": "paused",
        "paused_at": "2026-11-22T07:33:01.000Z",
        "resume_within_seconds": 60,
        "auto_resume": False,
        "resumed": False,
    }
    assert status_of(recording) == "paused", "resuming could record a card number"
    counted = [m for m in written_metrics(capsys.readouterr().out) if m["name"] == "RecordingStillPaused"]
    assert [(metric["value"], metric["dimensions"]) for metric in counted] == [(1, {})]


@pytest.mark.parametrize("word", ["in-progress", "stopped"])
def test_a_pause_that_ended_in_time_is_not_told(
    api: Api, recording: Recording, fire: Fire, bus: Bus, time: Time, word: str
) -> None:
    pause(api, recording)
    time.turn(30)
    api(CONTROL, {"Status": word}, path=path(recording))
    time.turn(30)
    fire()

    assert bus.events(STILL_PAUSED) == []
    assert status_of(recording) == word


def test_an_earlier_pauses_timer_says_nothing_of_a_later_pause(
    api: Api, recording: Recording, fire: Fire, bus: Bus, time: Time
) -> None:
    pause(api, recording, AutoResume=True)
    for word in ("in-progress", "paused"):
        time.turn(20)
        api(CONTROL, {"Status": word}, path=path(recording))
    time.turn(20)
    fire()

    assert bus.events(STILL_PAUSED) == []
    assert status_of(recording) == "paused", "somebody may be reading out a card number again"


def test_pausing_what_is_paused_keeps_the_watch(
    api: Api, recording: Recording, fire: Fire, bus: Bus, time: Time
) -> None:
    pause(api, recording)
    time.turn(20)
    api(CONTROL, {"Status": "paused"}, path=path(recording))
    time.turn(40)
    fire()

    assert [told["status"] for told in bus.events(STILL_PAUSED)] == ["paused"]


def test_a_call_that_has_ended_is_not_told(
    api: Api, recording: Recording, table: RecordingsTable, fire: Fire, bus: Bus, time: Time
) -> None:
    pause(api, recording)
    table.record(late_callback(recording, "completed"))
    fire()

    assert bus.events(STILL_PAUSED) == []


def test_it_resumes_by_itself_only_when_asked_to_and_tells(
    api: Api, recording: Recording, fire: Fire, bus: Bus, time: Time
) -> None:
    pause(api, recording, AutoResume=True)
    time.turn(60)
    fire()

    (told,) = bus.events(STILL_PAUSED)
    assert (told["auto_resume"], told["resumed"]) == (True, True)
    assert status_of(recording) == "in-progress"
    assert recording.status == "in-progress"


def test_a_timer_that_is_delivered_again_tells_the_same_and_resumes_no_more(
    api: Api, recording: Recording, twilio: TwilioServer, fire: Fire, bus: Bus, time: Time
) -> None:
    pause(api, recording, AutoResume=True)
    time.turn(60)
    fire()
    fire()

    first, again = bus.events(STILL_PAUSED)
    assert first == again
    assert len(requests(twilio)) == 2


def test_a_resume_that_twilio_refuses_is_told_with_its_reason(
    api: Api, recording: Recording, twilio: TwilioServer, fire: Fire, bus: Bus
) -> None:
    pause(api, recording, AutoResume=True)
    twilio.twilio.hang_up(CALL_SID)
    fire()

    (told,) = bus.events(STILL_PAUSED)
    assert (told["resumed"], told["reason"]) == (False, "call-not-in-progress")


def test_a_pause_of_the_current_recording_is_watched_by_its_own_name(
    api: Api, recording: Recording, fire: Fire, bus: Bus
) -> None:
    api(CONTROL, {"Status": "paused", "ResumeWithinSeconds": 60, "AutoResume": True}, path=CURRENT)
    fire()

    (told,) = bus.events(STILL_PAUSED)
    assert (told["recording_sid"], told["resumed"]) == (recording.sid, True)


def test_a_pause_of_the_current_recording_that_ended_in_time_is_not_told(
    api: Api, recording: Recording, twilio: TwilioServer, fire: Fire, bus: Bus, time: Time
) -> None:
    api(CONTROL, {"Status": "paused", "ResumeWithinSeconds": 60, "AutoResume": True}, path=CURRENT)
    for word in ("in-progress", "paused"):
        time.turn(20)
        api(CONTROL, {"Status": word}, path=path(recording))
    fire()

    assert bus.events(STILL_PAUSED) == []
    assert len(requests(twilio)) == 3, "nothing was resumed while somebody may read out a card number"


def test_a_pause_whose_answer_never_reached_the_table_is_told_as_unknown(
    api: Api, recording: Recording, twilio: TwilioServer, fire: Fire, bus: Bus
) -> None:
    twilio.twilio.faults.requests.extend([RequestFault(500, after_acting=True)] * 8)
    body = {"Status": "paused", "ResumeWithinSeconds": 60, "AutoResume": True}
    assert api(CONTROL, body, path=path(recording))["statusCode"] == 502
    twilio.twilio.faults.requests.clear()
    asked = len(requests(twilio))

    fire()

    (told,) = bus.events(STILL_PAUSED)
    assert (told["status"], told["resumed"], told["recording_sid"]) == ("unknown", False, recording.sid)
    assert len(requests(twilio)) == asked, "what is paused can be somebody else's pause"


def test_a_pause_that_was_surely_not_made_leaves_no_timer(
    put: Callable[..., None], bus: Bus, twilio: TwilioServer, time: Time
) -> None:
    time.turn(299)
    twilio.twilio.faults.requests.append(RequestFault(429, retry_after=3))

    put({"ResumeWithinSeconds": 60})

    assert [failed["reason"] for failed in bus.events()] == ["too-old"]
    assert timers() == []


def test_without_a_timer_nothing_is_paused(
    api: Api, recording: Recording, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "CreateSchedule")

    monkeypatch.setattr(clients.scheduler(), "create_schedule", refuse)

    answer = api(CONTROL, {"Status": "paused", "ResumeWithinSeconds": 60}, path=path(recording))

    assert (answer["statusCode"], answer["json"]["type"]) == (503, "urn:problem:call-recording:timer-not-set")
    assert requests(twilio) == []


def test_a_timer_that_the_bus_does_not_take_is_raised(
    api: Api, recording: Recording, fire: Fire, recordings_api: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(api, recording)

    def refuse(**_: Any) -> dict[str, Any]:
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}

    monkeypatch.setattr(clients.events(), "put_events", refuse)

    with pytest.raises(Exception, match="did not accept"):
        fire()


def test_a_timer_from_the_dead_letter_queue_is_looked_after(
    api: Api, recording: Recording, bus: Bus, recordings_api: ModuleType
) -> None:
    pause(api, recording)
    (timer,) = timers()
    record = {
        "messageId": "1",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:control",
        "body": timer["Target"]["Input"],
    }

    answer = recordings_api.handler({"Records": [record]}, Context())

    assert answer == {"batchItemFailures": []}
    assert len(bus.events(STILL_PAUSED)) == 1


def test_the_log_names_the_recording_and_never_the_key(
    api: Api, recording: Recording, recordings_api: ModuleType
) -> None:
    log = capture_log(recordings_api)

    api(CONTROL, {"Status": "paused"}, path=path(recording), key="secret-key-1")

    assert recording.sid in log.getvalue()
    assert "secret-key-1" not in log.getvalue()
    assert "secret-key-1" not in json.dumps(boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE), default=str)


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, {"Content-Type": "text/plain"}, {}])
def test_a_refused_request_is_logged_with_the_call_in_its_path(
    sample: Callable[[str], dict[str, Any]], recordings_api: ModuleType, headers: dict[str, str]
) -> None:
    log = capture_log(recordings_api)

    answer = recordings_api.handler(sample(CONTROL) | {"headers": headers, "body": "{}"}, Context())

    assert answer["statusCode"] in {400, 415}
    (line,) = [line for line in log.getvalue().splitlines() if "request refused" in line]
    assert json.loads(line)["call_sid"] == CALL_SID


@pytest.mark.parametrize("name", ["get", "media", "delete", "control", "list-of-call"])
def test_a_refused_request_is_logged_with_what_its_path_names(
    sample: Callable[[str], dict[str, Any]], recordings_api: ModuleType, name: str
) -> None:
    event = sample(f"{name}-rest-api.json") | {"multiValueQueryStringParameters": {"Unknown": ["x"]}}
    log = capture_log(recordings_api)

    assert recordings_api.handler(event, Context())["statusCode"] == 400

    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "request refused" in line]
    named = {"CallSid": line.get("call_sid"), "RecordingSid": line.get("recording_sid")}
    assert {field: sid for field, sid in named.items() if sid} == event["pathParameters"]


def test_a_refused_event_is_logged_with_its_call_and_not_with_the_one_before(
    put: Callable[..., None], recordings_api: ModuleType, bus: Bus
) -> None:
    log = capture_log(recordings_api)

    put({"Status": "no"})
    put({"CallSid": "4155551234"})

    first, second = [json.loads(line) for line in log.getvalue().splitlines() if "not changed" in line]
    assert (first["call_sid"], "call_sid" in second) == (CALL_SID, False)
    assert "4155551234" not in log.getvalue()


def test_something_else_than_an_event_we_know_is_raised(recordings_api: ModuleType) -> None:
    with pytest.raises(Exception, match="neither an API Gateway"):
        recordings_api.handler({"detail-type": "Something Else"}, Context())


def test_the_sample_timer_is_understood(
    recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]], bus: Bus
) -> None:
    recordings_api.handler(sample("resume-timer.json"), Context())

    (told,) = bus.events(STILL_PAUSED)
    assert (told["recording_sid"], told["status"]) == (RECORDING_SID, "unknown")
