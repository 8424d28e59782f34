"""Whatever a row holds, each of its changes makes its events, small enough for EventBridge, with ids that last."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_recording.bus import ARCHIVED, STATUS_CHANGE
from call_recording.changes.events import ChangeEvent, change_events
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import ATTRIBUTES, KEY, PUBLIC, Row
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID, stream_record

MOST_BYTES = 256 * 1024 - 1_000
"""Of a request to EventBridge, less the names that an entry has."""


def row(**more: Any) -> Row:
    return {KEY: RECORDING_SID, "account_sid": ACCOUNT_SID, "status": "completed", "fact_ranks": {}, **more}


def events(new: Row, old: Row | None = None) -> list[ChangeEvent]:
    return list(change_events(stream_record(old, new, sequence_number="7")))


def detail(new: Row) -> dict[str, Any]:
    event = events(new)[0]
    assert len(event.detail.encode()) <= MOST_BYTES
    read: dict[str, Any] = json.loads(event.detail, parse_constant=pytest.fail)
    return read


def test_thousands_of_made_up_statuses_make_an_event_of_some_hundred_bytes() -> None:
    merged: Row | None = None
    for number in range(4_200):
        seen_at = f"2026-11-22T07:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
        facts = Facts(RECORDING_SID, ACCOUNT_SID, f"made-up-{'x' * (number % 20)}", seen_at, {"call_sid": CALL_SID})
        merged = merge(merged, facts, retention_days=400)

    assert merged is not None
    assert len(json.dumps(detail(merged))) < 2_000


def test_a_row_of_before_that_holds_thousands_of_statuses_is_told_without_when_they_were() -> None:
    seen = {f"status-{number}": "2026-11-22T07:33:00.000Z" for number in range(6_000)}

    told = detail(row(status_at=seen, callback_url="https://example.com/", metadata={"New": "x"}))

    assert told["left_out"] == ["metadata", "callback_url", "status_at"]
    assert (told["status"], told["previous_status"]) == ("completed", None)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in {KEY, "status"}])
def test_whichever_attribute_is_huge_the_change_is_told(name: str) -> None:
    told = detail(row(**{name: "é" * 150_000}))

    assert name in told["left_out"]
    assert (told["id"], told["status"]) == (f"{RECORDING_SID}-7-status", "completed")


def test_a_huge_status_is_told_to_have_changed() -> None:
    told = detail(row(status="x" * 380_000))

    assert told[KEY] == RECORDING_SID
    assert "status" in told["left_out"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff", "AP8="),
        ({"b", "a"}, ["a", "b"]),
        ({Decimal(2), Decimal("1.5")}, [1.5, 2]),
        ({b"b", b"a"}, ["YQ==", "Yg=="]),
        (Decimal("42.5"), 42.5),
        (Decimal("1E+125"), 1e125),
        (Decimal(12345678901234567890123456789012345678), 12345678901234567890123456789012345678),
        ([{"deep": {b"a"}}], [{"deep": ["YQ=="]}]),
        (None, None),
        (True, True),
        ("", ""),
    ],
)
def test_an_attribute_that_somebody_edited_is_told_as_json_can_say_it(value: Any, shown: Any) -> None:
    assert detail(row(source=value))["source"] == shown


@pytest.mark.parametrize("status", [5, {"a": 1}, ["completed"], b"completed", {"completed"}], ids=str)
def test_a_status_that_is_no_text_is_told_and_counted_as_no_gap(status: Any) -> None:
    (event,) = events(row(status=status))

    assert event.gap_reason is None


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sets(st.text(max_size=3), min_size=1, max_size=3)
    | st.sets(st.binary(max_size=3), min_size=1, max_size=3)
    | st.decimals(-1000, 1000, places=3)
    | st.integers(-(10**37), 10**37),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    old=st.none() | st.dictionaries(st.sampled_from([name for name in ATTRIBUTES if name != KEY]), _json),
    new=st.dictionaries(st.sampled_from([name for name in ATTRIBUTES if name != KEY]), _json),
    huge=st.none() | st.sampled_from([name for name in ATTRIBUTES if name != KEY]),
)
@settings(max_examples=200, deadline=None)
def test_no_row_that_dynamodb_can_hold_makes_an_exception_or_too_large_an_event(
    old: Row | None, new: Row, huge: str | None
) -> None:
    if huge:
        new |= {huge: "\x01" * 390_000}

    first, again = (events({KEY: RECORDING_SID, **new}, old and {KEY: RECORDING_SID, **old}) for _ in range(2))

    assert first == again
    for event in first:
        assert len(event.detail.encode()) <= MOST_BYTES
        assert len(event.least.encode()) <= MOST_BYTES
        assert json.loads(event.detail)["id"].startswith(f"{RECORDING_SID}-7-")
    if "status" in new and (old or {}).get("status") != new["status"]:
        assert [event.detail_type for event in first][:1] == [STATUS_CHANGE]


def test_a_record_that_cannot_be_read_tells_which_recording_it_is_about() -> None:
    record = stream_record(None, row(), sequence_number="7")
    record["dynamodb"]["NewImage"]["source"] = {"X": "a type of tomorrow"}

    (event,) = change_events(record)

    assert (event.detail_type, event.sequence_number) == (STATUS_CHANGE, "7")
    assert json.loads(event.detail) == {
        "id": f"{RECORDING_SID}-7-status",
        KEY: RECORDING_SID,
        "left_out": ["status"],
    }


@pytest.mark.parametrize("record", [{}, {"dynamodb": {}}, {"dynamodb": {"SequenceNumber": "7", "NewImage": {}}}])
def test_a_record_of_nothing_tells_nothing(record: dict[str, Any]) -> None:
    assert list(change_events(record)) == []


def test_what_may_be_the_least_of_an_event_is_what_tells_the_change_and_the_proof() -> None:
    archived = row(archive={"key": "k"}, metadata={"New": "x"}, call_sid=CALL_SID)

    change, archive = events(archived, row(status="in-progress"))

    assert archive.detail_type == ARCHIVED
    for event in (change, archive):
        least = json.loads(event.least)
        assert least["left_out"] == ["metadata"]
        assert least.keys() >= {"id", KEY, "account_sid", "call_sid", "status", "archive"}
    assert json.loads(change.least)["previous_status"] == "in-progress"


@pytest.mark.parametrize("status", ["absent", "failed"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ({"error_code": "16102"}, "-16102"),
        ({"error_code": "16109"}, "-other"),
        ({"error_code": "-7"}, "-other"),
        ({"error_code": 16102}, "-other"),
        ({"error_code": {"16102"}}, "-other"),
        ({}, ""),
    ],
    ids=str,
)
def test_a_gap_is_counted_under_codes_that_twilio_documents(status: str, code: Row, reason: str) -> None:
    (event,) = events(row(status=status, **code))

    assert event.gap_reason == f"{status}{reason}"
