"""examples/consumer/ counts each completed recording once, in whatever way its event is delivered."""

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from call_recording.bus import STATUS_CHANGE
from generators.sample_events import ACCOUNT_SID
from tests.cloudformation import example, matches
from tests.conftest import create_table, load_app

USAGE = f"usage#{ACCOUNT_SID}#2026-11"


@pytest.fixture(scope="module")
def consumer() -> dict[str, Any]:
    return example("consumer")


@pytest.fixture
def app(consumer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The function, and an AWS with its table."""
    environment = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "USAGE_TABLE": "usage"}
    for name, value in (environment | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        create_table(consumer, "UsageTable", "usage")
        yield load_app("usage", folder="examples/consumer")


@pytest.fixture
def completed(told: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return told(STATUS_CHANGE)


def messages(*events: Any) -> dict[str, Any]:
    """Return what Lambda gives of the queue; message 0 is the first one."""
    return {"Records": [{"messageId": str(n), "body": json.dumps(event)} for n, event in enumerate(events)]}


def items() -> dict[str, dict[str, Any]]:
    found = boto3.resource("dynamodb").Table("usage").scan(ConsistentRead=True)["Items"]
    return {str(item["pk"]): item for item in found}


def counted() -> tuple[int, int]:
    item = items().get(USAGE, {"recordings": 0, "seconds": 0})
    return int(item["recordings"]), int(item["seconds"])


def test_a_recording_is_counted_once_though_its_event_is_delivered_again(
    app: ModuleType, completed: dict[str, Any]
) -> None:
    in_one_batch = app.handler(messages(completed, completed), None)
    later = app.handler(messages(completed), None)

    assert in_one_batch == later == {"batchItemFailures": []}
    assert counted() == (1, completed["detail"]["duration_seconds"])


def test_another_recording_is_counted_too(app: ModuleType, completed: dict[str, Any]) -> None:
    other = completed | {"detail": completed["detail"] | {"id": "RE2-9-status", "duration_seconds": 8}}

    app.handler(messages(completed, other), None)

    assert counted() == (2, completed["detail"]["duration_seconds"] + 8)


@pytest.mark.parametrize("broken", ["", [], {}, {"detail": {}}, {"detail": None}], ids=repr)
def test_what_cannot_be_read_keeps_no_other_from_being_counted(
    app: ModuleType, completed: dict[str, Any], broken: Any
) -> None:
    answer = app.handler(messages(broken, completed), None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert counted()[0] == 1


def test_an_event_that_says_no_duration_is_not_counted_as_nothing(app: ModuleType, completed: dict[str, Any]) -> None:
    del completed["detail"]["duration_seconds"]

    answer = app.handler(messages(completed), None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert items() == {}


def test_what_dynamodb_refuses_is_delivered_again_and_counted_then(
    app: ModuleType, completed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    busy: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}

    class Busy:
        def transact_write_items(self, **_: Any) -> None:
            raise ClientError(busy, "TransactWriteItems")

    with monkeypatch.context() as refused:
        refused.setattr(app, "dynamodb", Busy)
        assert app.handler(messages(completed), None) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert counted() == (0, 0)

    assert app.handler(messages(completed), None) == {"batchItemFailures": []}
    assert counted()[0] == 1


def test_an_event_is_remembered_for_longer_than_queues_keep_it(
    app: ModuleType, consumer: dict[str, Any], completed: dict[str, Any]
) -> None:
    app.handler(messages(completed), None)

    queues = [held for held in consumer["Resources"].values() if held["Type"] == "AWS::SQS::Queue"]
    kept = sum(queue["Properties"]["MessageRetentionPeriod"] for queue in queues)
    known = items()[f"event#{completed['detail']['id']}"]
    assert "expires_at" in known
    assert kept < app.REMEMBERED_SECONDS
    assert consumer["Resources"]["UsageTable"]["Properties"]["TimeToLiveSpecification"]["AttributeName"] == "expires_at"
    assert "expires_at" not in items()[USAGE]


def test_the_rule_wants_completed_recordings_alone(consumer: dict[str, Any], completed: dict[str, Any]) -> None:
    def wanted(**changes: object) -> bool:
        return matches(consumer, "RecordedRule", completed | changes, {})

    assert wanted()
    assert not wanted(source="my-app")
    assert not wanted(**{"detail-type": "Call Recording Archived"})
    assert not wanted(detail=completed["detail"] | {"status": "in-progress"})
