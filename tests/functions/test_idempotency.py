"""However often a request is delivered, one recording starts."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording import clients
from call_recording.errors import RequestInProgressError
from call_recording.start.starter import Starter
from generators.sample_events import CALL_SID
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Time, rows

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
        (409, "The same request is still being worked on", "1")
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
