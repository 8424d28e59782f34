"""A report is written without reading where `merge` would overwrite all that it sets, and then it is the same row."""

from copy import replace
from typing import Any

import pytest

from call_recording.recordings.facts import BY_HTTP, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import Row, attributes
from call_recording.recordings.table import RecordingsTable
from call_recording.recordings.updates import Expression, advance

SID, ACCOUNT, CALL = "RE" + "1" * 32, "AC" + "1" * 32, "CA" + "1" * 32
OTHER_CALL = "CA" + "2" * 32
EARLIER, SEEN, LATER = (f"2026-11-22T07:33:0{n}.000Z" for n in range(3))
STARTED = "2026-11-22T07:33:00Z"
TOLD: dict[str, Any] = {"call_sid": CALL, "channels": 2, "start_time": STARTED}
ANSWER = Facts(SID, ACCOUNT, "in-progress", SEEN, TOLD, requested_by=BY_HTTP)
IN_PROGRESS = Facts(SID, ACCOUNT, "in-progress", LATER, TOLD | {"track": "both"})
ASKED = replace(ANSWER, requested_call_sid=CALL)
COMPLETED = Facts(SID, ACCOUNT, "completed", LATER, TOLD | {"duration_seconds": 42})
RETENTION_DAYS = 400


def row(*reports: Facts) -> Row:
    held: Row | None = None
    for report in reports:
        held = merge(held, report, retention_days=RETENTION_DAYS)
    assert held is not None
    return held


def advanced(table: RecordingsTable, held: Row, facts: Facts) -> Row | None:
    """Return the row after the update that reads nothing, or None if its condition does not hold."""
    table.client.put_item(TableName=table.name, Item=attributes(held))
    update = advance(facts, retention_days=RETENTION_DAYS)
    try:
        table.client.update_item(
            TableName=table.name,
            Key={"recording_sid": {"S": SID}},
            UpdateExpression=update.expression,
            ConditionExpression=update.condition,
            ExpressionAttributeNames=update.names,
            ExpressionAttributeValues=update.values,
        )
    except table.client.exceptions.ConditionalCheckFailedException:
        return None
    return table.reader.get(SID)


@pytest.mark.parametrize(
    ("held", "facts"),
    [
        ([ANSWER], IN_PROGRESS),
        ([ANSWER], COMPLETED),
        ([ANSWER, IN_PROGRESS], replace(COMPLETED, told=TOLD | {"channels": 1, "track": "inbound"})),
        ([ANSWER], replace(COMPLETED, told={"call_sid": CALL, "duration_seconds": 42})),
        ([ANSWER], replace(COMPLETED, told={})),
        ([ANSWER, COMPLETED], COMPLETED),
        ([ANSWER], replace(ANSWER, requested_by="twilio")),
        ([ANSWER], replace(IN_PROGRESS, told={})),
        ([ANSWER], replace(COMPLETED, status="stopped")),
        ([replace(ANSWER, status="paused")], replace(COMPLETED, status="processing")),
        ([ANSWER, replace(COMPLETED, status="absent")], replace(COMPLETED, status="failed")),
        ([ANSWER], replace(COMPLETED, told=TOLD | {"start_time": "2026-11-21T23:59:59Z"})),
        ([ASKED], COMPLETED),
        ([ASKED], replace(COMPLETED, told={"duration_seconds": 42})),
        ([replace(ASKED, told={"start_time": STARTED})], replace(COMPLETED, told={"duration_seconds": 42})),
        ([replace(ASKED, requested_call_sid=OTHER_CALL)], COMPLETED),
        ([ANSWER], replace(COMPLETED, told={}, created_at=STARTED)),
    ],
)
def test_what_comes_in_its_order_is_written_as_merge_would(
    table: RecordingsTable, held: list[Facts], facts: Facts
) -> None:
    before = row(*held)

    assert advanced(table, before, facts) == merge(before, facts, retention_days=RETENTION_DAYS)


@pytest.mark.parametrize(
    ("held", "facts"),
    [
        ([ANSWER, COMPLETED], IN_PROGRESS),
        ([ANSWER, COMPLETED], replace(COMPLETED, told=TOLD | {"duration_seconds": 43})),
        ([ANSWER, COMPLETED], replace(COMPLETED, status="failed")),
        ([ANSWER], replace(IN_PROGRESS, told=TOLD | {"channels": 1})),
        ([ANSWER], replace(IN_PROGRESS, told={"start_time": "2026-11-21T23:59:59Z"})),
        ([replace(ANSWER, status="paused")], IN_PROGRESS),
        ([replace(ANSWER, status="transcoding")], COMPLETED),
        ([ANSWER], replace(ANSWER, seen_at=EARLIER)),
        ([ANSWER, COMPLETED], replace(COMPLETED, seen_at=SEEN)),
        ([ANSWER], replace(COMPLETED, account_sid="AC" + "2" * 32)),
        # Until Twilio says when it began, the first that was heard of it counts.
        ([replace(ANSWER, told={}, seen_at=LATER)], replace(COMPLETED, told={}, seen_at=SEEN)),
        ([replace(ANSWER, told={})], replace(COMPLETED, told={}, created_at=STARTED)),
        # Which of two calls the row is found by would change.
        ([replace(ASKED, told={"start_time": STARTED})], COMPLETED),
    ],
)
def test_what_contradicts_the_row_or_is_older_writes_nothing(
    table: RecordingsTable, held: list[Facts], facts: Facts
) -> None:
    assert advanced(table, row(*held), facts) is None


@pytest.mark.parametrize("missing", ["status_at", "fact_ranks", "account_sid", "status"])
def test_a_row_that_something_else_wrote_is_not_written_into(table: RecordingsTable, missing: str) -> None:
    held = {name: value for name, value in row(ANSWER).items() if name != missing}

    assert advanced(table, held, COMPLETED) is None


def test_what_is_missing_in_a_row_is_filled_by_a_report_of_the_same_status(table: RecordingsTable) -> None:
    held = row(replace(ANSWER, told={"call_sid": CALL, "start_time": STARTED}))

    filled = advanced(table, held, IN_PROGRESS)

    assert filled is not None
    assert (filled["channels"], filled["track"]) == (2, "both")


def test_reports_of_one_form_differ_in_their_values_alone() -> None:
    first = advance(COMPLETED, retention_days=RETENTION_DAYS)
    second = advance(replace(COMPLETED, told=TOLD | {"duration_seconds": 7}), retention_days=RETENTION_DAYS)

    assert first._replace(values={}) == second._replace(values={})
    assert first.values[":duration_seconds"] == {"N": "42"}
    assert second.values[":duration_seconds"] == {"N": "7"}


def test_an_expression_names_an_attribute_once_and_each_value() -> None:
    update = Expression()

    update.put(update.name("a"), update.value(1))
    update.put(update.name("b", "a"), update.value(1))
    update.drop(update.name("c"))
    update.drop(update.name("d"))

    expression, condition, names, values = update.on("one", "two")
    assert (expression, condition) == ("SET #n0 = :v0, #n1.#n0 = :v1 REMOVE #n2, #n3", "one AND two")
    assert names == {"#n0": "a", "#n1": "b", "#n2": "c", "#n3": "d"}
    assert values == {":v0": {"N": "1"}, ":v1": {"N": "1"}}


@pytest.mark.parametrize("verb", ["put", "drop"])
def test_one_action_is_enough_for_an_expression(verb: str) -> None:
    update = Expression()

    if verb == "put":
        update.put("#a", ":v")
    else:
        update.drop("#a")

    assert update.on("x").expression == ("SET #a = :v" if verb == "put" else "REMOVE #a")
