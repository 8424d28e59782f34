"""What somebody is told who has made a small mistake: enough to make it right without looking it up."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from call_recording.http.request import FORM, JSON
from call_recording.recordings.facts import Facts
from call_recording.recordings.statuses import ORDER
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from tests.conftest import Context

Api = Callable[..., dict[str, Any]]
Sample = Callable[[str], dict[str, Any]]

START, CONTROL, MEDIA = "start-rest-api.json", "control-rest-api.json", "media-rest-api.json"
OF_DAY, OF_CALL, GET, DELETE = (
    *("list-of-day-rest-api.json", "list-of-call-rest-api.json"),
    *("get-rest-api.json", "delete-rest-api.json"),
)


@pytest.fixture
def told(start_recording: ModuleType, recordings_api: ModuleType, sample: Sample) -> Callable[..., dict[str, str]]:
    """Return a function that sends a mistaken request, and gives the mistakes that the answer names."""

    def send(
        name: str,
        body: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        path: dict[str, str] | None = None,
    ) -> dict[str, str]:
        event = sample(name)
        if body is not None:
            event["body"] = body
        event["headers"] = {"Content-Type": JSON} | (headers or {})
        event["multiValueHeaders"] = {}
        event["pathParameters"] = (event["pathParameters"] or {}) | (path or {})
        event["multiValueQueryStringParameters"] = {name: [value] for name, value in (query or {}).items()}
        function = start_recording if name == START else recordings_api
        answer = function.handler(event, Context())
        assert answer["statusCode"] == 400, answer["body"]
        return {error["field"]: error["message"] for error in json.loads(answer["body"])["errors"]}

    return send


Told = Callable[..., dict[str, str]]


@pytest.mark.parametrize(
    ("event", "given", "meant"),
    [
        (START, "RecordingChanels", "RecordingChannels"),
        (START, "recordingChannels", "RecordingChannels"),
        (START, "recording_channels", "RecordingChannels"),
        (START, "StatusCallback", "RecordingStatusCallback"),
        (START, "trim", "Trim"),
        (CONTROL, "status", "Status"),
        (CONTROL, "PauseBehaviour", "PauseBehavior"),
        (CONTROL, "AutoResum", "AutoResume"),
    ],
)
def test_a_mistyped_field_is_told_with_the_one_that_was_probably_meant(
    told: Told, event: str, given: str, meant: str
) -> None:
    assert told(event, json.dumps({given: "x"}))[given] == f"unknown field; did you mean {meant}?"


@pytest.mark.parametrize(
    ("event", "given", "meant"),
    [
        (OF_DAY, "status", "Status"),
        (OF_DAY, "Dat", "Date"),
        (OF_DAY, "page_size", "PageSize"),
        (OF_CALL, "pageToken", "PageToken"),
        (GET, "accountsid", "AccountSid"),
        (DELETE, "AcountSid", "AccountSid"),
        (MEDIA, "ExpiresInSeconds", "ExpiresIn"),
        (MEDIA, "Reasons", "Reason"),
    ],
)
def test_so_is_a_mistyped_parameter_of_a_query(told: Told, event: str, given: str, meant: str) -> None:
    assert told(event, query={given: "x"})[given] == f"unknown field; did you mean {meant}?"


@pytest.mark.parametrize(
    ("event", "field", "given", "meant"),
    [
        (START, "RecordingChannels", "Dual", "dual"),
        (START, "RecordingTrack", "in-bound", "inbound"),
        (START, "RecordingStatusCallbackMethod", "post", "POST"),
        (START, "RecordingStatusCallbackEvent", "complete", "completed"),
        (START, "Trim", "dont-trim", "do-not-trim"),
        (CONTROL, "Status", "pause", "paused"),
        (CONTROL, "Status", "inprogress", "in-progress"),
        (CONTROL, "PauseBehavior", "silent", "silence"),
        (CONTROL, "AutoResume", "True", "true"),
    ],
)
def test_a_mistyped_value_is_told_with_all_that_there_are_and_the_one_that_was_probably_meant(
    told: Told, event: str, field: str, given: str, meant: str
) -> None:
    message = told(event, json.dumps({field: given}))[field]

    assert message.startswith("must be ")
    assert message.endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize("given", ["complete", "Completed", "COMPLETED"])
def test_a_list_by_a_status_that_there_is_not_is_refused_and_not_empty(told: Told, given: str) -> None:
    message = told(OF_DAY, query={"Status": given})["Status"]

    assert message == f"must be one of {', '.join(ORDER)}; did you mean completed?"


@pytest.mark.parametrize(
    ("given", "meant"), [("all", "ALL"), ("twilio.current", "Twilio.CURRENT"), ("TwilioCurrent", "Twilio.CURRENT")]
)
def test_a_mistyped_word_in_place_of_a_sid_is_told_too(told: Told, given: str, meant: str) -> None:
    message = told(CONTROL, '{"Status": "paused"}', path={"RecordingSid": given})["RecordingSid"]

    assert message == (f"must be Twilio.CURRENT, or ALL, or a SID: RE and 32 hexadecimal digits; did you mean {meant}?")


def test_a_pause_of_all_tells_of_its_own_words(told: Told) -> None:
    messages = told(CONTROL, '{"Status": "Paused", "ConferenceSid": "None"}', path={"RecordingSid": "ALL"})

    assert messages["Status"].endswith("; did you mean paused?")
    assert messages["ConferenceSid"].endswith("; did you mean none?")


@pytest.mark.parametrize("given", ["x", "", "Zzz", "x" * 101, "Ω"])
def test_what_is_like_nothing_is_told_without_a_guess(told: Told, given: str) -> None:
    assert "did you mean" not in str(told(START, json.dumps({given: "x", "RecordingChannels": given})))


def test_thousands_of_unknown_fields_cost_no_thousands_of_comparisons(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = Mock(return_value=[])
    monkeypatch.setattr("difflib.get_close_matches", compared)

    told(START, json.dumps({f"f{number}": 1 for number in range(3000)}))

    assert compared.call_count == 50


@pytest.mark.parametrize("header", ["X-Idempotency-Key", "Idempotence-Key", "idempotency_key", "IdempotencyKey"])
@pytest.mark.parametrize(("event", "body"), [(START, "{}"), (CONTROL, '{"Status": "stopped"}')])
def test_a_mistyped_idempotency_key_is_refused_because_a_repetition_would_record_twice(
    told: Told, header: str, event: str, body: str
) -> None:
    told_of = told(event, body, headers={header: "one"})

    assert told_of == {header.lower(): "unknown header; did you mean Idempotency-Key?"}


def test_headers_that_are_only_a_little_alike_are_nobody_s_business(ask: Api) -> None:
    answer = ask({}, headers={"Content-Type": JSON, "X-Api-Key": "x", "X-Identity": "x", "X-Idem-Trace": "x"})

    assert answer["statusCode"] == 201


def test_a_key_with_a_blank_is_told_that_there_may_be_none(told: Told) -> None:
    message = told(START, "{}", headers={"Idempotency-Key": "a b"})["Idempotency-Key"]

    assert message == "must be 1 to 255 visible ASCII characters, without spaces"


@pytest.mark.parametrize("body", ['{"Trim": "do-not-trim"}', ' \n{"Trim": "do-not-trim"}', "[]", "{", '{"a=b": 1}'])
def test_json_that_is_sent_as_a_form_is_told_which_header_is_missing(told: Told, body: str) -> None:
    """Curl says of every body that it is a form."""
    message = told(START, body, headers={"Content-Type": FORM})["body"]

    assert message == "looks like JSON; send the header Content-Type: application/json with it"


@pytest.mark.parametrize("body", ["Trim=do-not-trim", "Status=paused&ResumeWithinSeconds=60"])
def test_a_form_that_is_sent_as_json_is_told_so_too(told: Told, body: str) -> None:
    message = told(START, body)["body"]

    assert message == "looks like a form; send the header Content-Type: application/x-www-form-urlencoded with it"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"Trim": }', "is not JSON, at line 1, column 10: Expecting value"),
        (
            '{\n  "Trim": "do-not-trim",\n}',
            "is not JSON, at line 2, column 24: Illegal trailing comma before end of object",
        ),
        ("{'Trim': 1}", "is not JSON, at line 1, column 2: Expecting property name enclosed in double quotes"),
        ('{"Trim": "a', "is not JSON, at line 1, column 10: Unterminated string starting at"),
        ('{"Trim": NaN}', "is not JSON: NaN is not a number in JSON"),
        ("[" * 60_000, "is nested too deeply"),
        ('{"WaitSeconds": ' + "9" * 5000 + "}", "has a number that is too long"),
        ("[]", "is not a JSON object"),
    ],
)
def test_broken_json_is_told_where_it_breaks(told: Told, body: str, message: str) -> None:
    assert told(START, body)["body"] == message


def test_a_parameter_in_the_query_of_a_start_is_told_where_it_belongs(told: Told) -> None:
    message = told(START, "{}", query={"RecordingChannels": "dual"})["RecordingChannels"]

    assert message == "unknown in the query; only AccountSid is allowed there, everything else belongs in the body"


# --- audio that is not there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "audio"),
    [
        *(("in-progress", "recording"), ("paused", "recording"), ("stopped", "processing")),
        *(("processing", "processing"), ("completed", "archiving"), ("absent", "none"), ("failed", "none")),
        *(("deleted", "deleted"), ("a-later-one", "recording")),
    ],
)
def test_audio_that_is_not_archived_is_told_why(api: Api, table: RecordingsTable, status: str, audio: str) -> None:
    table.record(facts(status))

    answer = api(MEDIA)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:not-archived")
    assert answer["json"]["audio"] == audio
    assert RECORDING_SID in answer["json"]["detail"]


@pytest.mark.parametrize(
    ("status", "audio"), [("in-progress", "switched-off"), ("completed", "switched-off"), ("deleted", "deleted")]
)
def test_a_stack_that_archives_nothing_says_so(
    api: Api, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch, status: str, audio: str
) -> None:
    monkeypatch.setenv("ARCHIVE_RECORDINGS", "false")
    table.record(facts(status))

    assert api(MEDIA)["json"]["audio"] == audio


def facts(status: str) -> Facts:
    told = {"call_sid": CALL_SID, "start_time": "2026-11-22T07:33:00Z"}
    return Facts(RECORDING_SID, ACCOUNT_SID, status, "2026-11-22T08:00:00.000Z", told)


# --- the end of an answer ---------------------------------------------------------------------------


def test_every_answer_ends_with_a_line_break(
    ask: Api, api: Api, table: RecordingsTable, recording_status: ModuleType, sample: Sample
) -> None:
    table.record(facts("completed"))
    unsigned = sample("callback-post-completed.json") | {"headers": {}}

    answers = [
        *(ask({}, key="one"), ask({}, key="one"), ask({"Unknown": 1})),
        *(api(GET), api(OF_DAY), api(OF_CALL), api(MEDIA), api(DELETE), api(CONTROL, {"Status": "paused"})),
        *(api(GET, path={"RecordingSid": "x"}), recording_status.handler(unsigned, Context())),
    ]

    assert {answer["statusCode"] for answer in answers} >= {200, 201, 400, 403, 404}
    assert [answer["body"] for answer in answers if not answer["body"].endswith("}\n")] == []
