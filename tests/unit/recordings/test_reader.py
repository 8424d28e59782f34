"""Reading what is in the table, also what nobody here would have written."""

from typing import Any

import pytest

from call_recording.errors import RecordingNotFoundError
from call_recording.recordings.facts import Facts
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
