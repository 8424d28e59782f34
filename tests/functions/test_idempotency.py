"""However often a request is delivered, one recording starts."""

import hashlib
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from call_recording import clients
from call_recording.errors import RequestInProgressError
from call_recording.start.starter import Starter
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Bus, Context, Time, rows

Ask = Callable[..., dict[str, Any]]
OTHER_CALL = "CA" + "9" * 32


class Killed(BaseException):
    """What happens to a function that Lambda stops: nothing catches it."""


def started(twilio: TwilioServer) -> int:
    return len(twilio.twilio.recordings)


def test_the_same_key_and_body_get_the_same_answer_again(ask: Ask, twilio: TwilioServer) -> None:
    first = ask({"RecordingChannels": "dual"}, key="key-1")
    again = ask({"RecordingChannels": "dual"}, key="key-1")

    assert (first["statusCode"], again["statusCode"]) == (201, 201)
    assert again["json"] == first["json"]
    assert "Idempotent-Replayed" not in first["headers"]
    assert again["headers"]["Idempotent-Replayed"] == "true"
    assert len(twilio.twilio.requests) == 1


def test_the_row_says_which_request_it_serves(ask: Ask) -> None:
    ask(key="key-1")

    assert [row["intent"] for row in rows()] == ["http#key-1"]


@pytest.mark.parametrize("change", ["body", "call", "account"])
def test_the_same_key_for_another_request_is_422_and_nothing_is_sent(
    ask: Ask, twilio: TwilioServer, change: str
) -> None:
    ask(key="key-1")

    if change == "call":
        answer = ask(key="key-1", pathParameters={"CallSid": OTHER_CALL})
    else:
        answer = ask({"AccountSid": "AC" + "9" * 32} if change == "account" else {"Trim": "trim-silence"}, key="key-1")

    assert (answer["statusCode"], answer["json"]["type"]) == (422, "urn:problem:call-recording:idempotency-key-reused")
    assert len(twilio.twilio.requests) == 1


def test_a_key_whose_request_is_being_worked_on_is_409(
    ask: Ask, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[dict[str, Any]] = []
    start = Starter.start

    def start_and_be_asked_again(*arguments: Any, **named: Any) -> dict[str, Any]:
        answers.append(ask(key="key-1"))
        return start(*arguments, **named)

    monkeypatch.setattr(Starter, "start", start_and_be_asked_again)
    first = ask(key="key-1")

    assert first["statusCode"] == 201
    assert [(a["statusCode"], a["json"]["title"], a["headers"]["Retry-After"]) for a in answers] == [
        (409, "The same request is still in progress", "1")
    ]
    assert started(twilio) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "schlüssel", "a\n"])
def test_a_malformed_key_is_400_and_named(ask: Ask, twilio: TwilioServer, key: str) -> None:
    answer = ask({"Trim": "all"}, key=key)

    assert answer["statusCode"] == 400
    assert {error["field"] for error in answer["json"]["errors"]} == {"Trim", "Idempotency-Key"}
    assert twilio.twilio.requests == []


def test_without_a_key_every_request_is_one_of_its_own(ask: Ask, twilio: TwilioServer) -> None:
    assert ask()["json"]["sid"] != ask()["json"]["sid"]
    assert started(twilio) == 2


def test_a_refusal_frees_the_key(ask: Ask, twilio: TwilioServer) -> None:
    elsewhere = {"pathParameters": {"CallSid": OTHER_CALL}}
    assert ask(key="key-1", **elsewhere)["statusCode"] == 404

    twilio.twilio.begin_call(twilio.twilio.calls[CALL_SID].account_sid, call_sid=OTHER_CALL)

    assert ask(key="key-1", **elsewhere)["statusCode"] == 201


def test_an_event_that_was_said_to_have_failed_starts_nothing_when_it_comes_again(
    put_event: Callable[..., None], twilio: TwilioServer, bus: Bus
) -> None:
    with twilio.locked() as simulated:
        simulated.calls[CALL_SID].is_live = False
    put_event()
    with twilio.locked() as simulated:
        simulated.calls[CALL_SID].is_live = True

    put_event()

    assert twilio.twilio.recordings == {}
    first, again = bus.events()
    assert (first["reason"], again) == ("call-not-in-progress", first)


def test_an_event_that_is_delivered_again_starts_nothing_more(
    put_event: Callable[..., None], twilio: TwilioServer
) -> None:
    put_event()
    put_event()

    assert started(twilio) == 1
    assert [row["intent"] for row in rows()] == ["eventbridge#17793124-05d4-b198-2fde-7ededc63b103"]


def test_a_crash_frees_the_key_once_the_function_is_surely_dead(
    ask: Ask, put_event: Callable[..., None], time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Starter, "start", die)
        with pytest.raises(Killed):
            ask(key="key-1")
        with pytest.raises(Killed):
            put_event()

    time.turn(60)  # a clock that is a minute ahead of the dead function's must not take over from it
    assert ask(key="key-1")["statusCode"] == 409
    with pytest.raises(RequestInProgressError):
        put_event()
    time.turn(40)
    assert ask(key="key-1")["statusCode"] == 201
    put_event()
    assert len(rows()) == 2


def test_a_crash_after_twilio_acted_does_not_make_a_second_recording(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("call_recording.recordings.table.RecordingsTable.record", die)
        with pytest.raises(Killed):
            ask(key="key-1")
    time.turn(100)

    answer = ask(key="key-1")

    assert (answer["statusCode"], started(twilio)) == (201, 1)
    assert [row["intent"] for row in rows()] == ["http#key-1"]


def test_an_answer_that_could_not_be_noted_is_given_all_the_same(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("call_recording.commands.intents._Store._update_record", lambda *_: 1 / 0)
        first = ask(key="key-1")
    time.turn(100)
    again = ask(key="key-1")

    assert (first["statusCode"], again["json"]["sid"]) == (201, first["json"]["sid"])
    assert started(twilio) == 1


def lose_the_note(patch: pytest.MonkeyPatch) -> None:
    """Let DynamoDB refuse what comes after the row: the note that the key was answered, or that it is free."""
    patch.setattr("call_recording.commands.intents._Store._update_record", lambda *_: 1 / 0)


def die(*_: object, **__: object) -> None:
    raise Killed


def foreign(twilio: TwilioServer, *, seconds_ago: float = 0) -> str:
    """Let another program start a recording on the call, through the API as we do."""
    recording = twilio.twilio.record(twilio.twilio.calls[CALL_SID], {}, source="StartCallRecordingAPI")
    recording.started_at -= seconds_ago
    return recording.sid


def test_a_repeated_start_is_given_the_recording_that_the_table_names_not_an_older_one(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(twilio, seconds_ago=10)
    with monkeypatch.context() as patch:
        lose_the_note(patch)
        first = ask(key="key-1")
    time.turn(100)

    again = ask(key="key-1")

    assert (again["statusCode"], again["json"]["sid"]) == (201, first["json"]["sid"])
    assert [row["intent"] for row in rows()] == ["http#key-1"]


def test_a_start_that_was_killed_between_row_and_note_has_one_row(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(twilio, seconds_ago=10)
    with monkeypatch.context() as patch:
        patch.setattr("call_recording.commands.intents._Store._update_record", die)
        with pytest.raises(Killed):
            ask(key="key-1")
    (row,) = rows()
    time.turn(100)

    assert ask(key="key-1")["json"]["sid"] == row["recording_sid"]
    assert len(rows()) == 1


def test_two_starts_that_could_not_say_what_they_made_keep_one_recording_each(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("call_recording.recordings.table.RecordingsTable.record", die)
        with pytest.raises(Killed):
            ask(key="without-a-row")
    time.turn(1)
    with monkeypatch.context() as patch:
        patch.setattr("call_recording.commands.intents._Store._update_record", die)
        with pytest.raises(Killed):
            ask(key="without-a-note")
    time.turn(100)

    answers = [ask(key=key)["json"]["sid"] for key in ("without-a-note", "without-a-row")]

    assert len(set(answers)) == started(twilio) == 2


def test_a_repeated_start_whose_recording_was_deleted_since_makes_no_other(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        lose_the_note(patch)
        first = ask(key="key-1")["json"]["sid"]
    twilio.twilio.recordings[first].status = "completed"
    twilio.twilio.recordings[first].is_deleted = True
    time.turn(100)

    assert ask(key="key-1")["json"]["sid"] == first
    assert started(twilio) == 1


@pytest.mark.parametrize("how", ["killed", "without an answer"])
def test_what_began_after_the_earlier_deliveries_had_ended_is_not_theirs(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "killed":
        with monkeypatch.context() as patch:
            patch.setattr(Starter, "start", die)
            with pytest.raises(Killed):
                ask(key="key-1")
    else:
        twilio.twilio.faults.requests = deque([RequestFault("cut")] + [RequestFault(503)] * 30)
        assert ask(key="key-1")["statusCode"] == 502
        twilio.twilio.faults.requests = deque()
    time.turn(3600)
    other = foreign(twilio, seconds_ago=1800)

    assert ask(key="key-1")["json"]["sid"] != other


def test_what_a_key_remembers_ends_with_its_day(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed today and killed tomorrow: what another program began in between is not ours."""
    with monkeypatch.context() as patch:
        patch.setattr(Starter, "start", die)
        with pytest.raises(Killed):
            ask(key="key-1")
        time.turn(25.5 * 3600)
        other = foreign(twilio, seconds_ago=1800)
        with pytest.raises(Killed):
            ask(key="key-1")
    time.turn(100)

    assert ask(key="key-1")["json"]["sid"] != other


def test_a_key_that_is_taken_up_again_and_again_still_ends_a_day_after_its_first_use(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Starter, "start", die)
        for _ in range(6):
            with pytest.raises(Killed):
                ask(key="key-1")
            time.turn(5 * 3600)
    other = foreign(twilio, seconds_ago=5.5 * 3600)

    assert ask(key="key-1")["json"]["sid"] != other


def test_a_key_on_which_work_is_done_does_not_expire_under_it(
    ask: Ask, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Starter, "start", die)
        for seconds in (24 * 3600 - 30, 60):
            with pytest.raises(Killed):
                ask(key="key-1")
            time.turn(seconds)
            if seconds == 60:
                break

    assert ask(key="key-1")["statusCode"] == 409


@pytest.mark.parametrize("is_taken_over", [False, True], ids=["new", "taken over"])
def test_a_claim_whose_first_attempt_answered_too_late_is_still_ours(
    ask: Ask, twilio: TwilioServer, time: Time, *, is_taken_over: bool
) -> None:
    """DynamoDB did it and the answer got lost: boto3 writes once more, and meets itself."""
    if is_taken_over:
        twilio.twilio.faults.requests = deque([RequestFault(500)] * 20)
        assert ask(key="key-1")["statusCode"] == 502
        twilio.twilio.faults.requests.clear()
        time.turn(1)
    lost: list[str] = []

    def lose_the_first_answer(request: Any, **_: object) -> None:
        body = json.loads(request.body)
        if "taken_by = :me" in body["UpdateExpression"] and not lost:
            with suppress(ClientError):  # refused: then it was not the one to take it
                boto3.client("dynamodb").update_item(**body)
                lost.append("an answer")
                raise ReadTimeoutError(endpoint_url="https://dynamodb")

    ask(key="warm-up")
    events = clients.dynamodb().meta.events
    events.register_last("before-send.dynamodb.UpdateItem", lose_the_first_answer)

    assert ask(key="key-1")["statusCode"] == 201
    assert lost


def test_a_field_that_a_request_does_not_use_does_not_change_what_its_key_stands_for(ask: Ask) -> None:
    """The hash of a request stays the same when a later version knows more fields."""
    ask({"RecordingTrack": "inbound"}, key="key-1")

    (item,) = boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE)["Items"]
    said = {"account_sid": ACCOUNT_SID, "call_sid": CALL_SID, "recording_track": "inbound"}
    assert item["validation"]["S"] == hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("spellings", [("Idempotency-Key", "Idempotency-Key"), ("Idempotency-Key", "idempotency-key")])
def test_two_keys_are_refused_and_nothing_is_sent(
    start_recording: ModuleType,
    sample: Callable[[str], dict[str, Any]],
    twilio: TwilioServer,
    spellings: tuple[str, str],
) -> None:
    event = sample("start-rest-api.json")
    for name, value in zip(spellings, ("key-1", "key-2"), strict=True):
        event["headers"][name] = value
        event["multiValueHeaders"].setdefault(name, []).append(value)

    answer = start_recording.handler(event, Context())

    assert answer["statusCode"] == 400
    assert [error["field"] for error in json.loads(answer["body"])["errors"]] == ["Idempotency-Key"]
    assert twilio.twilio.requests == []


def test_without_the_table_of_intents_nothing_is_sent(ask: Ask, twilio: TwilioServer) -> None:
    boto3.client("dynamodb").delete_table(TableName=IDEMPOTENCY_TABLE)

    answer = ask(key="key-1")

    assert (answer["statusCode"], answer["json"]["type"]) == (503, "urn:problem:call-recording:state-unavailable")
    assert "Retry-After" in answer["headers"]
    assert twilio.twilio.requests == []


def test_a_key_costs_two_calls_of_aws_more_than_none(ask: Ask, start_recording: ModuleType) -> None:
    ask(key="warm-up")
    sent: list[str] = []
    clients.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: sent.append(model.name))

    ask()
    without, sent[:] = list(sent), []
    ask(key="key-1")

    assert without == ["PutItem"]
    assert sent == ["UpdateItem", "PutItem", "UpdateItem"]


def test_keys_are_stored_as_sha_256(ask: Ask) -> None:
    ask(key="planted-key")

    (item,) = boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE)["Items"]
    prefix, _, digest = item["id"]["S"].partition("#")
    assert (prefix, len(digest), len(item["validation"]["S"])) == ("start-recording", 64, 64)
    assert "planted-key" not in str(item)
