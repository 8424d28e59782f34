"""What a recording costs in DynamoDB's write units, from the start to the archive, and where each of them goes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest

from local.twilio_simulator.server import TwilioServer
from tests.conftest import (
    BUCKET,
    IDEMPOTENCY_TABLE,
    TABLE,
    Context,
    Time,
    archive_message,
    callback_event,
    create_table,
)
from tests.write_units import KILOBYTE, Bill, Item, Table, billed, size
from tests.write_units import TABLE as ITSELF

Record = Callable[..., Bill]
USUAL = {ITSELF: 5, "by-call": 1, "by-account-day": 1, "open": 2}
"""The table's writes are the row, its end, where its audio is going to be, and the proof, which is beyond a KB."""
KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@pytest.fixture
def record(
    ask: Callable[..., dict[str, Any]],
    recording_status: ModuleType,
    archive_recording: ModuleType,
    twilio: TwilioServer,
    time: Time,
) -> Record:
    """Return a function that has a call recorded for 42 s, with a key, both callbacks and the archive: its bill."""

    def whole(**body: Any) -> Bill:
        def call_back(event: str) -> None:
            told = callback_event(twilio, recording, event)
            assert recording_status.handler(told, Context())["statusCode"] == 204

        with billed() as bill:
            answer = ask({"RecordingChannels": "dual"} | body, key=KEY)
            assert answer["statusCode"] == 201
            recording = twilio.twilio.recordings[answer["json"]["sid"]]
            time.turn(1)
            call_back("in-progress")
            time.turn(42)
            with twilio.locked() as simulated:
                simulated.hang_up(recording.call.sid)
                time.turn(5)
                simulated.due_callbacks()
            call_back("completed")
            archived = archive_recording.handler({"Records": [archive_message(recording.sid)]}, Context())
        assert archived == {"batchItemFailures": []}
        return bill

    return whole


def test_a_whole_recording_costs_this_many_units_here_and_no_more(record: Record) -> None:
    bill = record()

    assert (bill.by_place(TABLE), bill.by_place(IDEMPOTENCY_TABLE)) == (USUAL, {ITSELF: 2})
    assert bill.units == 11


@pytest.mark.parametrize(
    ("more", "expected"),
    # With a reference, the row is beyond a KB as soon as it says where its audio is going to be.
    [({"Reference": "room-17"}, {"by-reference": 1, ITSELF: 6}), ({"RecordingChannels": "mono"}, {})],
    ids=["with a reference", "of one channel"],
)
def test_what_else_a_start_says_costs_the_index_that_finds_it(
    record: Record, more: dict[str, str], expected: dict[str, int]
) -> None:
    bill = record(**more)

    assert bill.by_place(TABLE) == USUAL | expected
    assert bill.by_place(IDEMPOTENCY_TABLE) == {ITSELF: 2}


def test_a_stack_of_before_whose_indexes_are_whole_pays_for_them(record: Record, template: dict[str, Any]) -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    create_table(template, "RecordingsTable", TABLE, has_whole_indexes=True)

    assert record().by_place(TABLE) == {ITSELF: 5, "by-call": 5, "by-account-day": 5, "open": 2}


def test_only_the_proof_makes_a_usual_row_larger_than_a_kilobyte_and_none_is_larger_than_two(record: Record) -> None:
    """Names differ from stack to stack: S3 lets a bucket's have 63 characters, twice, and a Region's has at most 14."""
    bill = record()

    longer = 2 * (63 - len(BUCKET)) + (len("ap-southeast-1") - len("us-east-1"))
    assert KILOBYTE < bill.largest[TABLE] + longer < 2 * KILOBYTE


# --- how it is counted ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"S": "é"}, 2),
        ({"B": b"\x00\x01"}, 2),
        ({"N": "7"}, 2),
        ({"N": "43000"}, 4),
        ({"N": "1829892781"}, 6),
        ({"N": "-12"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bc"]}, 3),
        ({"L": [{"S": "a"}]}, 5),
        ({"M": {"in": {"S": "a"}}}, 7),
    ],
)
def test_an_items_size_is_what_dynamodb_says(value: dict[str, Any], expected: int) -> None:
    """A number takes a byte for two digits, and one; a map three, and one for each entry.

    DynamoDB leaves out zeroes at a number's end. Here they count: too much rather than too little.
    """
    assert size({"name": value}) == len("name") + expected


def test_an_index_costs_what_becomes_of_what_it_shows() -> None:
    table = Table.of(
        {
            "KeySchema": [{"AttributeName": "id"}],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": name,
                    "KeySchema": [{"AttributeName": "at"}],
                    "Projection": {"ProjectionType": kind, **more},
                }
                for name, kind, more in [
                    ("whole", "ALL", {}),
                    ("keys", "KEYS_ONLY", {}),
                    ("some", "INCLUDE", {"NonKeyAttributes": ["status"]}),
                ]
            ],
        }
    )

    def item(**values: str) -> Item:
        return {"id": {"S": "1"}} | {name: {"S": value} for name, value in values.items()}

    first, large = item(at="a", status="x"), item(at="a", status="x", more="y" * 1024)

    assert table.units({}, first) == {ITSELF: 1, "whole": 1, "keys": 1, "some": 1}
    assert table.units(first, first) == {ITSELF: 1}
    assert table.units(first, large) == {ITSELF: 2, "whole": 2}
    assert table.units(large, item(at="a", status="z")) == {ITSELF: 2, "whole": 2, "some": 1}
    assert table.units(large, item(at="b", status="x")) == {ITSELF: 2, "whole": 3, "keys": 2, "some": 2}
    assert table.units(large, {}) == {ITSELF: 2, "whole": 2, "keys": 1, "some": 1}
    assert table.units({}, item()) == {ITSELF: 1}
