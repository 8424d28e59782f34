"""A key stands for one request: worked on by one delivery at a time, answered once, and freed by a failure."""

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyKeyError, IdempotencyPersistenceLayerError
from botocore.exceptions import ClientError

from call_recording import clock
from call_recording.commands.failures import failure_of
from call_recording.commands.intents import KEPT_FOR, TO_CONTROL, Intent, Intents, Outcome
from call_recording.errors import (
    IdempotencyKeyReusedError,
    RequestInProgressError,
    StateUnavailableError,
    TwilioRefusedError,
    TwilioTimedOutError,
)
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time

CONTEXT: Any = Context()
TAKEN_SECONDS = CONTEXT.remaining_milliseconds / 1000 + clock.SKEW.total_seconds()
"""How long a key is left alone after a delivery of it began."""


class Killed(BaseException):
    """What happens to a function that Lambda stops: nothing catches it."""


@pytest.fixture
def client(aws: None, time: Time) -> Any:
    return boto3.client("dynamodb")


@pytest.fixture
def intents(client: Any) -> Intents:
    return Intents(client, IDEMPOTENCY_TABLE)


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


def be_killed(intents: Intents, *, payload: dict[str, Any] | None = None) -> None:
    def die(_: Intent) -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        intents.once("key", payload or {}, die, context=CONTEXT)


def fail(intents: Intents, *, may_exist: bool = True, asked_until: datetime | None = None, **known: Any) -> None:
    def work(intent: Intent) -> dict[str, Any]:
        intent.may_exist, intent.known = may_exist, known
        intent.asked_until = asked_until
        raise TwilioTimedOutError("Twilio did not answer")

    with pytest.raises(TwilioTimedOutError):
        intents.once("key", {}, work, context=CONTEXT)


def begun(intents: Intents, *, payload: dict[str, Any] | None = None) -> Intent:
    """Return what the next delivery is told before it works."""
    seen: list[Intent] = []

    def work(intent: Intent) -> dict[str, Any]:
        told = Intent(intent.name, intent.asked_at)
        told.asked_until, told.may_exist, told.known = intent.asked_until, intent.may_exist, dict(intent.known)
        seen.append(told)
        return {}

    intents.once("key", payload or {}, work, context=CONTEXT)
    return seen[0]


REFUSED = TwilioRefusedError(http_status=400, code=21220, message="no")


def refused(_: Intent) -> dict[str, Any]:
    raise REFUSED


def test_a_failure_for_good_is_remembered_and_nothing_is_done_any_more(intents: Intents) -> None:
    with pytest.raises(TwilioRefusedError):
        intents.once("key", {}, refused, context=CONTEXT, remembers_failures=True)

    again = [intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT, remembers_failures=True) for _ in "12"]

    assert again == [Outcome({"failure": failure_of(REFUSED)}, is_replayed=True, failure=failure_of(REFUSED))] * 2


def test_a_failure_for_good_is_remembered_only_where_that_is_wanted(intents: Intents) -> None:
    with pytest.raises(TwilioRefusedError):
        intents.once("key", {}, refused, context=CONTEXT)

    assert intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT) == Outcome({"sid": "RE1"})


def test_a_failure_that_may_pass_leaves_the_key_free(intents: Intents) -> None:
    def work(_: Intent) -> dict[str, Any]:
        raise TwilioTimedOutError("Twilio did not answer")

    with pytest.raises(TwilioTimedOutError):
        intents.once("key", {}, work, context=CONTEXT, remembers_failures=True)

    assert intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT, remembers_failures=True).answer["sid"]


def test_a_failure_for_good_that_cannot_be_remembered_is_none_yet(
    client: Any, intents: Intents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, "UpdateItem")

    def work(_: Intent) -> dict[str, Any]:
        monkeypatch.setattr(client, "update_item", throttled)
        raise REFUSED

    with pytest.raises(StateUnavailableError) as raised:
        intents.once("key", {}, work, context=CONTEXT, remembers_failures=True)
    assert isinstance(raised.value.__cause__, IdempotencyPersistenceLayerError)


def item() -> dict[str, Any]:
    (found,) = boto3.client("dynamodb").scan(TableName=IDEMPOTENCY_TABLE)["Items"]
    return dict(found)


def test_a_new_key_has_nothing_behind_it(intents: Intents, time: Time) -> None:
    intent = begun(intents)

    assert (intent.name, intent.asked_at) == ("key", clock.now())
    assert (intent.may_exist, intent.asked_until, intent.known) == (False, None, {})


def test_a_key_is_left_alone_while_its_function_can_live_whatever_its_clock_says(intents: Intents, time: Time) -> None:
    be_killed(intents)
    time.turn(TAKEN_SECONDS)
    with pytest.raises(RequestInProgressError):
        begun(intents)

    time.turn(0.001)

    assert begun(intents).may_exist


def test_after_a_kill_the_next_delivery_knows_since_when_and_until_when_there_was_work(
    intents: Intents, time: Time
) -> None:
    first = clock.now()
    be_killed(intents)
    time.turn(600)

    intent = begun(intents)

    assert (intent.asked_at, intent.may_exist, intent.known) == (first, True, {})
    assert intent.asked_until == first + timedelta(seconds=TAKEN_SECONDS)


def test_the_first_delivery_counts_however_many_were_killed(intents: Intents, time: Time) -> None:
    first = clock.now()
    for _ in range(2):
        be_killed(intents)
        time.turn(600)

    intent = begun(intents)

    assert intent.asked_at == first
    assert intent.asked_until == first + timedelta(seconds=600 + TAKEN_SECONDS)


def test_who_gives_up_says_when_and_what_else_is_known(intents: Intents, time: Time) -> None:
    first = clock.now()
    fail(intents, sid="RE1")
    time.turn(1)

    intent = begun(intents)

    assert (intent.asked_at, intent.asked_until, intent.known) == (first, first, {"sid": "RE1"})


def test_who_did_not_ask_leaves_what_the_one_before_said(intents: Intents, time: Time) -> None:
    first = clock.now()
    fail(intents)
    time.turn(60)
    fail(intents, asked_until=first)
    time.turn(60)

    intent = begun(intents)

    assert (intent.asked_at, intent.asked_until) == (first, first)


def test_whoever_is_killed_after_one_that_gave_up_may_have_acted_until_then(intents: Intents, time: Time) -> None:
    first = clock.now()
    fail(intents, sid="RE1")
    time.turn(1)
    be_killed(intents)
    time.turn(600)

    intent = begun(intents)

    assert (intent.asked_at, intent.known) == (first, {"sid": "RE1"})
    assert intent.asked_until == first + timedelta(seconds=1 + TAKEN_SECONDS)


def test_what_surely_made_nothing_leaves_nothing(intents: Intents, time: Time) -> None:
    be_killed(intents)
    time.turn(600)
    fail(intents, may_exist=False, sid="RE1")
    time.turn(1)

    intent = begun(intents)

    assert (intent.asked_at, intent.asked_until) == (clock.now(), None)
    assert (intent.may_exist, intent.known) == (False, {})


@pytest.mark.parametrize("how", [be_killed, fail])
def test_a_key_that_was_freed_still_stands_for_what_it_came_with(intents: Intents, time: Time, how: Any) -> None:
    how(intents)
    time.turn(600)

    with pytest.raises(IdempotencyKeyReusedError):
        begun(intents, payload={"a": 2})


def test_while_one_delivery_works_another_request_with_its_key_is_told_so(intents: Intents) -> None:
    be_killed(intents)

    with pytest.raises(IdempotencyKeyReusedError):
        begun(intents, payload={"a": 2})


def test_a_day_after_its_first_use_a_key_is_new(intents: Intents, time: Time) -> None:
    fail(intents, sid="RE1")
    time.turn(KEPT_FOR.total_seconds() + 0.5)
    assert begun(intents).may_exist, "the table knows whole seconds"

    intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT)
    time.turn(KEPT_FOR.total_seconds() + 1)
    intent = begun(intents, payload={"a": 2})

    assert (intent.asked_at, intent.may_exist, intent.known) == (clock.now(), False, {})


def test_what_gave_up_a_day_ago_says_nothing_any_more(intents: Intents, time: Time) -> None:
    fail(intents, sid="RE1")
    time.turn(KEPT_FOR.total_seconds() + 1)
    be_killed(intents)
    time.turn(600)

    intent = begun(intents)

    assert (intent.may_exist, intent.known) == (True, {})
    assert intent.asked_at == clock.now() - timedelta(seconds=600)
    assert intent.asked_until == intent.asked_at + timedelta(seconds=TAKEN_SECONDS)


def test_a_key_does_not_expire_under_who_works_on_it(intents: Intents, time: Time) -> None:
    fail(intents)
    time.turn(KEPT_FOR.total_seconds() - 1)
    be_killed(intents)
    time.turn(60)

    with pytest.raises(RequestInProgressError):
        begun(intents)


def test_a_key_stands_for_one_request_of_each_kind(intents: Intents) -> None:
    intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT)
    to_control = Intents(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, TO_CONTROL)

    assert to_control.once("key", {}, lambda _: {"sid": "RE2"}, context=CONTEXT) == Outcome({"sid": "RE2"})


def test_what_is_done_keeps_its_answer_and_nothing_of_the_way_there(intents: Intents, time: Time) -> None:
    fail(intents, sid="RE1")
    time.turn(1)
    intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT)

    kept = item()

    assert json.loads(kept["data"]["S"]) == {"sid": "RE1"}
    assert kept["status"] == {"S": "COMPLETED"}
    assert kept["expiration"] == {"N": str(int(clock.now().timestamp()) + 24 * 3600)}
    assert not {"asked_at", "asked_until", "known", "taken_by"} & kept.keys()
    purpose, _, digest = kept["id"]["S"].partition("#")
    assert (purpose, digest) == ("start-recording", hashlib.sha256(b'"key"').hexdigest())
    assert len(kept["validation"]["S"]) == 64


def test_without_a_key_nothing_is_done(intents: Intents) -> None:
    with pytest.raises(IdempotencyKeyError):
        intents.once("", {}, lambda _: pytest.fail("done"), context=CONTEXT)


def _lose_writes(patch: pytest.MonkeyPatch, client: Any, *, after: int) -> None:
    """Let DynamoDB refuse every write after so many."""
    left = [after]
    update = client.update_item

    def refuse(**arguments: Any) -> Any:
        if left[0] <= 0:
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "UpdateItem")
        left[0] -= 1
        return update(**arguments)

    patch.setattr(client, "update_item", refuse)


def test_where_the_key_cannot_be_taken_nothing_is_done(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lose_writes(monkeypatch, client, after=0)

    with pytest.raises(StateUnavailableError):
        intents.once("key", {}, lambda _: pytest.fail("done"), context=CONTEXT)


def test_work_whose_answer_could_not_be_noted_is_done_all_the_same(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lose_writes(monkeypatch, client, after=1)

    assert intents.once("key", {}, lambda _: {"sid": "RE1"}, context=CONTEXT) == Outcome({"sid": "RE1"})


def test_a_failure_that_could_not_be_noted_is_still_that_failure(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lose_writes(monkeypatch, client, after=1)

    fail(intents)


@pytest.mark.parametrize("error", [ValueError("what nobody expected"), REFUSED])
def test_whatever_failed_is_told_with_why_it_could_not_be_noted(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _lose_writes(monkeypatch, client, after=1)

    def work(_: Intent) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)) as raised:
        intents.once("key", {}, work, context=CONTEXT)
    assert raised.value is error
    assert isinstance(raised.value.__cause__, IdempotencyPersistenceLayerError)


@pytest.mark.parametrize("left", ["nothing", "nothing open", "something open", "killed"])
def test_a_claim_that_meets_itself_is_ours(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch, time: Time, left: str
) -> None:
    """DynamoDB did it, the answer got lost, and boto3 writes once more."""

    def fail(intent: Intent) -> dict[str, Any]:
        intent.may_exist = left == "something open"
        raise Killed if left == "killed" else TwilioTimedOutError("Twilio did not answer")

    began = clock.now()
    if left != "nothing":
        with pytest.raises((Killed, TwilioTimedOutError)):
            intents.once("key", {}, fail, context=CONTEXT)
        time.turn(TAKEN_SECONDS + 1)
    update = client.update_item

    def twice(**arguments: Any) -> Any:
        if "ConditionExpression" in arguments:
            with suppress(ClientError):
                update(**arguments)
        return update(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(client, "update_item", twice)
        intent = begun(intents)

    assert intent.may_exist == (left in {"something open", "killed"})
    if intent.may_exist:
        assert (intent.asked_at, intent.asked_until) == (began, clock.now())


def test_a_key_that_expired_and_is_freed_between_two_claims_is_not_taken_over_with_what_it_remembers(
    intents: Intents, client: Any, monkeypatch: pytest.MonkeyPatch, time: Time
) -> None:
    def die(_: Intent) -> dict[str, Any]:
        raise Killed

    for seconds in (KEPT_FOR.total_seconds() - 30, 60):
        with pytest.raises(Killed):
            intents.once("key", {}, die, context=CONTEXT)
        time.turn(seconds)
    update = client.update_item

    def free_when_it_was_refused(**arguments: Any) -> Any:
        try:
            return update(**arguments)
        except ClientError:
            free = {"UpdateExpression": "SET in_progress_expiration = :free", "Key": arguments["Key"]}
            update(TableName=IDEMPOTENCY_TABLE, ExpressionAttributeValues={":free": {"N": "0"}}, **free)
            raise

    with monkeypatch.context() as patch:
        patch.setattr(client, "update_item", free_when_it_was_refused)
        intent = begun(intents)

    assert not intent.may_exist
