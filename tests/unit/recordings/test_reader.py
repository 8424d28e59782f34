"""Reading what is in the table, also what nobody here would have written, whoever else has rows under the same call."""

from typing import Any

import pytest

from call_recording.errors import RecordingNotFoundError
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import WATCHED
from call_recording.recordings.row import attributes
from call_recording.recordings.table import RecordingsTable

SID, OTHER_SID, ACCOUNT = "RE" + "1" * 32, "RE" + "2" * 32, "AC" + "1" * 32
SEEN = "2026-11-22T07:33:01.000Z"


def put(table: RecordingsTable, **row: Any) -> None:
    table.client.put_item(TableName=table.name, Item=attributes(row))


def test_a_recording_that_is_asked_for_twice_is_read_once(table: RecordingsTable) -> None:
    table.record(Facts(SID, ACCOUNT, "completed", SEEN))

    assert table.reader.statuses([SID, OTHER_SID, SID]) == {SID: "completed"}


def test_a_row_without_a_status_is_a_row(table: RecordingsTable) -> None:
    put(table, recording_sid=SID)
    put(table, recording_sid=OTHER_SID, status=7)

    assert table.reader.statuses([SID, OTHER_SID]) == {SID: "", OTHER_SID: ""}


@pytest.mark.parametrize("account_sid", [{}, {"account_sid": ["x"]}, {"account_sid": 5}], ids=str)
def test_a_row_that_names_no_account_is_of_none(table: RecordingsTable, account_sid: dict[str, Any]) -> None:
    put(table, recording_sid=SID, **account_sid)

    assert table.reader.one(SID)["recording_sid"] == SID
    with pytest.raises(RecordingNotFoundError):
        table.reader.one(SID, account_sid=ACCOUNT)


def test_of_open_rows_the_oldest_is_one_that_says_when_it_started(table: RecordingsTable) -> None:
    for number, start in enumerate(["2026-11-22T07:33:00Z", "2026-11-22T07:30:00Z", "0", "2026-99-99", "2026-11-01"]):
        put(table, recording_sid=f"RE{number:032x}", open_shard=f"open#{number}", start_time=start)

    assert table.reader.open_figures() == (5, "2026-11-22T07:30:00Z")


OTHER, CALL = "AC" + "2" * 32, "CA" + "1" * 32


@pytest.fixture
def rows(table: RecordingsTable) -> list[str]:
    """Two rows of ours and more than a megabyte of somebody else's, which come first."""
    for number in range(6):
        is_own = number in {0, 5}
        table.client.put_item(
            TableName=table.name,
            Item={
                "recording_sid": {"S": f"RE{number:032x}"},
                "account_sid": {"S": ACCOUNT if is_own else OTHER},
                "call_sid": {"S": CALL},
                "start_time": {"S": f"2026-11-22T07:33:0{number}Z"},
                "status": {"S": "paused"},
                "metadata": {"M": {"New": {"S": "x" * (10 if is_own else 380_000)}}},
            },
        )
    return [f"RE{number:032x}" for number in (5, 0)]


def test_all_rows_of_the_account_are_found_behind_those_of_others(table: RecordingsTable, rows: list[str]) -> None:
    found = table.reader.all_of_call(CALL, account_sid=ACCOUNT)

    assert [row["recording_sid"] for row in found] == rows
    assert {name for row in found for name in row} <= set(WATCHED)


def test_reading_stops_where_it_is_enough(table: RecordingsTable, rows: list[str]) -> None:
    found = table.reader.all_of_call(CALL, account_sid=ACCOUNT, is_enough=lambda: True)

    assert [row["recording_sid"] for row in found] == rows[:1]


def test_what_is_watched_is_read_as_it_is_now(table: RecordingsTable, rows: list[str]) -> None:
    found = table.reader.watched([rows[0], "RE" + "f" * 32])

    assert found == {rows[0]: {"recording_sid": rows[0], "account_sid": ACCOUNT, "status": "paused"}}
    assert table.reader.statuses(rows) == dict.fromkeys(rows, "paused")
