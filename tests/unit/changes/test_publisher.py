"""One recording's event that the bus does not take as it is keeps no other waiting; a bus that takes nothing does."""

import json
from collections.abc import Callable, Collection
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording.bus import Bus
from call_recording.changes.publisher import publish_changes
from call_recording.commands.pauses import Pauses
from generators.sample_events import ACCOUNT_SID, stream_record

Verdict = Callable[[dict[str, Any]], str | None]
"""What the bus says of an event: a code, or nothing where it takes it."""


class Events:
    """EventBridge, which refuses entries, or whole requests for one of their entries."""

    def __init__(self, verdict: Verdict, *, refuses_requests: bool) -> None:
        self.verdict = verdict
        self.refuses_requests = refuses_requests
        self.published: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        details = [json.loads(entry["Detail"]) for entry in Entries]
        codes = [self.verdict(detail) for detail in details]
        if self.refuses_requests and any(codes):
            raise ClientError({"Error": {"Code": next(filter(None, codes)), "Message": ""}}, "PutEvents")
        self.published += [detail for detail, code in zip(details, codes, strict=True) if code is None]
        answers = [{"ErrorCode": code} if code else {"EventId": "1"} for code in codes]
        return {"FailedEntryCount": sum(map(bool, codes)), "Entries": answers}


class NothingPaused(Pauses):
    """What no account has any of."""

    def in_use(self, account_sids: Collection[str]) -> set[str]:  # noqa: ARG002 (another class says what it takes)
        return set()


NOTHING_PAUSED = NothingPaused(boto3.client("dynamodb", region_name="us-east-1"), "")


def sid(number: int) -> str:
    return f"RE{number:032x}"


def records(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    """Return changes of recordings, the third of which has some metadata."""
    rows = [
        {"recording_sid": sid(number), "account_sid": ACCOUNT_SID, "status": "completed", **more} for number in numbers
    ]
    for row in rows:
        if row["recording_sid"] == sid(3):
            row["metadata"] = {"Poison": "x"}
    return [stream_record(None, row, sequence_number=str(place)) for place, row in enumerate(rows, start=100)]


def refused_with(code: str) -> Verdict:
    return lambda detail: code if "metadata" in detail else None


def publish(events: Any, changes: list[dict[str, Any]]) -> str | None:
    return publish_changes(Bus(events, "default"), changes, pauses=NOTHING_PAUSED)


@pytest.mark.parametrize("refuses_requests", [True, False])
@pytest.mark.parametrize("code", ["MalformedDetail", "ValidationException"])
def test_an_event_that_is_refused_for_what_it_says_is_told_without_the_row(
    code: str, *, refuses_requests: bool
) -> None:
    events = Events(refused_with(code), refuses_requests=refuses_requests)

    failed = publish(events, records(*range(25)))

    assert failed is None
    assert {detail["recording_sid"] for detail in events.published} == {sid(number) for number in range(25)}
    (reduced,) = [detail for detail in events.published if detail["recording_sid"] == sid(3)]
    assert (reduced["status"], reduced["left_out"]) == ("completed", ["metadata"])


def test_a_recordings_changes_stay_in_order_around_one_that_is_refused() -> None:
    events = Events(refused_with("MalformedDetail"), refuses_requests=False)

    publish(events, records(3, 1, 3, 2, 3))

    ids = [detail["id"].split("-")[1] for detail in events.published if detail["recording_sid"] == sid(3)]
    assert ids == ["100", "102", "104"]


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalFailure", "AccessDeniedException", "anything"])
@pytest.mark.parametrize("refuses_requests", [True, False])
def test_what_may_pass_is_waited_for(code: str, *, refuses_requests: bool) -> None:
    events = Events(refused_with(code), refuses_requests=refuses_requests)

    failed = publish(events, records(*range(1, 6)))

    assert failed == ("100" if refuses_requests else "102")
    assert sid(3) not in {detail["recording_sid"] for detail in events.published}, "not even without its row"


def test_an_event_that_is_throttled_once_it_is_sent_alone_waits_whole() -> None:
    said = iter(["MalformedDetail", "ThrottlingException"])
    events = Events(lambda detail: next(said, None) if "metadata" in detail else None, refuses_requests=False)

    assert publish(events, records(2, 3, 4)) == "101"
    assert all("left_out" not in detail for detail in events.published)


def test_a_bus_that_takes_nothing_at_all_makes_all_wait() -> None:
    events = Events(lambda _: "ValidationException", refuses_requests=True)

    assert publish(events, records(1, 2)) == "100"
    assert events.published == []


def test_a_record_that_cannot_be_read_keeps_no_other_waiting() -> None:
    changes = records(*range(5))
    changes[2]["dynamodb"]["NewImage"]["source"] = {"X": "?"}
    events = Events(lambda _: None, refuses_requests=False)

    assert publish(events, changes) is None
    assert [detail["recording_sid"] for detail in events.published] == [sid(number) for number in range(5)]
