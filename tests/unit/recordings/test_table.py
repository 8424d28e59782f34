"""What the table costs, what it refuses, and what its indexes hold."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import replace
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording.errors import (
    ForeignAccountError,
    MergeContentionError,
    RecordingNotFoundError,
    TableUnavailableError,
    UnstorableFactsError,
)
from call_recording.recordings.facts import BY_HTTP, Facts, sharded
from call_recording.recordings.row import ATTRIBUTES, KEY, attributes
from call_recording.recordings.table import RecordingsTable

SID, ACCOUNT, CALL = "RE" + "1" * 32, "AC" + "1" * 32, "CA" + "1" * 32
OTHER_CALL, CONFERENCE = "CA" + "2" * 32, "CF" + "1" * 32
TOLD = {"call_sid": CALL, "channels": 2, "start_time": "2026-11-22T07:33:00Z"}
ANSWER = Facts(SID, ACCOUNT, "in-progress", "2026-11-22T07:33:01.000Z", TOLD, requested_by=BY_HTTP)
IN_PROGRESS = Facts(SID, ACCOUNT, "in-progress", "2026-11-22T07:33:02.000Z", TOLD | {"track": "both"})
COMPLETED = Facts(SID, ACCOUNT, "completed", "2026-11-22T07:34:00.000Z", TOLD | {"duration_seconds": 42})


@contextmanager
def counted(table: RecordingsTable) -> Iterator[list[str]]:
    """Give the names of the operations sent to DynamoDB."""
    sent: list[str] = []
    events = table.client.meta.events
    events.register("before-call.dynamodb", lambda model, **_: sent.append(model.name), unique_id="counted")
    yield sent
    events.unregister("before-call.dynamodb", unique_id="counted")


IN_PROGRESS_AS_USUAL = replace(IN_PROGRESS, told=TOLD)


def test_each_usual_report_costs_one_request_and_a_write_only_if_it_says_something_new(table: RecordingsTable) -> None:
    for report, expected in ((ANSWER, "PutItem"), (IN_PROGRESS_AS_USUAL, "GetItem"), (COMPLETED, "UpdateItem")):
        with counted(table) as sent:
            table.record(report)

        assert sent == [expected]


def test_that_the_request_named_the_call_costs_nothing_more(table: RecordingsTable) -> None:
    for report, expected in ((ANSWER, "PutItem"), (IN_PROGRESS_AS_USUAL, "GetItem"), (COMPLETED, "UpdateItem")):
        with counted(table) as sent:
            table.record(replace(report, requested_call_sid=CALL if report is ANSWER else None))

        assert sent == [expected]
    assert "requested_other_call_sid" not in table.reader.one(SID)


def test_what_comes_while_a_recording_runs_and_says_something_new_is_written(table: RecordingsTable) -> None:
    table.record(ANSWER)

    with counted(table) as sent:
        table.record(IN_PROGRESS)

    assert sent == ["GetItem", "UpdateItem"]
    assert table.reader.one(SID)["track"] == "both"


def test_a_callback_that_names_another_call_than_was_asked_for_moves_the_row_and_keeps_the_first(
    table: RecordingsTable,
) -> None:
    table.record(replace(ANSWER, requested_call_sid=CALL))

    table.record(replace(COMPLETED, told={**COMPLETED.told, "call_sid": OTHER_CALL}))

    row = table.reader.one(SID)
    assert (row["call_sid"], row["requested_call_sid"]) == (OTHER_CALL, CALL)


def test_a_repeated_callback_changes_nothing(table: RecordingsTable) -> None:
    for report in (ANSWER, IN_PROGRESS, COMPLETED):
        table.record(report)
    before = table.reader.get(SID)

    table.record(replace(COMPLETED, seen_at="2026-11-22T07:35:00.000Z"))

    assert table.reader.get(SID) == before


def test_a_callback_that_overtakes_the_answer_makes_the_row(table: RecordingsTable) -> None:
    table.record(COMPLETED)
    assert (table.reader.get(SID) or {})["requested_by"] == "twilio"

    table.record(ANSWER)

    row = table.reader.get(SID) or {}
    assert (row["requested_by"], row["status"]) == ("http", "completed")


def test_another_account_cannot_write_into_a_row(table: RecordingsTable) -> None:
    table.record(ANSWER)
    before = table.reader.get(SID)

    with pytest.raises(ForeignAccountError):
        table.record(replace(COMPLETED, account_sid="AC" + "2" * 32))

    assert table.reader.get(SID) == before


def test_attributes_of_others_survive_a_merge(table: RecordingsTable) -> None:
    table.record(COMPLETED)
    table.client.update_item(
        TableName=table.name,
        Key={"recording_sid": {"S": SID}},
        UpdateExpression="SET reviewed_by = :who",
        ExpressionAttributeValues={":who": {"S": "quality"}},
    )

    table.record(ANSWER)

    assert (table.reader.get(SID) or {})["reviewed_by"] == "quality"


def test_a_row_that_something_else_wrote_is_merged_with(table: RecordingsTable) -> None:
    restored = {"recording_sid": {"S": SID}, "account_sid": {"S": ACCOUNT}, "status": {"S": "in-progress"}}
    table.client.put_item(TableName=table.name, Item=restored)

    table.record(COMPLETED)

    row = table.reader.get(SID) or {}
    assert (row["status"], row["call_sid"], row["duration_seconds"]) == ("completed", CALL, 42)


def test_a_writer_that_gets_ahead_is_merged_with_not_overwritten(table: RecordingsTable) -> None:
    table.record(COMPLETED)
    held = table.reader.get(SID)
    table.record(replace(COMPLETED, told={"call_sid": CALL, "price": "-0.0025"}))
    assert held is not None

    in_the_way = table._merge_into(held, replace(ANSWER, told=TOLD | {"track": "inbound"}))  # noqa: SLF001

    assert in_the_way == table.reader.get(SID), "the guard saw the other writer"
    table.record(replace(ANSWER, told=TOLD | {"track": "inbound"}))
    row = table.reader.get(SID) or {}
    assert (row["price"], row["track"]) == ("-0.0025", "inbound")


@pytest.mark.parametrize("note", ["archive", "deleted_at_twilio", "uploads", "deleting_until"])
def test_what_we_did_with_a_recording_makes_no_row_of_one_that_was_removed(table: RecordingsTable, note: str) -> None:
    table.record(COMPLETED)
    row = table.reader.one(SID)
    table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SID}})

    with pytest.raises(RecordingNotFoundError):
        table.record(Facts.about(row, **{note: {}}))
    with pytest.raises(RecordingNotFoundError):
        table.record(COMPLETED, needs_row=True)

    assert table.reader.get(SID) is None


def test_a_receipt_makes_a_row_so_that_whoever_comes_late_sees_it(table: RecordingsTable) -> None:
    table.record(Facts.gone(SID, ACCOUNT, deletion={"deleted_at": "2026-11-22T07:34:00.000Z"}))

    assert table.reader.one(SID)["status"] == "deleted"


def test_a_writer_that_always_loses_says_so(table: RecordingsTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.record(COMPLETED)
    monkeypatch.setattr(RecordingsTable, "_merge_into", lambda _self, held, _facts: held)

    with pytest.raises(MergeContentionError):
        table.record(ANSWER)


def test_a_table_that_does_not_answer_is_named_with_the_recording(table: RecordingsTable) -> None:
    gone = replace(table, name="no-such-table")

    with pytest.raises(TableUnavailableError) as raised:
        gone.record(ANSWER)

    assert raised.value.recording_sid == SID
    assert isinstance(raised.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("index", "key", "value"),
    [
        ("by-call", "call_sid", CALL),
        ("by-account-day", "account_day", sharded(f"{ACCOUNT}#2026-11-22", SID)),
        ("by-requested-call", "requested_other_call_sid", OTHER_CALL),
        ("by-conference", "conference_sid", CONFERENCE),
        ("by-reference", "account_reference", sharded(f"{ACCOUNT}#Fall 17", SID)),
        ("open", "open_shard", None),
    ],
)
def test_the_indexes_find_the_row(table: RecordingsTable, index: str, key: str, value: str | None) -> None:
    asked = replace(
        ANSWER, told=TOLD | {"conference_sid": CONFERENCE}, requested_call_sid=OTHER_CALL, reference="Fall 17"
    )
    table.record(asked)
    wanted = value or (table.reader.get(SID) or {})["open_shard"]

    def found() -> list[str]:
        answer = boto3.client("dynamodb").query(
            TableName=table.name,
            IndexName=index,
            KeyConditionExpression=f"{key} = :value",
            ExpressionAttributeValues={":value": {"S": wanted}},
        )
        return [item["recording_sid"]["S"] for item in answer["Items"]]

    assert found() == [SID]
    table.record(COMPLETED)
    assert found() == ([] if index == "open" else [SID])


ODD_VALUES: dict[str, Any] = {
    "a number": Decimal("42.5"),
    "a set": {"a", "b"},
    "bytes": b"\x00",
    "a list": ["a"],
    "a map": {"a": "b"},
    "nothing": None,
    "missing": ...,
}


@pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES.keys())
def test_into_a_row_that_somebody_edited_facts_are_merged_or_cannot_be_stored(
    table: RecordingsTable, value: object
) -> None:
    """Whoever reports them keeps them elsewhere then; any other error would be an exception of the whole function."""
    reports = (COMPLETED, replace(COMPLETED, metadata={"New": "x"}), replace(IN_PROGRESS, status="made-up"))
    table.record(ANSWER)
    row = table.reader.get(SID) or {}

    for name in sorted(
        ATTRIBUTES.keys() - {KEY, "account_day", "account_reference", "open_shard", "requested_other_call_sid"}
    ):
        held = row | {name: value}
        # Keys of indexes are texts or nothing.
        if value is ... or name in {"call_sid", "conference_sid", "start_time"}:
            held.pop(name, None)
        for facts in reports:
            table.client.put_item(TableName=table.name, Item=attributes(held))
            with suppress(UnstorableFactsError, ForeignAccountError):
                table.record(facts)


def test_what_dynamodb_has_no_form_for_cannot_be_stored(table: RecordingsTable) -> None:
    for value in (float("nan"), 10**45, object(), 1.5):
        with pytest.raises(UnstorableFactsError):
            table.record(replace(COMPLETED, told={"encryption_details": {"value": value}}))

    assert table.reader.get(SID) is None


def test_a_receipt_that_was_given_stays_though_another_ones_clock_is_behind(table: RecordingsTable) -> None:
    table.record(COMPLETED)
    given = {"deleted_at": "2026-11-22T07:34:00.000Z", "requested_by": "a"}
    table.record(Facts.gone(SID, ACCOUNT, deletion=given))

    table.record(Facts.gone(SID, ACCOUNT, deletion={"deleted_at": "2026-11-22T07:33:30.000Z", "requested_by": "b"}))

    assert table.reader.one(SID)["deletion"] == given
