"""examples/webhook/ posts JSON whatever an event lacks, with a key out of a secret, and keeps what was refused."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from call_recording.bus import ARCHIVED, REQUEST_FAILED, STATUS_CHANGE
from call_recording.changes.events import change_events
from tests.cloudformation import example, matches


@pytest.fixture(scope="module")
def webhook() -> dict[str, Any]:
    return example("webhook")


@pytest.fixture(scope="module")
def target(webhook: dict[str, Any]) -> dict[str, Any]:
    (found,) = webhook["Resources"]["Rule"]["Properties"]["Targets"]
    return dict(found)


def posted(target: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """Return the body that EventBridge makes: what the event does not have is no text at all."""

    def value(path: str) -> str:
        found: Any = event
        for name in path.removeprefix("$.").split("."):
            found = found.get(name, {})
        return "" if found == {} else str(found)

    paths = target["InputTransformer"]["InputPathsMap"]
    filled = re.sub(r"<(\w+)>", lambda found: value(paths[found[1]]), target["InputTransformer"]["InputTemplate"])
    body: dict[str, Any] = json.loads(filled)
    return body


@pytest.mark.parametrize("detail_type", [STATUS_CHANGE, ARCHIVED])
def test_an_event_is_posted_with_what_tells_it_from_others(
    webhook: dict[str, Any], target: dict[str, Any], told: Callable[[str], dict[str, Any]], detail_type: str
) -> None:
    event = told(detail_type)

    body = posted(target, event)

    assert matches(webhook, "Rule", event, {})
    names = ("id", "recording_sid", "account_sid", "call_sid", "status", "start_time")
    assert body == {"type": detail_type} | {name: event["detail"][name] for name in names}


def test_an_event_that_says_next_to_nothing_is_posted_as_json_too(target: dict[str, Any]) -> None:
    """As of a row that nobody can read: it names the recording alone."""
    unreadable = {
        "dynamodb": {"Keys": {"recording_sid": {"S": "RE1"}}, "NewImage": {"status": 1}, "SequenceNumber": "7"}
    }
    (change,) = change_events(unreadable)

    body = posted(target, {"detail-type": change.detail_type, "detail": json.loads(change.detail)})

    assert (body["recording_sid"], body["call_sid"], body["status"]) == ("RE1", "", "")


def test_every_variable_of_the_body_is_set_and_stands_between_quotes(target: dict[str, Any]) -> None:
    template = target["InputTransformer"]["InputTemplate"]

    assert set(re.findall(r"<(\w+)>", template)) == target["InputTransformer"]["InputPathsMap"].keys()
    assert re.findall(r'(?<!")<\w+>|<\w+>(?!")', template) == []


def test_other_events_and_those_of_others_are_not_posted(
    webhook: dict[str, Any], told: Callable[[str], dict[str, Any]]
) -> None:
    event = told(STATUS_CHANGE)

    assert not matches(webhook, "Rule", event | {"source": "my-app"}, {})
    assert not matches(webhook, "Rule", event | {"detail-type": REQUEST_FAILED}, {})


def test_the_key_comes_out_of_a_secret(webhook: dict[str, Any]) -> None:
    key = webhook["Resources"]["Connection"]["Properties"]["AuthParameters"]["ApiKeyAuthParameters"]

    assert key["ApiKeyValue"] == {"Fn::Sub": "{{resolve:secretsmanager:${ApiKeySecretArn}}}"}


def test_what_was_given_up_is_kept(webhook: dict[str, Any], target: dict[str, Any]) -> None:
    policy = webhook["Resources"]["DeadLetterQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (allowed,) = (statement for statement in policy if statement["Effect"] == "Allow")

    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}}


def test_eventbridge_may_post_to_this_destination_alone(webhook: dict[str, Any], target: dict[str, Any]) -> None:
    (policy,) = webhook["Resources"]["Role"]["Properties"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]

    assert target["RoleArn"] == {"Fn::GetAtt": ["Role", "Arn"]}
    assert (statement["Action"], statement["Resource"]) == ("events:InvokeApiDestination", target["Arn"])


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com/recordings/", True),
        ("http://app.example.com/recordings", False),
        ("https://", False),
        ("https://app.example.com/?key=secret", False),
        ("app.example.com", False),
    ],
)
def test_events_leave_over_tls_alone(webhook: dict[str, Any], url: str, is_taken: object) -> None:
    assert bool(re.fullmatch(webhook["Parameters"]["EndpointUrl"]["AllowedPattern"], url)) is is_taken
