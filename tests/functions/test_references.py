"""What a caller calls a recording by comes back wherever the recording is shown, and nothing personal gets through."""

import json
from collections.abc import Callable
from copy import replace
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import boto3
import pytest

from call_recording.changes.events import change_events
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.start.request import StartRequest
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID, stream_record
from local.twilio_simulator.server import TwilioServer
from tests.conftest import BUCKET, Bus, Context, archive_message, capture_log, rows

Ask = Callable[..., dict[str, Any]]
Api = Callable[..., dict[str, Any]]

FORM = "application/x-www-form-urlencoded"
NAMES = [
    *("room-17", "Fall 4711", "x", "x" * 128, "苦情" * 64, "😀" * 128, "order-4155550123", "a/b?c=d&e=%41"),
    *("f47ac10b-58cc-4372-a567-012345678901", "12345678-1234-1234-1234-123456789012", "123456", "1234567890123456"),
    *("ticket 4711000123", "C++", "5 @ 6", "@room", "day-2026-11-22", "=?utf-8?q?x?=", "#17", '"', "\\", "Ω"),
]
PERSONAL = [
    *("+14155550123", "+1 (415) 555-0123", "tel:+1-415-555-0123", "whatsapp:+14155550123", "call from +14155550123"),
    *("4155550123", "(415) 555-0123", "415-555-0123", "415.555.0123", "0044 20 7946 0958", "044/668 18 00", "5550123"),
    *("Phone 415-555-0123", "tel:4155550123", "+49 (0) 30 / 123 45 67", "%2B14155550123", "\uff14\uff11" * 5),
    *("٤١٥٥٥٥٠١٢٣", "415\u2011555\u20110123", "415\u2013555\u20130123"),
    *(
        "alice@example.com",
        "Alice <alice@example.com>",
        "mailto:a@b.example",
        "alice%40example.com",
        "alice\uff20example.com",
    ),
    *("sip:alice@192.0.2.1", "a@b"),
]
ODD: list[Any] = [
    *("", "x" * 129, "line\nbreak", "tab\t", "\x00", "\ud83d", "zero\u200bwidth", "no\u00a0break"),
    *(17, 17.5, True, None, ["room-17"], {"name": "room-17"}),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_in_the_row_and_finds_it_and_twilio_never_hears_of_it(
    ask: Ask, api: Api, twilio: TwilioServer, name: str
) -> None:
    answer = ask({"Reference": name})
    ask({"Reference": "another"})

    assert answer["statusCode"] == 201, answer["body"]
    assert "Reference" not in parse_qs(twilio.twilio.requests[0].body.decode())
    (row,) = [row for row in rows() if row["recording_sid"] == answer["json"]["sid"]]
    assert row["reference"] == name
    listed = api("list-of-day-rest-api.json", query={"Reference": name})["json"]["recordings"]
    assert [(one["recording_sid"], one["reference"]) for one in listed] == [(row["recording_sid"], name)]
    assert "account_reference" not in listed[0]


@pytest.mark.parametrize("name", [*PERSONAL, *ODD], ids=repr)
def test_what_is_no_name_or_looks_personal_is_refused_and_nothing_is_sent(
    ask: Ask, api: Api, twilio: TwilioServer, name: object
) -> None:
    answer = ask({"Reference": name})

    assert (answer["statusCode"], answer["json"]["type"]) == (400, "urn:problem:call-recording:invalid-request")
    assert [error["field"] for error in answer["json"]["errors"]] == ["Reference"]
    assert twilio.twilio.requests == []
    if isinstance(name, str) and name != "\ud83d":
        assert api("list-of-day-rest-api.json", query={"Reference": name})["statusCode"] == 400


@pytest.mark.parametrize("name", ["+14155550123", "alice@example.com", 17, ""])
def test_an_event_with_what_is_no_name_becomes_a_failure_event_that_does_not_repeat_it(
    start_recording: ModuleType, put_event: Callable[..., None], twilio: TwilioServer, bus: Bus, name: object
) -> None:
    log = capture_log(start_recording)

    put_event(detail={"CallSid": CALL_SID, "Reference": name})

    (failure,) = bus.events()
    assert (failure["reason"], [error["field"] for error in failure["errors"]]) == ("invalid-request", ["Reference"])
    assert "reference" not in failure
    assert twilio.twilio.requests == []
    if isinstance(name, str) and name:
        assert name not in log.getvalue() + json.dumps(failure)


def test_a_form_and_an_event_name_a_recording_too(
    start_recording: ModuleType, sample: Callable[[str], dict[str, Any]], put_event: Callable[..., None]
) -> None:
    log = capture_log(start_recording)
    form = {"headers": {"content-type": FORM}, "body": urlencode({"Reference": "Fall 4711 ä"})}

    answer = start_recording.handler(sample("start-rest-api.json") | form, Context())
    put_event(detail={"CallSid": CALL_SID, "Reference": "room-17"})

    assert answer["statusCode"] == 201
    assert {row["reference"] for row in rows()} == {"Fall 4711 ä", "room-17"}
    assert "room-17" not in log.getvalue()
    assert "Fall" not in log.getvalue()


def test_what_an_event_asked_for_in_vain_is_told_under_its_name(
    put_event: Callable[..., None], twilio: TwilioServer, bus: Bus
) -> None:
    twilio.twilio.hang_up(CALL_SID)

    put_event(detail={"CallSid": CALL_SID, "Reference": "room-17"})

    (failure,) = bus.events()
    assert (failure["reason"], failure["reference"]) == ("call-not-in-progress", "room-17")


def test_a_name_is_part_of_the_request_and_a_request_without_one_is_the_same_as_ever(ask: Ask) -> None:
    plain = StartRequest.parse([("CallSid", CALL_SID)], default_account_sid=ACCOUNT_SID)
    assert plain.said() == {"account_sid": ACCOUNT_SID, "call_sid": CALL_SID}

    first = ask({"Reference": "room-17"}, key="key-1")
    again = ask({"Reference": "room-17"}, key="key-1")
    for other in ({"Reference": "room-18"}, {}):
        refused = ask(other, key="key-1")
        assert (refused["statusCode"], refused["json"]["type"]) == (
            422,
            "urn:problem:call-recording:idempotency-key-reused",
        )

    assert again["json"]["sid"] == first["json"]["sid"]
    assert [row["reference"] for row in rows()] == ["room-17"]


def test_names_are_an_account_s_own_and_filter_by_status_and_day_too(api: Api, table: RecordingsTable) -> None:
    other = "AC" + "f" * 32
    for number, (account, day, status) in enumerate(
        [
            (ACCOUNT_SID, 20, "completed"),
            (ACCOUNT_SID, 21, "completed"),
            (ACCOUNT_SID, 22, "absent"),
            (other, 22, "absent"),
        ]
    ):
        told = {"call_sid": CALL_SID, "start_time": f"2026-11-{day}T07:33:00Z"}
        facts = Facts(f"RE{number:032x}", account, status, "2026-11-22T08:00:00.000Z", told)
        table.record(facts.asked_for(by="http", callback_url="x", intent=f"http#{number}", reference="room-17"))

    def found(**query: str) -> list[int]:
        listed = api("list-of-day-rest-api.json", query={"Reference": "room-17"} | query)["json"]["recordings"]
        return [int(row["recording_sid"].removeprefix("RE"), 16) for row in listed]

    assert found() == [2, 1, 0]
    assert found(AccountSid=other) == [3]
    assert found(Status="completed") == [1, 0]
    assert found(Date="2026-11-21") == [1]
    assert found(From="2026-11-20", To="2026-11-21") == [1, 0]
    assert found(ConferenceSid="CF" + "1" * 32) == []
    assert found(Reference="room-1") == []


def test_every_change_tells_the_name(ask: Ask, table: RecordingsTable) -> None:
    ask({"Reference": "room-17"})
    (started,) = rows()
    completed = replace(Facts.about(started), status="completed")
    table.record(completed)
    (ended,) = rows()
    archived = ended | {"archive": {"key": "k"}, "status": "deleted", "metadata": {"New": "x" * 250_000}}

    events = [
        *change_events(stream_record(None, started, sequence_number="1")),
        *change_events(stream_record(started, ended, sequence_number="2")),
        *change_events(stream_record(ended, archived, sequence_number="3")),
    ]

    assert len(events) == 4
    for event in events:
        assert json.loads(event.detail)["reference"] == json.loads(event.least)["reference"] == "room-17"


@pytest.mark.parametrize("name", ["room-17", "Fall 4711 ä", "😀" * 128, "=?utf-8?q?x?="])
def test_the_object_names_it_and_so_does_a_failure_to_archive(
    archive_recording: ModuleType, table: RecordingsTable, twilio: TwilioServer, bus: Bus, name: str
) -> None:
    def finished(number: int) -> str:
        recording = twilio.twilio.record(twilio.twilio.calls[CALL_SID])
        recording.status, recording.duration = "completed", 1
        facts = Facts.from_recording(RecordingResource(recording.resource(status="completed"), api_url=twilio.url))
        table.record(facts.asked_for(by="http", callback_url="x", intent=f"http#{number}", reference=name))
        return str(recording.sid)

    kept, lost = finished(1), finished(2)

    archive_recording.handler({"Records": [archive_message(kept, received=12)]}, Context())
    twilio.twilio.faults.media.append("html")
    archive_recording.handler({"Records": [archive_message(lost, received=12)]}, Context())

    (stored,) = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    metadata = boto3.client("s3").head_object(Bucket=BUCKET, Key=stored["Key"])["Metadata"]
    assert unquote(metadata["reference"]) == name
    assert metadata["reference"].isascii()
    assert sum(map(len, (*metadata, *metadata.values()))) <= 2048
    (failure,) = bus.events("Call Recording Archive Failed")
    assert (failure["recording_sid"], failure["reference"]) == (lost, name)
