"""Reading: one recording, a call's, a day's, page by page, from the table alone."""

import json
from collections import Counter
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from types import ModuleType
from typing import Any

import boto3
import pytest
from itsdangerous import URLSafeSerializer

from call_recording import clients
from call_recording.recordings.facts import SHARDS, Facts
from call_recording.recordings.row import ATTRIBUTES, PUBLIC, attributes
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID
from local.twilio_simulator.server import TwilioServer
from tests.conftest import TABLE, Context, Time

Api = Callable[..., dict[str, Any]]

ONE, OF_CALL, OF_DAY = "get-rest-api.json", "list-of-call-rest-api.json", "list-of-day-rest-api.json"
OTHER_ACCOUNT = "AC" + "f" * 32
CONFERENCE, OTHER_CONFERENCE = "CF" + "1" * 32, "CF" + "2" * 32
DAY = {"AccountSid": ACCOUNT_SID, "Date": "2026-11-22"}


def recording(number: int, *, second: int | None = None, **changes: Any) -> Facts:
    start = f"2026-11-22T07:{number // 60:02d}:{number % 60 if second is None else second:02d}Z"
    facts = Facts(
        f"RE{number:032x}",
        ACCOUNT_SID,
        "in-progress",
        "2026-11-22T08:00:00.000Z",
        {"call_sid": CALL_SID, "start_time": start},
    )
    return replace(facts, **changes)


def put(table: RecordingsTable, *facts: Facts) -> None:
    for one in facts:
        table.record(one)


def sids_of(answer: dict[str, Any]) -> list[int]:
    assert answer["statusCode"] == 200, answer["body"]
    return [int(row["recording_sid"].removeprefix("RE"), 16) for row in answer["json"]["recordings"]]


def every_page(api: Api, name: str, query: dict[str, str]) -> list[int]:
    found: list[int] = []
    more: dict[str, str] = {}
    while True:
        answer = api(name, query=query | more)
        found += sids_of(answer)
        if answer["json"]["next_page_token"] is None:
            return found
        more = {"PageToken": answer["json"]["next_page_token"]}


def test_one_recording_is_its_row_without_what_is_only_ours(api: Api, table: RecordingsTable) -> None:
    facts = replace(
        recording(1),
        recording_sid=RECORDING_SID,
        told={"call_sid": CALL_SID, "start_time": "2026-11-22T07:33:00Z", "duration_seconds": 42, "channels": 2},
        metadata={"New": "x"},
    )
    put(table, facts.asked_for(by="http", callback_url="https://example.com/", intent="http#secret-key"))

    answer = api(ONE)

    assert answer["statusCode"] == 200
    assert answer["json"] == {
        "recording_sid": RECORDING_SID,
        "call_sid": CALL_SID,
        "account_sid": ACCOUNT_SID,
        "status": "in-progress",
        "status_at": {"in-progress": "2026-11-22T08:00:00.000Z"},
        "start_time": "2026-11-22T07:33:00Z",
        "duration_seconds": 42,
        "channels": 2,
        "requested_by": "http",
        "callback_url": "https://example.com/",
        "metadata": {"New": "x"},
        "expires_at": 1795332780 + 400 * 86_400,
    }
    assert answer["headers"]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "odd",
    [
        {"source": b"\xff"},
        {"track": {"a", "b"}},
        {"duration_seconds": {1, 2}, "channels": Decimal("1E+125"), "price": Decimal("0.1")},
        {"metadata": [b"x", {b"y"}], "account_sid": {"x"}},
        {"status": None, "status_at": "never"},
    ],
)
def test_a_row_that_somebody_edited_is_shown_alone_and_in_lists(
    api: Api, table: RecordingsTable, odd: dict[str, Any]
) -> None:
    put(table, recording(1), replace(recording(2), recording_sid=RECORDING_SID))
    row = table.reader.one(RECORDING_SID) | odd
    table.client.put_item(TableName=TABLE, Item=attributes(row))

    assert api(ONE)["json"].keys() == {name for name in row if name in PUBLIC}
    for name in (OF_CALL, OF_DAY):
        assert len(api(name, query=DAY if name == OF_DAY else {})["json"]["recordings"]) == 2


def test_every_attribute_of_a_row_is_either_shown_or_known_to_be_ours() -> None:
    ours = {"fact_ranks", "intent", "account_day", "open_shard", "control", "timers", "pauses_ended_at"}
    ours |= {"uploads", "deleting_until", "requested_other_call_sid", "account_reference"}

    assert ATTRIBUTES.keys() == {*PUBLIC, *ours}


def test_a_recording_that_is_not_in_the_table_is_404_and_twilio_is_not_asked(api: Api, twilio: TwilioServer) -> None:
    answer = api(ONE)

    assert (answer["statusCode"], answer["json"]["type"]) == (404, "urn:problem:call-recording:recording-not-found")
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert twilio.twilio.requests == []


def test_a_recording_of_another_account_than_the_one_named_is_404(api: Api, table: RecordingsTable) -> None:
    put(table, replace(recording(1), recording_sid=RECORDING_SID))

    assert api(ONE, query={"AccountSid": ACCOUNT_SID})["statusCode"] == 200
    assert api(ONE, query={"AccountSid": OTHER_ACCOUNT})["statusCode"] == 404


@pytest.mark.parametrize(
    ("name", "path", "query", "wrong"),
    [
        (ONE, {"RecordingSid": "RE1"}, {}, ["RecordingSid"]),
        (ONE, {"RecordingSid": RECORDING_SID + "/media"}, {}, ["RecordingSid"]),
        (ONE, None, {"Acount": "x"}, ["Acount"]),
        (OF_CALL, {"CallSid": "CA1"}, {"PageSize": "0", "Date": "2026-11-22"}, ["Date", "CallSid", "PageSize"]),
        (OF_DAY, None, {"AccountSid": "AC1", "Date": "22.11.2026"}, ["AccountSid", "Date"]),
        (OF_DAY, None, {"Date": "20261122"}, ["Date"]),
        (OF_DAY, None, {"Date": "0001-01-01"}, ["Date"]),
        (OF_DAY, None, {"PageSize": "1001", "Status": "Completed!"}, ["PageSize", "Status"]),
        (OF_DAY, None, {"PageToken": ""}, ["PageToken"]),
        (OF_DAY, None, {"From": "22.11.2026", "To": "2026-11-31"}, ["From", "To"]),
        (OF_DAY, None, {"From": "2026-11-22", "To": "2026-11-21"}, ["To"]),
        (OF_DAY, None, {"From": "2026-10-22", "To": "2026-11-22"}, ["To"]),
        (OF_DAY, None, {"From": "2026-10-22"}, ["From"]),
        (OF_DAY, None, {"To": "2026-11-22"}, ["From"]),
        (OF_DAY, None, {"Date": "2026-11-22", "From": "2026-11-22"}, ["Date"]),
        (OF_DAY, None, {"ConferenceSid": CALL_SID, "CallSid": CALL_SID}, ["CallSid", "ConferenceSid"]),
        (OF_CALL, {"CallSid": CALL_SID}, {"From": "2026-11-22", "Reference": "x"}, ["From", "Reference"]),
    ],
)
def test_every_wrong_field_is_named(
    api: Api, name: str, path: dict[str, str] | None, query: dict[str, str], wrong: list[str]
) -> None:
    answer = api(name, path=path, query=query)

    assert answer["statusCode"] == 400
    assert sorted(error["field"] for error in answer["json"]["errors"]) == sorted(wrong)


def test_a_calls_recordings_come_newest_first_and_only_theirs(api: Api, table: RecordingsTable) -> None:
    other = recording(9, told={"call_sid": "CA" + "9" * 32, "start_time": "2026-11-22T07:00:09Z"})
    put(table, recording(1), recording(3), recording(2), other)

    assert sids_of(api(OF_CALL)) == [3, 2, 1]
    assert api(OF_CALL)["json"]["next_page_token"] is None
    assert sids_of(api(OF_CALL, query={"AccountSid": OTHER_ACCOUNT})) == []
    assert every_page(api, OF_CALL, {"PageSize": "1"}) == [3, 2, 1]


def test_a_days_recordings_come_newest_first_page_by_page(api: Api, table: RecordingsTable) -> None:
    put(table, *[recording(number) for number in range(5)])
    put(table, recording(7, told={"call_sid": CALL_SID, "start_time": "2026-11-21T23:59:59Z"}))
    put(table, recording(8, account_sid=OTHER_ACCOUNT))

    assert sids_of(api(OF_DAY)) == [4, 3], "the sample asks for two"
    assert every_page(api, OF_DAY, DAY | {"PageSize": "2"}) == [4, 3, 2, 1, 0]
    assert every_page(api, OF_DAY, DAY | {"PageSize": "5"}) == [4, 3, 2, 1, 0]
    assert sids_of(api(OF_DAY, query={"Date": "2026-11-21"})) == [7], "the stack's own account"
    assert sids_of(api(OF_DAY, query={"AccountSid": OTHER_ACCOUNT})) == [8], "today"


def on(number: int, day: str, **changes: Any) -> Facts:
    return recording(number, told={"call_sid": CALL_SID, "start_time": f"{day}T23:59:59Z"}, **changes)


DAYS = {"From": "2026-10-23", "To": "2026-11-22"}


@pytest.mark.parametrize("size", ["1", "2", "3", "50"])
def test_several_days_are_one_list_newest_first_in_whatever_pages(api: Api, table: RecordingsTable, size: str) -> None:
    put(table, on(1, "2026-10-22"), on(2, "2026-10-23"), on(3, "2026-11-02"), on(4, "2026-11-02"), on(5, "2026-11-22"))
    put(
        table, on(6, "2026-11-23"), on(7, "2026-11-02", account_sid=OTHER_ACCOUNT), on(8, "2026-11-21", status="failed")
    )

    found = every_page(api, OF_DAY, DAYS | {"PageSize": size})
    failed = every_page(api, OF_DAY, DAYS | {"PageSize": size, "Status": "failed"})

    assert found == [5, 8, 4, 3, 2], "of two that began in the same second the greater SID comes first"
    assert failed == [8]
    assert every_page(api, OF_DAY, {"From": "2026-11-21", "To": "2026-11-21"}) == [8]
    assert every_page(api, OF_DAY, {"From": "2026-11-21"}) == [5, 8], "until today"
    assert every_page(api, OF_DAY, {"From": "2026-11-23"}) == [6], "whatever our clock says"


def test_a_page_of_several_days_ends_where_the_answer_would_be_too_large(api: Api, table: RecordingsTable) -> None:
    large = {"metadata": {"New": "\x01" * 150_000}}
    put(table, *[on(number, f"2026-11-{number:02d}", **large) for number in range(1, 9)])

    first = api(OF_DAY, query=DAYS)

    assert 0 < len(sids_of(first)) < 8
    assert every_page(api, OF_DAY, DAYS) == [8, 7, 6, 5, 4, 3, 2, 1]


def test_a_conference_s_recordings_are_listed_whosever_they_are_unless_an_account_is_named(
    api: Api, table: RecordingsTable
) -> None:
    for number in range(6):
        told = {
            "conference_sid": CONFERENCE if number else OTHER_CONFERENCE,
            "start_time": f"2026-11-2{number}T07:00:00Z",
        }
        put(table, recording(number, told=told, account_sid=OTHER_ACCOUNT if number == 3 else ACCOUNT_SID))
    of_it = {"ConferenceSid": CONFERENCE}

    assert every_page(api, OF_DAY, of_it | {"PageSize": "2"}) == [5, 4, 3, 2, 1]
    assert every_page(api, OF_DAY, of_it | {"AccountSid": ACCOUNT_SID, "PageSize": "1"}) == [5, 4, 2, 1]
    assert every_page(api, OF_DAY, of_it | {"Date": "2026-11-23"}) == [3]
    assert every_page(api, OF_DAY, of_it | {"From": "2026-11-21", "To": "2026-11-22"}) == [2, 1]
    assert every_page(api, OF_DAY, of_it | {"Status": "completed"}) == []
    (row, *_) = api(OF_DAY, query=of_it)["json"]["recordings"]
    assert row["conference_sid"] == CONFERENCE
    assert "call_sid" not in row


def test_a_list_that_ends_with_a_full_page_says_so(api: Api, table: RecordingsTable) -> None:
    put(table, recording(1), recording(2))

    assert api(OF_DAY)["json"]["next_page_token"] is None


def test_pages_do_not_shift_while_rows_arrive(api: Api, table: RecordingsTable) -> None:
    put(table, *[recording(number) for number in range(10, 16)])
    first = api(OF_DAY)

    put(table, recording(30), recording(1))
    rest = every_page(api, OF_DAY, DAY | {"PageSize": "2", "PageToken": first["json"]["next_page_token"]})

    assert sids_of(first) + rest == [15, 14, 13, 12, 11, 10, 1]


def test_recordings_that_began_in_the_same_second_are_all_listed(api: Api, table: RecordingsTable) -> None:
    put(table, *[recording(number, second=7) for number in range(7)])

    assert every_page(api, OF_DAY, DAY | {"PageSize": "2"}) == list(reversed(range(7)))


def test_a_status_filters_the_day_and_pages_are_still_full(api: Api, table: RecordingsTable) -> None:
    for number in range(12):
        put(table, recording(number, status="completed" if number % 4 == 0 else "in-progress"))

    answer = api(OF_DAY, query=DAY | {"PageSize": "2", "Status": "completed"})

    assert sids_of(answer) == [8, 4]
    assert every_page(api, OF_DAY, DAY | {"PageSize": "2", "Status": "completed"}) == [8, 4, 0]
    assert every_page(api, OF_DAY, DAY | {"PageSize": "1", "Status": "completed"}) == [8, 4, 0]


def test_a_filter_looks_at_a_hundred_rows_at_a_time_and_not_at_a_page(api: Api, table: RecordingsTable) -> None:
    put(table, recording(1, status="failed"), *[recording(number) for number in range(2, 60)])
    asked: list[str] = []
    clients.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))

    answer = api(OF_DAY, query=DAY | {"PageSize": "1", "Status": "failed"})

    assert (sids_of(answer), Counter(asked)) == ([1], {"Query": SHARDS + 1, "BatchGetItem": 1})


@pytest.fixture
def token(api: Api, table: RecordingsTable) -> str:
    put(table, *[recording(number) for number in range(5)])
    return str(api(OF_DAY)["json"]["next_page_token"])


def refused(answer: dict[str, Any]) -> bool:
    return answer["statusCode"] == 400 and [error["field"] for error in answer["json"]["errors"]] == ["PageToken"]


def test_a_tampered_token_is_400(api: Api, token: str) -> None:
    payload, _, signature = token.rpartition(".")
    later = api(OF_DAY, query=DAY | {"PageSize": "1", "PageToken": token})["json"]["next_page_token"]
    position = {"recording_sid": RECORDING_SID, "account_day": f"{OTHER_ACCOUNT}#2026-11-22", "start_time": "2026"}
    forged = URLSafeSerializer("a guess", salt=f"day {ACCOUNT_SID} 2026-11-22 ").dumps(position)

    assert not refused(api(OF_DAY, query=DAY | {"PageToken": token}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": f"{later.rpartition('.')[0]}.{signature}"}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": forged}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": f"{payload}.{signature[::-1]}"}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": "x" * 2049}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": "ä"}))
    assert refused(api(OF_DAY, query=DAY | {"PageToken": "\ud800"}))


@pytest.mark.parametrize(
    ("name", "query"),
    [
        (OF_DAY, {"AccountSid": OTHER_ACCOUNT, "Date": "2026-11-22"}),
        (OF_DAY, {"AccountSid": ACCOUNT_SID, "Date": "2026-11-21"}),
        (OF_DAY, DAY | {"Status": "completed"}),
        (OF_CALL, {}),
        (OF_DAY, {"AccountSid": ACCOUNT_SID, "From": "2026-11-22", "To": "2026-11-22"}),
        (OF_DAY, DAY | {"Reference": "room-17"}),
        (OF_DAY, DAY | {"ConferenceSid": CONFERENCE}),
    ],
    ids=["account", "day", "status", "call", "days", "reference", "conference"],
)
def test_a_token_of_another_list_is_400(api: Api, token: str, name: str, query: dict[str, str]) -> None:
    assert refused(api(name, query=query | {"PageToken": token}))


def test_a_token_of_another_stack_is_400(api: Api, token: str, time: Time) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="page-tokens", SecretString="other" * 16)
    time.turn(3601)  # the key is read again

    assert refused(api(OF_DAY, query=DAY | {"PageToken": token}))


def test_lists_query_an_index_and_never_scan(api: Api, table: RecordingsTable, monkeypatch: pytest.MonkeyPatch) -> None:
    put(table, *[recording(number) for number in range(3)])
    asked: list[str] = []
    clients.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))

    every_page(api, OF_DAY, DAY | {"PageSize": "2"})
    every_page(api, OF_CALL, {"PageSize": "2"})
    api(ONE)

    of_day, of_call = [*["Query"] * (SHARDS + 1), "BatchGetItem"], ["Query", "BatchGetItem"]
    # The call's second page ends in the index of calls that were asked for.
    assert asked == [*of_day, *of_day, *of_call, *of_call, "Query", "GetItem"]


def test_a_table_that_does_not_answer_is_503(api: Api) -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)

    for name in (ONE, OF_CALL, OF_DAY):
        answer = api(name)
        assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "1")


def test_a_missing_token_key_is_503_where_it_is_needed(api: Api, table: RecordingsTable) -> None:
    boto3.client("secretsmanager").delete_secret(SecretId="page-tokens", ForceDeleteWithoutRecovery=True)
    put(table, *[recording(number) for number in range(3)])

    assert api(OF_DAY)["statusCode"] == 503
    assert api(OF_DAY, query=DAY)["statusCode"] == 200


def test_a_route_behind_a_base_path_is_found(
    recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]]
) -> None:
    event = sample(ONE)
    event["path"] = "/recordings/v2" + event["path"]

    answer = recordings_api.handler(event, Context())

    assert json.loads(answer["body"])["type"].endswith(":recording-not-found")


def test_a_route_that_there_is_not_is_404(recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]]) -> None:
    answer = recordings_api.handler(sample(ONE) | {"resource": "/other"}, Context())

    assert (answer["statusCode"], json.loads(answer["body"])["title"]) == (404, "There is no such route")
