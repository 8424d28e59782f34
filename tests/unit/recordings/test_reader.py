"""What is read of a call's rows, whoever else has rows under the same call."""

import pytest

from call_recording.recordings.reader import WATCHED
from call_recording.recordings.table import RecordingsTable

ACCOUNT, OTHER, CALL = "AC" + "1" * 32, "AC" + "2" * 32, "CA" + "1" * 32


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
