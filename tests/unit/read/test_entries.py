"""The order of a list over partitions: whatever comes in between pages, nothing is given twice or left out."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording.read.entries import Entry, Part
from call_recording.recordings.facts import sharded, shards_of
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import attributes
from call_recording.recordings.table import RecordingsTable
from tests.conftest import TABLE
from tests.simulation import dynamodb


class WithoutTheWire:
    """moto's DynamoDB, asked directly: hundreds of lists would take minutes otherwise."""

    def query(self, **asked: Any) -> Any:
        return dynamodb.answer("Query", asked)


@dataclass(frozen=True)
class Day:
    """What one account has of one day; every day of a test is another account's."""

    key: str

    def put(self, entry: Entry, *, is_of_before: bool = False) -> None:
        """Put a row where it belongs, or where the version before would have put it."""
        partition = self.key if is_of_before else sharded(self.key, entry.recording_sid)
        row = {"recording_sid": entry.recording_sid, "start_time": entry.start_time, "account_day": partition}
        dynamodb.answer("PutItem", {"TableName": TABLE, "Item": attributes(row)})

    def page(self, *, behind: Entry | None, size: int) -> list[Entry]:
        reader = RecordingsReader(WithoutTheWire(), TABLE)  # type: ignore[arg-type]
        part = Part("by-account-day", "account_day", (*shards_of(self.key), self.key))
        return list(islice(part.entries(reader, behind=behind, most=size), size))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Recordings of a few seconds, so that many began in the same one."""
    return Entry(f"2026-11-22T07:33:0{draw(st.integers(0, 3))}Z", f"RE{draw(st.integers(0, 10**6)):032x}")


@pytest.fixture
def numbers(table: RecordingsTable) -> list[str]:
    """The days that were taken."""
    return []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(st.tuples(entries(), st.booleans()), max_size=30), min_size=1, max_size=6),
    size=st.integers(1, 7),
)
def test_pages_are_one_list_newest_first_whatever_comes_in_between(
    numbers: list[str], batches: list[list[tuple[Entry, bool]]], size: int
) -> None:
    """A plain list is the model: of what is there before a page is read, all behind the last page's end is in it."""
    numbers.append("another")
    day, model = Day(f"AC{len(numbers):032x}#2026-11-22"), dict[str, Entry]()
    listed: list[Entry] = []
    coming = iter(batches)
    while True:
        for entry, is_of_before in next(coming, []):
            if entry.recording_sid not in model:
                model[entry.recording_sid] = entry
                day.put(entry, is_of_before=is_of_before)
        behind = listed[-1] if listed else None

        page = day.page(behind=behind, size=size)

        expected = sorted((one for one in model.values() if behind is None or one < behind), reverse=True)
        assert page == expected[:size]
        listed += page
        if not page:
            break
    assert listed == sorted(set(listed), reverse=True)


def test_more_than_is_read_at_a_time_of_one_second_is_listed_in_order(table: RecordingsTable) -> None:
    day = Day("AC" + "e" * 32 + "#2026-11-22")
    of_a_second = [Entry("2026-11-22T07:33:00Z", f"RE{number:032x}") for number in range(150)]
    for entry in of_a_second:
        day.put(entry)

    found: list[Entry] = []
    while page := day.page(behind=found[-1] if found else None, size=40):
        found += page

    assert found == list(reversed(of_a_second))


def test_a_row_that_moves_from_the_partition_of_before_into_its_shard_is_listed_once(table: RecordingsTable) -> None:
    """An index can show both for a moment."""
    day, entry = Day("AC" + "e" * 32 + "#2026-11-22"), Entry("2026-11-22T07:33:00Z", "RE" + "1" * 32)

    class Both(WithoutTheWire):
        def query(self, **_: Any) -> Any:
            return {"Items": [attributes({"recording_sid": entry.recording_sid, "start_time": entry.start_time})]}

    part = Part("by-account-day", "account_day", (*shards_of(day.key), day.key))

    assert list(part.entries(RecordingsReader(Both(), TABLE), behind=None, most=10)) == [entry]  # type: ignore[arg-type]


def test_a_list_asks_for_about_as_much_as_it_shows(table: RecordingsTable, monkeypatch: pytest.MonkeyPatch) -> None:
    day = Day("AC" + "e" * 32 + "#2026-11-22")
    for number in range(400):
        day.put(Entry(f"2026-11-22T07:{number // 60:02d}:{number % 60:02d}Z", f"RE{number:032x}"))
    read: list[int] = []

    def counted(self: WithoutTheWire, **asked: Any) -> Any:
        answer = dynamodb.answer("Query", asked)
        read.append(len(answer["Items"]))
        return answer

    monkeypatch.setattr(WithoutTheWire, "query", counted)

    assert len(day.page(behind=None, size=51)) == 51
    assert sum(read) < 3 * 51
    assert boto3.client("dynamodb").describe_table(TableName=TABLE)["Table"]["ItemCount"] == 400
