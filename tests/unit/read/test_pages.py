"""A page of a list is never larger than an answer can be, and no row of it is skipped."""

import json
from collections.abc import Callable
from copy import replace
from math import ceil
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording.http.responses import json_response
from call_recording.read.page_tokens import PageTokens
from call_recording.read.pages import MOST_BYTES, Pages
from call_recording.read.request import LARGEST_PAGE, CallList, DayList
from call_recording.recordings.facts import account_day, sharded
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import attributes, public
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID
from tests.conftest import TABLE
from tests.simulation import dynamodb
from tests.write_units import size

MOST_OF_LAMBDA = 6 * 1024 * 1024
DAY = "2026-11-22"
Listed = Callable[..., list[list[str]]]


@pytest.fixture
def listed(table: RecordingsTable) -> Listed:
    """Return a function that goes through a list, and gives the recordings of each page: each fits through Lambda."""
    key = boto3.client("secretsmanager").create_secret(Name="page-tokens", SecretString="k" * 64)["ARN"]
    pages = Pages(table.reader, PageTokens(boto3.client("secretsmanager"), key))

    def every_page(*, status: str | None = None, of_call: bool = False) -> list[list[str]]:
        found: list[list[str]] = []
        token: str | None = None
        while True:
            if of_call:
                wanted = CallList(page_size=LARGEST_PAGE, page_token=token, call_sid=CALL_SID)
                rows, token = pages.of_call(wanted)
            else:
                of_day = DayList(
                    page_size=LARGEST_PAGE, page_token=token, account_sid=ACCOUNT_SID, day=DAY, status=status
                )
                rows, token = pages.of_day(of_day)
            answer = json_response(200, {"recordings": [public(row) for row in rows], "next_page_token": token})
            assert len(json.dumps(answer)) < MOST_OF_LAMBDA
            found.append([row["recording_sid"] for row in rows])
            if token is None:
                return found

    return every_page


def put(table: RecordingsTable, count: int, **more: Any) -> list[str]:
    """Put rows of one day and call, and return their SIDs, the newest first."""
    for number in range(count):
        put_one(table, number, **more)
    return [f"RE{number:032x}" for number in reversed(range(count))]


def put_one(table: RecordingsTable, number: int, **more: Any) -> None:
    row = {
        "recording_sid": f"RE{number:032x}",
        "account_sid": ACCOUNT_SID,
        "account_day": f"{ACCOUNT_SID}#{DAY}",
        "call_sid": CALL_SID,
        "start_time": f"{DAY}T07:{number // 60:02d}:{number % 60:02d}Z",
        "status": "completed",
    }
    table.client.put_item(TableName=table.name, Item=attributes(row | more))


@pytest.mark.parametrize("character", ["é", "\x01", '"', "🎙"])
def test_a_page_ends_early_where_the_answer_would_be_too_large(
    table: RecordingsTable, listed: Listed, character: str
) -> None:
    sids = put(table, 18, metadata={"New": character * (350_000 // len(character.encode()))})

    for pages in (listed(), listed(status="completed"), listed(of_call=True)):
        assert [sid for page in pages for sid in page] == sids
        assert all(pages[:-1])
    assert any(len(page) > 1 for page in listed(status="completed"))


def test_rows_that_somebody_edited_are_listed_with_the_others(table: RecordingsTable, listed: Listed) -> None:
    sids = put(table, 3, source={b"x"}, track=b"\xff", duration_seconds={"a", "b"}, status={"completed"})

    assert listed() == [sids]


def test_the_largest_row_fits_alone(table: RecordingsTable, listed: Listed) -> None:
    sids = put(table, 2, source="\x01" * 390_000)

    assert [sid for page in listed() for sid in page] == sids
    assert len(json.dumps(json.dumps("\x01" * 409_600))) < MOST_BYTES


def test_a_page_of_a_busy_day_costs_a_unit_for_each_row_and_some_for_the_keys_of_each_partition(
    table: RecordingsTable,
) -> None:
    """What docs/explanation/scale.md says; an index's keys are read eventually, its rows strongly, by 4 KB."""
    for number in range(160):
        sid = f"RE{number:032x}"
        put_one(table, number, account_day=sharded(f"{ACCOUNT_SID}#{DAY}", sid), metadata={"More": "x" * 900})
    keys: list[float] = []
    rows: list[int] = []

    def queried(parsed: dict[str, Any], **_: object) -> None:
        keys.append(max(1, ceil(sum(map(size, parsed["Items"])) / 4096)) / 2)

    def read(parsed: dict[str, Any], **_: object) -> None:
        rows.extend(ceil(size(item) / 4096) for item in parsed["Responses"][table.name])

    table.client.meta.events.register("after-call.dynamodb.Query", queried)
    table.client.meta.events.register("after-call.dynamodb.BatchGetItem", read)
    secret = boto3.client("secretsmanager").create_secret(Name="page-tokens", SecretString="k" * 64)["ARN"]
    pages = Pages(table.reader, PageTokens(boto3.client("secretsmanager"), secret))

    listed, _ = pages.of_day(DayList(page_size=50, page_token=None, account_sid=ACCOUNT_SID, day=DAY, status=None))

    assert [row["recording_sid"] for row in listed] == [f"RE{number:032x}" for number in reversed(range(110, 160))]
    assert sum(rows) in {50, 51}
    assert len(keys) == 5
    assert sum(keys) <= 5


class WithoutTheWire:
    """moto's DynamoDB, asked directly: lists by the hundred would take minutes otherwise."""

    def query(self, **asked: Any) -> Any:
        return dynamodb.answer("Query", asked)

    def batch_get_item(self, **asked: Any) -> Any:
        return dynamodb.answer("BatchGetItem", asked)


@pytest.fixture
def accounts() -> list[str]:
    """The accounts that were taken: each list has its own."""
    return []


_rows = st.lists(
    st.tuples(
        st.sampled_from(["2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z", "2026-11-22T00:00:01Z"]),
        st.integers(0, 10**6).map("RE{:032x}".format),
        st.sampled_from(["completed", "in-progress"]),
        st.booleans(),
    ),
    max_size=25,
    unique_by=lambda row: row[1],
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=_rows,
    later=st.lists(_rows, max_size=4),
    size=st.integers(1, 6),
    status=st.none() | st.just("completed"),
)
def test_several_days_are_listed_whole_and_in_order_while_rows_come_in(
    listed: Listed,
    accounts: list[str],
    first: list[tuple[str, str, str, bool]],
    later: list[list[tuple[str, str, str, bool]]],
    size: int,
    status: str | None,
) -> None:
    """`first` is there before; some of it where the version before would have put it."""
    accounts.append(account := f"AC{len(accounts):032x}")
    tokens = PageTokens(boto3.client("secretsmanager"), "page-tokens")
    pages = Pages(RecordingsReader(WithoutTheWire(), TABLE), tokens)  # type: ignore[arg-type]
    days = DayList(page_size=size, account_sid=account, day="2026-11-22", first_day="2026-11-21", status=status)
    there: dict[tuple[str, str], str] = {}

    def put_rows(rows: list[tuple[str, str, str, bool]]) -> None:
        for start, sid, held, is_of_before in rows:
            if any(sid == other for _, other in there):
                continue
            there[start, sid] = held
            day = account_day(account, start)
            row = {"recording_sid": sid, "account_sid": account, "start_time": start, "status": held}
            row["account_day"] = day if is_of_before else sharded(day, sid)
            dynamodb.answer("PutItem", {"TableName": TABLE, "Item": attributes(row)})

    put_rows(first)
    wanted = [place for place, held in there.items() if status in {None, held}]
    found: list[tuple[str, str]] = []
    coming, token = iter(later), None
    while True:
        rows, token = pages.of_day(replace(days, page_token=token))
        found += [(row["start_time"], row["recording_sid"]) for row in rows]
        assert len(rows) <= size
        if token is None:
            break
        put_rows(next(coming, []))

    assert found == sorted(set(found), reverse=True)
    assert set(wanted) <= set(found)
    assert all(status in {None, there[place]} for place in found)
