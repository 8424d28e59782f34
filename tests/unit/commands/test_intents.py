"""A key stands for one request: worked on by one delivery at a time, answered once, and freed by a failure."""

from typing import Any

import boto3
import pytest

from call_recording.commands.intents import Intent, Intents
from call_recording.errors import IdempotencyKeyReusedError, RequestInProgressError, TwilioTimedOutError
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time

CONTEXT: Any = Context()


@pytest.fixture
def intents(aws: None, time: Time) -> Intents:
    return Intents(boto3.client("dynamodb"), IDEMPOTENCY_TABLE)


def test_work_that_is_done_is_not_done_again(intents: Intents) -> None:
    first = intents.once("key", {"a": 1}, lambda _: {"sid": "RE1"}, context=CONTEXT)
    again = intents.once("key", {"a": 1}, lambda _: {"sid": "RE2"}, context=CONTEXT)

    assert (first.answer, first.is_replayed) == ({"sid": "RE1"}, False)
    assert (again.answer, again.is_replayed) == ({"sid": "RE1"}, True)


def test_a_key_stands_for_what_it_first_came_with(intents: Intents) -> None:
    intents.once("key", {"a": 1}, lambda _: {}, context=CONTEXT)

    with pytest.raises(IdempotencyKeyReusedError):
        intents.once("key", {"a": 2}, lambda _: {}, context=CONTEXT)


def test_while_one_delivery_works_another_is_refused(intents: Intents) -> None:
    def work(_: Intent) -> dict[str, Any]:
        with pytest.raises(RequestInProgressError):
            intents.once("key", {}, lambda _: {}, context=CONTEXT)
        return {"sid": "RE1"}

    assert intents.once("key", {}, work, context=CONTEXT).answer == {"sid": "RE1"}


@pytest.mark.parametrize("may_exist", [False, True])
def test_after_a_failure_the_next_delivery_knows_what_was_left_open(
    intents: Intents, *, time: Time, may_exist: bool
) -> None:
    seen: list[tuple[bool, str]] = []

    def fail(intent: Intent) -> dict[str, Any]:
        intent.may_exist = may_exist
        raise TwilioTimedOutError("Twilio did not answer")

    def look(intent: Intent) -> dict[str, Any]:
        seen.append((intent.may_exist, intent.name))
        return {}

    with pytest.raises(TwilioTimedOutError):
        intents.once("key", {}, fail, context=CONTEXT)
    time.turn(60)
    intents.once("key", {}, look, context=CONTEXT)

    assert seen == [(may_exist, "key")]
