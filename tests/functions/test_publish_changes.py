"""Every real change of the table is told once for each recording in its order, however often it must be tried."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from call_recording import clients
from call_recording.bus import ARCHIVED, SOURCE, STATUS_CHANGE
from call_recording.recordings.row import PUBLIC, Row
from generators.sample_events import ACCOUNT_SID, NEXT_RECORDING_SID, RECORDING_SID, stream_record
from tests.conftest import Bus, Context, load_app, set_environment, written_metrics

MOST_ENTRIES, MOST_BYTES = 10, 256 * 1024

Record = dict[str, Any]
Handle = Callable[[list[Record]], str | None]
Outcome = str | frozenset[int]
"""What becomes of a request: `taken`, `unanswered` (taken, too), `failed`, or the numbers of the refused entries."""


@dataclass
class EventBridge:
    """EventBridge's side of PutEvents: it has limits, and takes what it is not planned to refuse."""

    plan: list[Outcome] = field(default_factory=list)
    requests: list[list[dict[str, str]]] = field(default_factory=list)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        self.requests.append(Entries)
        assert 0 < len(Entries) <= MOST_ENTRIES
        assert sum(len((e["Source"] + e["DetailType"] + e["Detail"]).encode()) for e in Entries) <= MOST_BYTES
        outcome = self.plan.pop(0) if self.plan else "taken"
        refused = outcome if isinstance(outcome, frozenset) else frozenset[int]()
        if outcome != "failed":
            self.published += [
                (entry["DetailType"], json.loads(entry["Detail"]))
                for number, entry in enumerate(Entries)
                if number not in refused
            ]
        if outcome in {"failed", "unanswered"}:
            raise ClientError({"Error": {"Code": "InternalFailure", "Message": ""}}, "PutEvents")
        answers = [{"ErrorCode": "Throttling"} if n in refused else {"EventId": str(n)} for n in range(len(Entries))]
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def events(self, detail_type: str) -> list[dict[str, Any]]:
        """Return the details of what was published; nothing else than that type was."""
        assert {kind for kind, _ in self.published} <= {detail_type}
        return [detail for _, detail in self.published]


@pytest.fixture
def eventbridge(monkeypatch: pytest.MonkeyPatch) -> EventBridge:
    simulated = EventBridge()
    monkeypatch.setattr(clients, "events", lambda: simulated)
    return simulated


@dataclass
class Paused:
    """DynamoDB's side of looking which accounts have anything paused; None: it does not answer."""

    account_sids: set[str] | None = field(default_factory=set)
    asked: int = 0

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        self.asked += 1
        if self.account_sids is None:
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "BatchGetItem")
        ((table, wanted),) = RequestItems.items()
        there = {f"pause#{account_sid}" for account_sid in self.account_sids}
        return {"Responses": {table: [key for key in wanted["Keys"] if key["id"]["S"] in there]}}


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> Paused:
    dynamodb = Paused()
    monkeypatch.setattr(clients, "dynamodb", lambda: dynamodb)
    return dynamodb


@pytest.fixture
def handle(eventbridge: EventBridge, paused: Paused, monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Hand records over as Lambda does; return the number of the record to begin with again."""
    set_environment(monkeypatch, EVENT_BUS_NAME="default")
    app = load_app("publish_changes")

    def once(records: list[Record]) -> str | None:
        failures = app.handler({"Records": records}, Context())["batchItemFailures"]
        assert len(failures) <= 1
        return failures[0]["itemIdentifier"] if failures else None

    return once


def sid(number: int) -> str:
    return f"RE{number:032x}"


def row(recording_sid: str = RECORDING_SID, status: str = "in-progress", **more: Any) -> Row:
    return {"recording_sid": recording_sid, "account_sid": ACCOUNT_SID, "status": status, "fact_ranks": {}, **more}


def insert(number: int, *, of: int, **more: Any) -> Record:
    return stream_record(None, row(sid(of), **more), sequence_number=str(number))


ARCHIVE = {"bucket": "archive", "key": "a.wav", "bytes": 5}
RUNNING, COMPLETED = row(), row(status="completed")


def test_the_sample_records_are_published_on_the_bus(
    aws: None, bus: Bus, sample: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, EVENT_BUS_NAME="default")

    answer = load_app("publish_changes").handler(sample("stream-completed.json"), Context())

    completed, started = bus.events(STATUS_CHANGE)
    assert answer == {"batchItemFailures": []}
    assert (completed["recording_sid"], completed["previous_status"]) == (RECORDING_SID, "in-progress")
    assert (completed["status"], completed["duration_seconds"]) == ("completed", 42)
    assert (started["recording_sid"], started["previous_status"]) == (NEXT_RECORDING_SID, None)
    assert started["status"] == "in-progress"


def test_an_event_says_of_the_row_what_callers_may_see_and_no_more(
    handle: Handle, eventbridge: EventBridge, sample: Callable[[str], dict[str, Any]]
) -> None:
    handle(sample("stream-completed.json")["Records"])

    for detail in eventbridge.events(STATUS_CHANGE):
        assert detail.keys() <= {"id", "previous_status", *PUBLIC}
        assert not {"fact_ranks", "intent", "open_shard"} & detail.keys()
    assert {(e["EventBusName"], e["Source"]) for e in eventbridge.requests[0]} == {("default", SOURCE)}


def test_a_recording_that_is_new_where_something_may_be_paused_is_marked_and_no_other(
    handle: Handle, eventbridge: EventBridge, paused: Paused
) -> None:
    paused.account_sids = {ACCOUNT_SID}
    elsewhere = {"account_sid": "AC" + "f" * 32}
    changed = stream_record(row(sid(1)), row(sid(1), "completed"), sequence_number="3")

    handle([insert(1, of=1), insert(2, of=2, **elsewhere), changed, insert(4, of=3, status="completed")])

    marks = [detail.get("may_be_paused") for detail in eventbridge.events(STATUS_CHANGE)]
    assert sorted(marks, key=bool) == [None, None, True, True]
    assert paused.asked == 1
    handle([changed])
    assert paused.asked == 1  # nothing is looked up for what is not new


def test_each_new_recording_is_marked_where_nobody_can_tell(
    handle: Handle, eventbridge: EventBridge, paused: Paused
) -> None:
    paused.account_sids = None

    assert handle([insert(1, of=1)]) is None
    assert [detail["may_be_paused"] for detail in eventbridge.events(STATUS_CHANGE)] == [True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (COMPLETED, COMPLETED | {"price": "-0.0025"}),
        (COMPLETED, COMPLETED | {"fact_ranks": {"channels": 7}}),
        (RUNNING, RUNNING | {"control": {"changed_at": "2026-11-22T07:33:00Z", "seen_at": "", "timer": ""}}),
        (COMPLETED | {"archive": ARCHIVE}, COMPLETED | {"archive": ARCHIVE, "deleted_at_twilio": "x"}),
        (COMPLETED | {"archive": ARCHIVE}, COMPLETED | {"archive": ARCHIVE | {"key": "b.wav"}}),
        (COMPLETED | {"archive": ARCHIVE}, COMPLETED),
        (COMPLETED, None),
    ],
    ids=["price", "ranks", "control", "deleted at Twilio", "another proof", "proof taken back", "removed"],
)
def test_what_is_no_change_of_status_is_not_told(
    handle: Handle, eventbridge: EventBridge, old: Row, new: Row | None
) -> None:
    failed = handle([stream_record(old, new, sequence_number="1")])

    assert failed is None
    assert eventbridge.requests == []


def test_a_row_whose_retention_has_ended_is_not_told(handle: Handle, eventbridge: EventBridge) -> None:
    removal = stream_record(COMPLETED, None, sequence_number="1")
    removal["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

    assert handle([removal]) is None
    assert eventbridge.requests == []


def test_each_change_says_what_the_status_was_before(handle: Handle, eventbridge: EventBridge) -> None:
    paused, deleted = row(status="paused"), row(status="deleted")
    steps: list[Row | None] = [None, RUNNING, paused, RUNNING, COMPLETED, deleted]

    handle([stream_record(old, new, sequence_number=str(n)) for n, (old, new) in enumerate(pairwise(steps))])

    told = [(detail["previous_status"], detail["status"]) for detail in eventbridge.events(STATUS_CHANGE)]
    assert told == [
        (None, "in-progress"),
        ("in-progress", "paused"),
        ("paused", "in-progress"),
        ("in-progress", "completed"),
        ("completed", "deleted"),
    ]


def test_audio_that_is_archived_is_told_once(handle: Handle, eventbridge: EventBridge) -> None:
    handle([stream_record(COMPLETED, COMPLETED | {"archive": ARCHIVE}, sequence_number="7")])

    (detail,) = eventbridge.events(ARCHIVED)
    assert (detail["archive"], detail["status"]) == (ARCHIVE, "completed")
    assert "previous_status" not in detail


def test_a_change_of_status_with_a_new_proof_is_two_events_in_two_requests(
    handle: Handle, eventbridge: EventBridge
) -> None:
    handle([stream_record(RUNNING, COMPLETED | {"archive": ARCHIVE}, sequence_number="7")])

    assert [kind for kind, _ in eventbridge.published] == [STATUS_CHANGE, ARCHIVED]
    assert len({detail["id"] for _, detail in eventbridge.published}) == 2
    assert len(eventbridge.requests) == 2


def test_a_record_that_is_given_again_makes_events_with_the_same_ids(handle: Handle, eventbridge: EventBridge) -> None:
    records = [
        stream_record(None, RUNNING, sequence_number="7"),
        stream_record(RUNNING, COMPLETED | {"archive": ARCHIVE}, sequence_number="8"),
    ]

    handle(records)
    handle(records)

    first, again = eventbridge.published[:3], eventbridge.published[3:]
    assert first == again
    assert len({detail["id"] for _, detail in first}) == 3


def test_two_changes_of_one_recording_are_never_in_one_request(handle: Handle, eventbridge: EventBridge) -> None:
    handle([insert(1, of=1), insert(2, of=2), insert(3, of=1, status="paused"), insert(4, of=2, status="paused")])

    assert [sids(request) for request in eventbridge.requests] == [[sid(1), sid(2)], [sid(1), sid(2)]]


def sids(request: list[dict[str, str]]) -> list[str]:
    return [json.loads(entry["Detail"])["recording_sid"] for entry in request]


def test_at_most_ten_events_are_in_a_request(handle: Handle, eventbridge: EventBridge) -> None:
    handle([insert(number, of=number) for number in range(25)])

    assert [len(request) for request in eventbridge.requests] == [10, 10, 5]


@pytest.mark.parametrize("character", ["x", "é", "🎙"])
def test_large_events_share_a_request_only_as_far_as_it_takes_them(
    handle: Handle, eventbridge: EventBridge, character: str
) -> None:
    metadata = {"Note": character * (60_000 // len(json.dumps(character)[1:-1]))}

    handle([insert(number, of=number, metadata=metadata) for number in range(9)])

    assert [len(request) for request in eventbridge.requests] == [4, 4, 1]


@pytest.mark.parametrize(
    ("metadata_bytes", "encryption_bytes", "left_out"),
    [
        (200_000, 20_000, None),
        (200_000, 100_000, ["metadata"]),
        (100_000, 250_000, ["metadata", "encryption_details"]),
        (0, 250_000, ["encryption_details"]),
    ],
)
def test_an_event_that_is_too_large_leaves_something_out_and_says_so(
    handle: Handle, eventbridge: EventBridge, metadata_bytes: int, encryption_bytes: int, left_out: list[str] | None
) -> None:
    large: dict[str, Any] = {"encryption_details": {"iv": "x" * encryption_bytes}}
    if metadata_bytes:
        large["metadata"] = {"Note": "x" * metadata_bytes}

    failed = handle([insert(1, of=1, **large)])

    (detail,) = eventbridge.events(STATUS_CHANGE)
    assert failed is None
    assert detail.get("left_out") == left_out
    assert {name for name in large if name in detail} == large.keys() - set(left_out or [])


def test_an_endless_url_does_not_stop_the_stream(handle: Handle, eventbridge: EventBridge) -> None:
    failed = handle([insert(1, of=1, recording_url="https://example.com/" + "x" * 300_000)])

    (detail,) = eventbridge.events(STATUS_CHANGE)
    assert failed is None
    assert detail["left_out"] == ["recording_url"]


def test_a_row_that_is_none_of_ours_does_not_stop_the_stream(handle: Handle, eventbridge: EventBridge) -> None:
    record = insert(1, of=1)
    del record["dynamodb"]["NewImage"]["status"]

    assert handle([record]) is None
    assert eventbridge.requests == []


@pytest.mark.parametrize(
    "odd", [{"source": b"x"}, {"track": {"a"}}, {"error_code": 5}, {"status": ["completed"]}], ids=str
)
def test_a_row_that_somebody_edited_does_not_stop_the_stream(
    handle: Handle, eventbridge: EventBridge, odd: dict[str, Any]
) -> None:
    edited = stream_record(RUNNING, COMPLETED | odd, sequence_number="2")

    assert handle([insert(1, of=1), edited, insert(3, of=3)]) is None
    assert [detail["recording_sid"] for detail in eventbridge.events(STATUS_CHANGE)] == [sid(1), RECORDING_SID, sid(3)]


def test_an_event_that_eventbridge_refuses_for_good_does_not_stop_the_stream(
    handle: Handle, eventbridge: EventBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_events = eventbridge.put_events

    def refuse(*, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        if any("poison" in entry["Detail"] for entry in Entries):
            raise ClientError({"Error": {"Code": "ValidationException", "Message": ""}}, "PutEvents")
        return put_events(Entries=Entries)

    monkeypatch.setattr(eventbridge, "put_events", refuse)

    assert handle([insert(1, of=1), insert(2, of=2, metadata={"New": "poison"}), insert(3, of=3)]) is None
    told = eventbridge.events(STATUS_CHANGE)
    assert [(detail["recording_sid"], detail.get("left_out")) for detail in told] == [
        (sid(1), None),
        (sid(2), ["metadata"]),
        (sid(3), None),
    ]


def test_from_the_first_refused_event_on_the_records_are_wanted_again(handle: Handle, eventbridge: EventBridge) -> None:
    eventbridge.plan = ["taken", frozenset({7, 3})]

    failed = handle([insert(number, of=number) for number in range(25)])

    assert failed == "13"
    assert len(eventbridge.requests) == 2, "what comes later waits"


def test_each_recording_without_audio_is_counted_once_whatever_is_refused_beside_it(
    handle: Handle, eventbridge: EventBridge, capsys: pytest.CaptureFixture[str]
) -> None:
    eventbridge.plan = [frozenset({7, 3}), frozenset({2}), "failed", "taken"]
    records = [insert(number, of=number, status="absent") for number in range(14)]

    begin: str | None = "0"
    while begin:
        begin = handle(records[int(begin) :])

    written = written_metrics(capsys.readouterr().out)
    assert [metric["name"] for metric in written].count("RecordingGap") == len(records)


def test_a_record_that_makes_no_event_is_no_reason_to_begin_earlier(handle: Handle, eventbridge: EventBridge) -> None:
    eventbridge.plan = [frozenset({1})]
    nothing = stream_record(COMPLETED, COMPLETED, sequence_number="2")

    assert handle([insert(1, of=1), nothing, insert(3, of=3)]) == "3"


@pytest.mark.parametrize("outcome", ["failed", "unanswered"])
def test_a_request_that_fails_is_wanted_again_from_its_first_record_on(
    handle: Handle, eventbridge: EventBridge, outcome: str
) -> None:
    eventbridge.plan = ["taken", outcome]

    failed = handle([insert(number, of=number) for number in range(25)])

    assert failed == "10"
    assert len(eventbridge.requests) == 2


def test_the_second_event_of_a_record_that_is_refused_brings_the_record_back(
    handle: Handle, eventbridge: EventBridge
) -> None:
    eventbridge.plan = ["taken", frozenset({0})]

    assert handle([stream_record(RUNNING, COMPLETED | {"archive": ARCHIVE}, sequence_number="7")]) == "7"


# --- any changes, any refusals ----------------------------------------------------------------------

_STATUSES = ["in-progress", "paused", "completed"]
_CHANGES: st.SearchStrategy[dict[str, Any] | None] = st.one_of(
    st.builds(lambda status: {"status": status}, st.sampled_from(_STATUSES)),
    st.just({"fact_ranks": {"channels": 7}}),
    st.just({"archive": ARCHIVE}),
    st.just({"status": "completed", "archive": ARCHIVE}),
    st.just({"metadata": {"Note": "x" * 90_000}}),
    st.none(),
)
_OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.sampled_from(["taken", "failed", "unanswered"]), st.frozensets(st.integers(0, 9), min_size=1, max_size=3)
)
Told = tuple[str, str, str | None, str]


def history(steps: list[tuple[int, dict[str, Any] | None]]) -> tuple[list[Record], dict[str, list[Told]]]:
    """Return the stream of what happened (None: the row was removed), and what is to be told of each recording."""
    held: dict[str, Row] = {}
    records: list[Record] = []
    expected: dict[str, list[Told]] = {}
    for number, (of, change) in enumerate(steps, start=100):
        old = held.pop(sid(of), None)
        new = None if change is None else (old or row(sid(of))) | change
        if old is None and new is None:
            continue
        records.append(stream_record(old, new, sequence_number=str(number)))
        if new is not None:
            held[sid(of)] = new
            was, told = (old or {}).get("status"), expected.setdefault(sid(of), [])
            if new["status"] != was:
                told.append((str(number), STATUS_CHANGE, was, new["status"]))
            if "archive" in new and "archive" not in (old or {}):
                told.append((str(number), ARCHIVED, None, new["status"]))
    return records, {name: told for name, told in expected.items() if told}


@given(
    steps=st.lists(st.tuples(st.integers(1, 5), _CHANGES), max_size=40),
    plan=st.lists(_OUTCOMES, max_size=20),
    batch_size=st.sampled_from([1, 3, 100]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_refused_every_change_is_told_in_its_recordings_order(
    handle: Handle,
    eventbridge: EventBridge,
    steps: list[tuple[int, dict[str, Any] | None]],
    plan: list[Outcome],
    batch_size: int,
) -> None:
    records, expected = history(steps)
    eventbridge.plan, eventbridge.requests, eventbridge.published = list(plan), [], []

    numbers, begin = [record["dynamodb"]["SequenceNumber"] for record in records], 0
    while begin < len(records):
        failed = handle(records[begin : begin + batch_size])
        begin = numbers.index(failed) if failed else begin + batch_size

    told: dict[str, list[Told]] = {}
    seen: set[str] = set()
    for kind, detail in eventbridge.published:
        if detail["id"] not in seen:
            seen.add(detail["id"])
            number = detail["id"].split("-")[1]
            event = (number, kind, detail.get("previous_status"), detail["status"])
            told.setdefault(detail["recording_sid"], []).append(event)
    assert told == expected
    assert all(len(sids(request)) == len(set(sids(request))) for request in eventbridge.requests)
