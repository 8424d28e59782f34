"""The start function: what reaches Twilio, what the caller gets, and what is in the table by then."""

import base64
import json
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlencode

import boto3
import pytest

from call_recording.errors import (
    CredentialsRefusedError,
    MalformedSecretError,
    MissingSettingsError,
    TwilioUnavailableError,
    UnknownTriggerError,
)
from call_recording.twilio.accounts import Accounts
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID, WEBHOOK_URL
from local.api_gateway import http_api_event
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer, Request
from tests.conftest import IDEMPOTENCY_TABLE, Bus, Context, Time, capture_log, put_secret, rows

Sample = Callable[[str], dict[str, Any]]
Send = Callable[[dict[str, Any]], dict[str, Any]]
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
OTHER_ACCOUNT = "AC" + "9" * 32
OTHER_CALL = "CA" + "9" * 32

VALUES = [
    ("RecordingChannels", "mono"),
    ("RecordingChannels", "dual"),
    ("RecordingStatusCallback", "https://caller.example.com/status?tenant=7&x=a%20b#rc=2"),
    ("RecordingStatusCallback", "http://caller.example.com"),
    ("RecordingStatusCallbackEvent", "in-progress"),
    ("RecordingStatusCallbackEvent", "completed"),
    ("RecordingStatusCallbackEvent", "absent"),
    ("RecordingStatusCallbackEvent", "failed"),
    ("RecordingStatusCallbackEvent", "in-progress completed absent failed"),
    ("RecordingConfigurationId", "recording_configuration_01k0:a.b-C"),
    ("RecordingStatusCallbackMethod", "GET"),
    ("RecordingStatusCallbackMethod", "POST"),
    ("RecordingTrack", "inbound"),
    ("RecordingTrack", "outbound"),
    ("RecordingTrack", "both"),
    ("Trim", "trim-silence"),
    ("Trim", "do-not-trim"),
]


@pytest.fixture
def by_http(start_recording: ModuleType, sample: Sample) -> Callable[..., dict[str, Any]]:
    """Return a function that sends a body through API Gateway and gives the answer, its JSON under `json`."""

    def send(
        body: object = None,
        *,
        content_type: str | None = JSON,
        query: str = "",
        event: str = "start-rest-api.json",
        **changes: Any,
    ) -> dict[str, Any]:
        request = sample(event)
        text = body if isinstance(body, str) else json.dumps({} if body is None else body)
        request["headers"] = {"content-type": content_type} if content_type else {}
        request |= {"body": text, "isBase64Encoded": False}
        if query:
            request |= {
                "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True),
                "rawQueryString": query,
            }
        request |= changes
        answer: dict[str, Any] = start_recording.handler(request, Context())
        return answer | {"json": json.loads(answer["body"])}

    return send


@pytest.fixture
def by_event(start_recording: ModuleType, sample: Sample) -> Callable[[object], None]:
    def send(detail: object) -> None:
        start_recording.handler(sample("start-eventbridge.json") | {"detail": detail}, Context())

    return send


def received(twilio: TwilioServer) -> dict[str, list[str]]:
    """Return the form in the one request that Twilio received, decoded from its bytes."""
    (request,) = twilio.twilio.requests
    assert request.headers["content-type"] == FORM
    return parse_qs(request.body.decode("ascii"), strict_parsing=True)


# --- what reaches Twilio ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_each_parameter_in_a_json_body_reaches_twilio(
    by_http: Callable[..., Any], twilio: TwilioServer, name: str, value: str
) -> None:
    assert by_http({name: value})["statusCode"] == 201

    assert received(twilio)[name] == [value]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_each_parameter_in_a_form_reaches_twilio(
    by_http: Callable[..., Any], twilio: TwilioServer, name: str, value: str
) -> None:
    assert by_http(urlencode({name: value}), content_type=FORM)["statusCode"] == 201

    assert received(twilio)[name] == [value]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_each_parameter_in_an_event_reaches_twilio(
    by_event: Callable[[object], None], twilio: TwilioServer, name: str, value: str
) -> None:
    by_event({"CallSid": CALL_SID, name: value})

    assert received(twilio)[name] == [value]


def test_the_bytes_are_those_of_twilios_own_examples(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    by_http({"RecordingChannels": "dual"})

    (request,) = twilio.twilio.requests
    assert (request.method, request.path) == (
        "POST",
        f"/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{CALL_SID}/Recordings.json",
    )
    assert request.body == (
        b"RecordingChannels=dual"
        b"&RecordingStatusCallback=https%3A%2F%2Ff6g7h8i9j0.execute-api.us-east-1.amazonaws.com%2Frecording-status"
        b"%23ct%3D2000%26rt%3D4000%26rc%3D5%26rp%3Dct%2Crt%2C5xx"
        b"&RecordingStatusCallbackEvent=in-progress+completed+absent"
    )


@pytest.mark.parametrize("name", ["start-rest-api.json", "start-http-api.json", "start-eventbridge.json"])
def test_the_sample_events_start_the_recording_they_describe(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer, name: str
) -> None:
    start_recording.handler(sample(name), Context())

    form = received(twilio)
    assert {key: form[key] for key in ("RecordingChannels", "RecordingTrack", "Trim")} == {
        "RecordingChannels": ["dual"],
        "RecordingTrack": ["both"],
        "Trim": ["do-not-trim"],
    }
    assert [row["requested_by"] for row in rows()] == ["eventbridge" if "eventbridge" in name else "http"]


def test_left_out_the_callback_is_our_webhook_with_more_retries_and_all_events(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    by_http({})

    assert received(twilio) == {
        "RecordingStatusCallback": [f"{WEBHOOK_URL}#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"],
        "RecordingStatusCallbackEvent": ["in-progress completed absent"],
    }


def test_a_callers_own_callback_is_passed_on_with_twilios_default_events(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    by_http({"RecordingStatusCallback": "https://user:secret@caller.example.com/status"})

    assert received(twilio) == {"RecordingStatusCallback": ["https://user:secret@caller.example.com/status"]}
    assert rows()[0]["callback_url"] == "https://caller.example.com/status", "a password is not for the table"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"RecordingStatusCallbackEvent": ["in-progress", "absent"]}', JSON),
        ("RecordingStatusCallbackEvent=in-progress&RecordingStatusCallbackEvent=absent", FORM),
    ],
    ids=["a list in JSON", "a repeated field in a form"],
)
def test_events_can_be_a_list(by_http: Callable[..., Any], twilio: TwilioServer, body: str, content_type: str) -> None:
    by_http(body, content_type=content_type)

    assert received(twilio)["RecordingStatusCallbackEvent"] == ["in-progress absent"]


def test_a_form_in_base64_is_understood(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    by_http(
        base64.b64encode(b"Trim=trim-silence").decode(), content_type=f"{FORM}; charset=UTF-8", isBase64Encoded=True
    )

    assert received(twilio)["Trim"] == ["trim-silence"]


def test_credentials_are_the_auth_token_or_the_api_key_if_there_is_one(
    by_http: Callable[..., Any], twilio: TwilioServer, start_recording: ModuleType
) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].api_keys["SK1"] = "key-secret"
    by_http({})
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "api_key_sid": "SK1", "api_key_secret": "key-secret"})
    start_recording.starter.cache_clear()
    by_http({})

    sent = [
        base64.b64decode(r.headers["authorization"].removeprefix("Basic ")).decode() for r in twilio.twilio.requests
    ]
    assert sent == [f"{ACCOUNT_SID}:{AUTH_TOKEN}", "SK1:key-secret"]


@pytest.mark.parametrize("where", ["json", "form", "query", "event"])
def test_another_account_is_used_with_its_own_credentials(
    by_http: Callable[..., Any], by_event: Callable[[object], None], twilio: TwilioServer, where: str
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other-token"})
    twilio.twilio.add_account(Account(OTHER_ACCOUNT, "other-token"))
    twilio.twilio.begin_call(OTHER_ACCOUNT, call_sid=OTHER_CALL)
    named = {"AccountSid": OTHER_ACCOUNT}

    if where == "event":
        by_event({"CallSid": OTHER_CALL, **named})
    elif where == "query":
        by_http({}, query=urlencode(named), pathParameters={"CallSid": OTHER_CALL})
    else:
        body = urlencode(named) if where == "form" else named
        by_http(body, content_type=FORM if where == "form" else JSON, pathParameters={"CallSid": OTHER_CALL})

    assert f"/Accounts/{OTHER_ACCOUNT}/Calls/{OTHER_CALL}/" in twilio.twilio.requests[0].path
    assert [row["account_sid"] for row in rows()] == [OTHER_ACCOUNT]


def test_the_query_of_an_http_api_can_name_the_account(start_recording: ModuleType, twilio: TwilioServer) -> None:
    url = f"https://x.example.com/calls/{CALL_SID}/recordings?AccountSid={ACCOUNT_SID}"
    event = http_api_event(
        "POST", url, headers={"Content-Type": JSON}, body=b"{}", path_parameters={"CallSid": CALL_SID}
    )

    assert start_recording.handler(event, Context())["statusCode"] == 201
    assert len(twilio.twilio.requests) == 1


def test_an_api_without_a_path_parameter_can_name_the_call_in_the_body(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    assert by_http({"CallSid": CALL_SID}, pathParameters=None)["statusCode"] == 201
    assert len(twilio.twilio.requests) == 1


# --- what the caller gets ----------------------------------------------------------------------------


def test_the_answer_is_201_with_twilios_recording_and_the_row_is_there(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    answer = by_http({"RecordingChannels": "dual", "RecordingTrack": "inbound"})

    (recording,) = twilio.twilio.recordings.values()
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (201, JSON)
    assert answer["json"] == recording.resource(status="in-progress")
    (row,) = rows()
    expected = {
        "recording_sid": recording.sid,
        "call_sid": CALL_SID,
        "account_sid": ACCOUNT_SID,
        "status": "in-progress",
        "channels": 1,  # one track is one channel, whatever was asked for
        "track": "inbound",
        "source": "StartCallRecordingAPI",
        "requested_by": "http",
        "callback_url": f"{WEBHOOK_URL}#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx",
        "recording_url": f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{recording.sid}",
    }
    assert {name: row[name] for name in expected} == expected
    assert set(row["status_at"]) == {"in-progress"}


BAD = {
    "CallSid malformed": ({"CallSid": "CA123"}, {"CallSid"}),
    "AccountSid malformed": ({"AccountSid": "AC" + "g" * 32}, {"AccountSid"}),
    "AccountSid with a line break": ({"AccountSid": ACCOUNT_SID + "\n"}, {"AccountSid"}),
    "AccountSid of another kind": ({"AccountSid": CALL_SID}, {"AccountSid"}),
    "unknown field": ({"RecordingChanels": "dual"}, {"RecordingChanels"}),
    "channels outside the list": ({"RecordingChannels": "stereo"}, {"RecordingChannels"}),
    "channels of a wrong type": ({"RecordingChannels": 2}, {"RecordingChannels"}),
    "channels null": ({"RecordingChannels": None}, {"RecordingChannels"}),
    "track outside the list": ({"RecordingTrack": "left"}, {"RecordingTrack"}),
    "track a list": ({"RecordingTrack": ["both"]}, {"RecordingTrack"}),
    "trim outside the list": ({"Trim": "TRIM-SILENCE"}, {"Trim"}),
    "method outside the list": ({"RecordingStatusCallbackMethod": "PUT"}, {"RecordingStatusCallbackMethod"}),
    "event outside the list": ({"RecordingStatusCallbackEvent": "completed paused"}, {"RecordingStatusCallbackEvent"}),
    "event repeated": ({"RecordingStatusCallbackEvent": "absent absent"}, {"RecordingStatusCallbackEvent"}),
    "no event": ({"RecordingStatusCallbackEvent": []}, {"RecordingStatusCallbackEvent"}),
    "events an object": ({"RecordingStatusCallbackEvent": {"a": 1}}, {"RecordingStatusCallbackEvent"}),
    "callback relative": ({"RecordingStatusCallback": "/status"}, {"RecordingStatusCallback"}),
    "callback without a host": ({"RecordingStatusCallback": "https://"}, {"RecordingStatusCallback"}),
    "callback of another scheme": ({"RecordingStatusCallback": "ftp://example.com"}, {"RecordingStatusCallback"}),
    "callback with a bad port": ({"RecordingStatusCallback": "https://example.com:port/"}, {"RecordingStatusCallback"}),
    "callback with a space": ({"RecordingStatusCallback": "https://example.com/a b"}, {"RecordingStatusCallback"}),
    "configuration empty": ({"RecordingConfigurationId": ""}, {"RecordingConfigurationId"}),
    "configuration with a blank": ({"RecordingConfigurationId": "a b"}, {"RecordingConfigurationId"}),
    "configuration too long": ({"RecordingConfigurationId": "a" * 129}, {"RecordingConfigurationId"}),
    "wait too long": ({"WaitSeconds": 11}, {"WaitSeconds"}),
    "wait below zero": ({"WaitSeconds": -1}, {"WaitSeconds"}),
    "wait a part of a second": ({"WaitSeconds": 0.5}, {"WaitSeconds"}),
    "wait true": ({"WaitSeconds": True}, {"WaitSeconds"}),
    **{
        f"callback {url[:30]!r}": ({"RecordingStatusCallback": url}, {"RecordingStatusCallback"})
        for url in (
            *("https://example.com/a%2", "https://example.com/?a=5%", "https://example.com/#rc=%zz"),
            *("https://ex%61mple.com/", "https://exämple.com", "https://example.com/é", "https://example.com/\n"),
            *("https://example.com/\x7f", "https://example.com\\x", "https://example.com/{room}", "https://a..b/x"),
            *("https://a@b@example.com", "https://user@/x", "https://:443/x", "https://example.com/#a#b"),
            f"https://example.com/{'a' * 4000}",
        )
    },
    "callback a number": ({"RecordingStatusCallback": 7}, {"RecordingStatusCallback"}),
    "everything at once": (
        {"AccountSid": 1, "RecordingChannels": "x", "RecordingTrack": "x", "Trim": "x", "Nonsense": "x"},
        {"AccountSid", "RecordingChannels", "RecordingTrack", "Trim", "Nonsense"},
    ),
}


@pytest.mark.parametrize(("body", "wrong"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_names_every_wrong_field_and_nothing_is_sent(
    by_http: Callable[..., Any], twilio: TwilioServer, body: object, wrong: set[str]
) -> None:
    answer = by_http(body)

    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (400, "application/problem+json")
    assert answer["json"]["type"] == "urn:problem:call-recording:invalid-request"
    assert {error["field"] for error in answer["json"]["errors"]} == wrong
    assert all(error["message"] for error in answer["json"]["errors"])
    assert twilio.twilio.requests == []


@pytest.mark.parametrize(("detail", "wrong"), [(d, w) for d, w in BAD.values()], ids=BAD.keys())
def test_a_bad_event_becomes_a_failure_event_and_nothing_is_sent(
    by_event: Callable[[object], None], twilio: TwilioServer, bus: Bus, detail: dict[str, Any], wrong: set[str]
) -> None:
    by_event({"CallSid": CALL_SID, **detail})

    (failure,) = bus.events()
    assert failure["reason"] == "invalid-request"
    assert {error["field"] for error in failure["errors"]} == wrong
    assert twilio.twilio.requests == []


@pytest.mark.parametrize("detail", [None, [], "CallSid", {}, {"AccountSid": ACCOUNT_SID}])
def test_an_event_without_a_call_becomes_a_failure_event(
    by_event: Callable[[object], None], twilio: TwilioServer, bus: Bus, detail: object
) -> None:
    by_event(detail)

    (failure,) = bus.events()
    assert (failure["reason"], failure["event_id"]) == ("invalid-request", "17793124-05d4-b198-2fde-7ededc63b103")
    assert twilio.twilio.requests == []


def test_a_failure_event_fits_on_the_bus_whatever_was_asked(by_event: Callable[[object], None], bus: Bus) -> None:
    by_event({"CallSid": CALL_SID} | {f"{number}{'x' * 200}": 1 for number in range(5_000)})

    (failure,) = bus.events()
    assert (len(failure["errors"]), failure["errors"][-1]["message"]) == (51, "and 4950 more")
    assert len(json.dumps(failure)) < 50_000


UNREADABLE: dict[str, tuple[dict[str, Any], int]] = {
    "empty": ({"body": ""}, 400),
    "blank": ({"body": "  \n"}, 400),
    "not JSON": ({"body": "{"}, 400),
    "a constant that is not JSON": ({"body": '{"Trim": NaN}'}, 400),
    "nested without end": ({"body": "[" * 60_000}, 400),
    "more than fits": ({"body": "[" * 70_000}, 413),
    "more than fits, in base64": ({"body": "eHh4" * 23_334, "isBase64Encoded": True}, 413),
    "a list": ({"body": "[]"}, 400),
    "a text": ({"body": '"CallSid"'}, 400),
    "null": ({"body": "null"}, 400),
    "a repeated field": ({"body": '{"Trim": "do-not-trim", "Trim": "do-not-trim"}'}, 400),
    "a repeated field in a form": ({"body": "Trim=do-not-trim&Trim=do-not-trim", "content_type": FORM}, 400),
    "not a form": ({"body": "Trim", "content_type": FORM}, 400),
    "a form that is not UTF-8": ({"body": "Trim=%ff", "content_type": FORM}, 400),
    "an empty form": ({"body": "", "content_type": FORM}, 400),
    "broken base64": ({"body": "e30", "isBase64Encoded": True}, 400),
    "base64 of something else than text": ({"body": "/w==", "isBase64Encoded": True}, 400),
    "another content type": ({"body": "{}", "content_type": "text/plain"}, 415),
    "no content type": ({"body": "{}", "content_type": None}, 415),
    "an unknown parameter in the query": ({"body": "{}", "query": "Trim=do-not-trim"}, 400),
    "another account in the query": (
        {"body": {"AccountSid": ACCOUNT_SID}, "query": f"AccountSid={OTHER_ACCOUNT}"},
        400,
    ),
    "two accounts in the query": ({"body": "{}", "query": f"AccountSid={ACCOUNT_SID}&AccountSid={OTHER_ACCOUNT}"}, 400),
    "another call in the body": ({"body": {"CallSid": OTHER_CALL}}, 400),
    "no call": ({"body": "{}", "pathParameters": None}, 400),
}


@pytest.mark.parametrize("event", ["start-rest-api.json", "start-http-api.json"])
@pytest.mark.parametrize(("request_parts", "status"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_refused_with_a_problem_and_nothing_is_sent(
    by_http: Callable[..., Any], twilio: TwilioServer, event: str, request_parts: dict[str, Any], status: int
) -> None:
    answer = by_http(event=event, **request_parts)

    assert answer["statusCode"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= answer["json"].keys()
    assert twilio.twilio.requests == []


def test_an_invocation_by_anything_else_is_an_error(start_recording: ModuleType) -> None:
    with pytest.raises(UnknownTriggerError):
        start_recording.handler({"Records": []}, Context())


def test_a_missing_setting_is_named(
    by_http: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sample: Sample, start_recording: ModuleType
) -> None:
    monkeypatch.delenv("WEBHOOK_URL")

    answer = by_http({})

    assert (answer["statusCode"], answer["json"]["detail"]) == (500, "environment variables not set: WEBHOOK_URL")
    with pytest.raises(MissingSettingsError):
        start_recording.handler(sample("start-eventbridge.json"), Context())


# --- what Twilio refuses -------------------------------------------------------------------------------


def test_a_call_that_has_ended_is_409_with_twilios_code(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    twilio.twilio.hang_up(CALL_SID)

    answer = by_http({})

    assert answer["statusCode"] == 409
    assert answer["json"] == {
        "type": "urn:problem:call-recording:call-not-in-progress",
        "title": "The call cannot be recorded now",
        "status": 409,
        "detail": "Requested resource is not eligible for recording",
        "twilio_code": 21220,
        "more_info": "https://www.twilio.com/docs/errors/21220",
    }
    assert rows() == []


def answer_the_call(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, time: Time, *, after: float) -> None:
    """Let the call be answered only then: until that Twilio says that it is not in progress."""
    answered_at, handle = time.seconds + after, twilio.twilio.handle

    def ringing(request: Request) -> Answer:
        twilio.twilio.calls[CALL_SID].is_live = time.seconds >= answered_at
        return handle(request)

    monkeypatch.setattr(twilio.twilio, "handle", ringing)


@pytest.mark.parametrize("body", [{"WaitSeconds": 5}, {"WaitSeconds": "5"}])
def test_a_call_that_is_answered_while_the_request_waits_is_recorded_once(
    by_http: Callable[..., Any],
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    body: dict[str, object],
) -> None:
    answer_the_call(twilio, monkeypatch, time, after=3)
    began = time.seconds

    answer = by_http(body)

    assert (answer["statusCode"], [answer["json"]["sid"]]) == (201, list(twilio.twilio.recordings))
    assert 3 <= time.seconds - began <= 4
    assert 3 <= len(twilio.twilio.requests) <= 7
    assert all("WaitSeconds" not in request.form() for request in twilio.twilio.requests), "it is not Twilio's"


def test_an_event_can_wait_for_the_call_to_be_answered(
    by_event: Callable[[object], None], twilio: TwilioServer, bus: Bus, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_the_call(twilio, monkeypatch, time, after=9)

    by_event({"CallSid": CALL_SID, "WaitSeconds": 10})

    assert (len(twilio.twilio.recordings), bus.events()) == (1, [])


@pytest.mark.parametrize(("body", "seconds"), [({}, 0), ({"WaitSeconds": 0}, 0), ({"WaitSeconds": 10}, 10)])
def test_a_call_that_is_not_answered_in_the_time_to_wait_is_refused_then(
    by_http: Callable[..., Any], twilio: TwilioServer, time: Time, body: dict[str, int], seconds: int
) -> None:
    twilio.twilio.hang_up(CALL_SID)
    began = time.seconds

    answer = by_http(body)

    assert (answer["statusCode"], answer["json"]["twilio_code"]) == (409, 21220)
    assert time.seconds - began == pytest.approx(seconds)
    assert len(twilio.twilio.requests) <= seconds + 3


def test_waiting_leaves_time_to_answer(
    start_recording: ModuleType, sample: Sample, twilio: TwilioServer, time: Time
) -> None:
    twilio.twilio.hang_up(CALL_SID)
    began = time.seconds
    event = sample("start-rest-api.json") | {"body": json.dumps({"WaitSeconds": 10})}

    answer = start_recording.handler(event, Context(remaining_milliseconds=12_000))

    assert answer["statusCode"] == 409
    assert time.seconds - began <= 12 - 4 - 2


def test_what_may_have_begun_while_waiting_is_looked_for_and_not_begun_again(
    by_http: Callable[..., Any], twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_the_call(twilio, monkeypatch, time, after=1)
    twilio.twilio.faults.requests.extend([None, None, None, RequestFault("cut", after_acting=True)])

    answer = by_http({"WaitSeconds": 10})

    assert (answer["statusCode"], [answer["json"]["sid"]]) == (201, list(twilio.twilio.recordings))


def test_how_long_somebody_waits_is_no_part_of_what_a_key_stands_for(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    key = {"headers": {"content-type": JSON, "Idempotency-Key": "key"}}

    assert [by_http({**wait}, **key)["statusCode"] for wait in ({}, {"WaitSeconds": 0}, {"WaitSeconds": 1})] == [
        *(201, 201, 201)
    ]
    assert len(twilio.twilio.recordings) == 1


def test_our_webhook_is_not_called_about_what_twilio_documents_for_encrypted_recordings_alone(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    by_http({})

    assert received(twilio)["RecordingStatusCallbackEvent"] == ["in-progress completed absent"]


def share_the_running_one(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Twilio answer a start with the recording that the API started before, as it may."""
    handle = twilio.twilio.handle

    def shared(request: Request) -> Answer:
        running = list(twilio.twilio.recordings.values())
        if request.method != "POST" or not running:
            return handle(request)
        twilio.twilio.requests.append(request)
        return Answer(200, json.dumps(running[0].resource(status="in-progress")).encode())

    monkeypatch.setattr(twilio.twilio, "handle", shared)


def test_a_second_key_gets_the_recording_that_runs_with_the_options_of_the_first(
    by_http: Callable[..., Any], twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_the_running_one(twilio, monkeypatch)
    first, second = ({"headers": {"content-type": JSON, "Idempotency-Key": key}} for key in ("one", "two"))
    made = by_http({"RecordingChannels": "dual"}, **first)
    time.turn(90)
    began = time.seconds

    answers = [by_http({"RecordingChannels": "mono"}, **second) for _ in range(2)]

    assert [answer["statusCode"] for answer in answers] == [201, 201]
    assert answers[0]["json"] == answers[1]["json"] == made["json"]
    assert answers[1]["headers"]["Idempotent-Replayed"] == "true"
    assert (time.seconds, len(twilio.twilio.requests)) == (began, 2), "it neither waits nor asks again"
    (row,) = rows()
    assert (row["intent"], row["channels"], row["requested_by"]) == ("http#one", 2, "http")


def test_a_running_recording_that_is_given_out_stays_active_in_its_row(
    by_http: Callable[..., Any], twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = by_http({})
    time.turn(90)
    shown = json.dumps(made["json"] | {"status": "processing"}).encode()
    monkeypatch.setattr(twilio.twilio, "handle", lambda _: Answer(200, shown))

    by_http({"Reference": "room-17"})

    (row,) = rows()
    assert (row["status"], row["reference"]) == ("in-progress", "room-17"), "whoever gave it none is no obstacle"


@pytest.mark.parametrize("seconds", [5, 200])
def test_the_recording_that_another_program_has_running_stays_its_own(
    by_http: Callable[..., Any],
    by_event: Callable[[object], None],
    twilio: TwilioServer,
    bus: Bus,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    share_the_running_one(twilio, monkeypatch)
    running = twilio.twilio.record(twilio.twilio.calls[CALL_SID])
    time.turn(seconds)

    assert by_http({})["json"]["sid"] == running.sid
    by_event({"CallSid": CALL_SID})

    (row,) = rows()
    assert (row["recording_sid"], row["requested_by"]) == (running.sid, "twilio")
    assert not {"intent", "callback_url"} & row.keys(), "it calls back to somebody else"
    assert bus.events() == []


def test_a_200_for_a_recording_that_the_request_itself_made_is_its_own(
    by_http: Callable[..., Any], twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_the_running_one(twilio, monkeypatch)
    twilio.twilio.faults.requests.extend([RequestFault("cut", after_acting=True)])
    monkeypatch.setattr("call_recording.start.starter._Attempts._adopt", lambda _: None)

    answer = by_http({}, headers={"content-type": JSON, "Idempotency-Key": "key"})

    assert answer["statusCode"] == 201
    (row,) = rows()
    assert (row["recording_sid"], row["intent"]) == (answer["json"]["sid"], "http#key")


@pytest.mark.parametrize(("status", "code"), [(403, 20005), (403, 70051), (401, 20107), (400, 20008)])
def test_whatever_code_refuses_our_credentials_the_caller_is_not_to_blame(
    by_http: Callable[..., Any], twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    body = json.dumps({"code": code, "message": "no"}).encode()
    monkeypatch.setattr(twilio.twilio, "handle", lambda _: Answer(status, body))

    answer = by_http({})

    assert (answer["statusCode"], answer["json"]["type"]) == (502, "urn:problem:call-recording:credentials-refused")
    assert answer["json"]["twilio_code"] == code


def test_a_call_that_does_not_exist_is_404(by_http: Callable[..., Any]) -> None:
    answer = by_http({}, pathParameters={"CallSid": OTHER_CALL})

    assert (answer["statusCode"], answer["json"]["twilio_code"]) == (404, 20404)


def test_a_call_that_has_ended_becomes_a_failure_event(
    by_event: Callable[[object], None], twilio: TwilioServer, bus: Bus
) -> None:
    twilio.twilio.hang_up(CALL_SID)

    by_event({"CallSid": CALL_SID})

    assert bus.events() == [
        {
            "event_id": "17793124-05d4-b198-2fde-7ededc63b103",
            "requested": "Call Recording Requested",
            "call_sid": CALL_SID,
            "reason": "call-not-in-progress",
            "detail": "Requested resource is not eligible for recording",
            "twilio_code": 21220,
            "more_info": "https://www.twilio.com/docs/errors/21220",
        }
    ]


def test_credentials_that_were_rotated_are_read_afresh_once(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    by_http({})
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})

    assert by_http({})["statusCode"] == 201
    assert [request.path for request in twilio.twilio.requests] == [twilio.twilio.requests[0].path] * 3


def test_credentials_that_stay_refused_are_502(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"

    answer = by_http({})

    assert (answer["statusCode"], answer["json"]["twilio_code"]) == (502, 20003)
    assert len(twilio.twilio.requests) == 1, "the secret read afresh says the same: asking again is no use"


def test_an_account_without_a_secret_is_422_and_a_failure_event(
    by_http: Callable[..., Any], by_event: Callable[[object], None], twilio: TwilioServer, bus: Bus
) -> None:
    answer = by_http({"AccountSid": OTHER_ACCOUNT})
    by_event({"CallSid": CALL_SID, "AccountSid": OTHER_ACCOUNT})

    assert (answer["statusCode"], answer["json"]["title"]) == (422, "No credentials are stored for this account")
    assert [(e["reason"], e["account_sid"]) for e in bus.events()] == [("unknown-account", OTHER_ACCOUNT)]
    accounts = Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID)
    assert accounts.all() == [ACCOUNT_SID], "the reconciler need not ask for it again and again"
    assert twilio.twilio.requests == []


FAULTS = {
    "5xx": (RequestFault(500), 502),
    "a cut connection": (RequestFault("cut"), 502),
}


@pytest.mark.parametrize(("fault", "status"), FAULTS.values(), ids=FAULTS.keys())
def test_what_twilio_fails_at_is_a_problem_and_raised_for_an_event_to_be_retried(
    by_http: Callable[..., Any],
    by_event: Callable[[object], None],
    twilio: TwilioServer,
    fault: RequestFault,
    status: int,
) -> None:
    twilio.twilio.faults.requests = deque([fault] * 40)

    assert by_http({})["statusCode"] == status
    with pytest.raises(TwilioUnavailableError):
        by_event({"CallSid": CALL_SID})


def test_too_many_requests_is_503_with_retry_after(by_http: Callable[..., Any], twilio: TwilioServer) -> None:
    twilio.twilio.faults.requests = deque([RequestFault(429, retry_after=7)] * 20)

    answer = by_http({})

    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "7")
    assert answer["json"]["twilio_code"] == 20429


def test_wrong_credentials_and_broken_secrets_are_raised_for_an_event_to_be_retried(
    by_event: Callable[[object], None], twilio: TwilioServer, start_recording: ModuleType
) -> None:
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"
    with pytest.raises(CredentialsRefusedError):
        by_event({"CallSid": CALL_SID})
    put_secret(ACCOUNT_SID, "not JSON")
    start_recording.starter.cache_clear()
    with pytest.raises(MalformedSecretError):
        by_event({"CallSid": CALL_SID})


def test_a_table_that_fails_after_twilio_started_is_503_and_names_the_recording(
    by_http: Callable[..., Any], twilio: TwilioServer
) -> None:
    boto3.client("dynamodb").delete_table(TableName="recordings")

    answer = by_http({})

    (recording,) = twilio.twilio.recordings
    assert (answer["statusCode"], answer["json"]["recording_sid"]) == (503, recording)


# --- the log -------------------------------------------------------------------------------------------


def test_nothing_secret_is_logged(
    by_http: Callable[..., Any], twilio: TwilioServer, start_recording: ModuleType
) -> None:
    log = capture_log(start_recording)
    by_http({"RecordingStatusCallback": "https://user:planted-password@example.com/"})
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "rotated"
    by_http({"RecordingStatusCallback": "https://user:planted-password@example.com/"})

    logged = log.getvalue()
    assert "recording started" in logged
    assert "credentials-refused" in logged
    assert "planted-password" not in logged
    assert AUTH_TOKEN not in logged
    assert base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode() not in logged


@pytest.mark.parametrize("name", ["start-rest-api.json", "start-http-api.json", "start-eventbridge.json"])
def test_a_refused_request_is_logged_with_the_call_that_it_names(
    start_recording: ModuleType, sample: Callable[[str], dict[str, Any]], bus: Bus, name: str
) -> None:
    event = sample(name)
    if "detail" in event:
        event["detail"]["Trim"] = "no"
    else:
        event["headers"] = {}
    log = capture_log(start_recording)

    start_recording.handler(event, Context())

    (line,) = [line for line in log.getvalue().splitlines() if "recording not started" in line]
    assert json.loads(line)["call_sid"] == CALL_SID
