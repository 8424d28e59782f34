"""DynamoDB in memory answers and keeps what moto does: for the calls of real histories, and for made-up conditions."""

import random
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import IDEMPOTENCY_TABLE, TABLE
from tests.exploration.memory import Memory, Table
from tests.exploration.runs import SCENARIOS
from tests.exploration.stage import Stage, tables

KEYS = {TABLE: "recording_sid", IDEMPOTENCY_TABLE: "id"}

Said = tuple[str, dict[str, Any]]
"""An operation with its arguments."""


def answered(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a call is answered, or what it is refused with."""
    try:
        answer = call()
    except ClientError as error:
        refusal: dict[str, Any] = error.response  # type: ignore[assignment]
        return {"code": refusal["Error"]["Code"], "item": refusal.get("Item")}
    return {name: told for name, told in answer.items() if name not in {"ResponseMetadata", "ConsumedCapacity"}}


class Moto:
    """DynamoDB as moto has it."""

    def __init__(self) -> None:
        self._client = boto3.client("dynamodb")
        self._methods: dict[str, Callable[..., Any]] = {
            "BatchGetItem": self._client.batch_get_item,
            "GetItem": self._client.get_item,
            "PutItem": self._client.put_item,
            "Query": self._client.query,
            "UpdateItem": self._client.update_item,
        }

    def answer(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: self._methods[operation](**arguments))

    def items(self, table: str) -> dict[str, Any]:
        found = self._client.scan(TableName=table)["Items"]
        return {item[KEYS[table]]["S"]: item for item in found}

    def empty(self, table: str) -> None:
        for key in self.items(table):
            self._client.delete_item(TableName=table, Key={KEYS[table]: {"S": key}})


@pytest.fixture
def moto(aws: None) -> Moto:
    return Moto()


class ByChance:
    """Choices that a seed makes: any order, and often a fault."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (to be repeatable is the point)

    def choose(self, options: int, _: object) -> int:
        return self._random.randrange(options)


type Recorded = tuple[list[tuple[Said, dict[str, Any]]], dict[str, Table]]
"""What a history said to DynamoDB with each answer, and the tables in its end."""


@pytest.fixture(scope="module")
def histories() -> list[Recorded]:
    """Return a history of every scenario."""
    told: list[Recorded] = []
    with pytest.MonkeyPatch.context() as patched, Stage().set_up() as stage:
        calls: list[tuple[Said, dict[str, Any]]] = []
        unrecorded = Memory.call

        def recorded(memory: Memory, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
            refusals: list[ClientError] = []

            def call() -> dict[str, Any]:
                try:
                    return unrecorded(memory, operation, arguments)
                except ClientError as error:
                    refusals.append(error)
                    raise

            answer = answered(call)
            is_now = stage.history is not None and memory is stage.history.memory  # and not what an index still shows
            if is_now and arguments.keys() & {"TableName", "RequestItems"}:
                calls.append(((operation, arguments), answer))
            if refusals:
                raise refusals[0]
            return answer

        patched.setattr(Memory, "call", recorded)
        for number, scenario in enumerate(SCENARIOS.values()):
            calls.clear()
            scenario.run(stage, ByChance(number), faults=3)
            assert stage.history is not None
            told.append((list(calls), dict(stage.history.memory.tables)))
    return told


def test_what_histories_say_is_answered_and_kept_as_by_moto(histories: list[Recorded], moto: Moto) -> None:
    said: set[str] = set()
    for calls, ended in histories:
        for (operation, arguments), answer in calls:
            assert moto.answer(operation, arguments) == answer, (operation, arguments)
            said.add(operation + (" refused" if "code" in answer else ""))
        for table in KEYS:
            assert moto.items(table) == ended[table].items
            moto.empty(table)

    assert said >= {"GetItem", "PutItem", "PutItem refused", "Query", "UpdateItem", "UpdateItem refused"}


# --- made-up ones -----------------------------------------------------------------------------------

# An order is only asked of values of one type, as in this application: moto cannot tell which of two types is less.
_texts, _numbers = st.sampled_from(["#a", "#map.#a"]), st.sampled_from(["#b", "#map.#b"])
_names, _orders = _texts | _numbers, st.sampled_from(["<", "<=", ">", ">="])
VALUES = {":s": {"S": "a"}, ":t": {"S": "b"}, ":n": {"N": "7"}, ":m": {"N": "12"}}
_values = st.sampled_from(list(VALUES))
_held = {"a": st.sampled_from([VALUES[":s"], VALUES[":t"]]), "b": st.sampled_from([VALUES[":n"], VALUES[":m"]])}
_inner = st.fixed_dictionaries({}, optional=_held).map(lambda held: {"M": held})
_items = st.fixed_dictionaries({}, optional={**_held, "map": _inner})
_simple = st.one_of(
    st.builds("attribute_exists({})".format, _names),
    st.builds("attribute_not_exists({})".format, _names),
    st.builds("{} = {}".format, _names, _values),
    st.builds("{} {} {}".format, _texts, _orders, st.sampled_from([":s", ":t"])),
    st.builds("{} {} {}".format, _numbers, _orders, st.sampled_from([":n", ":m"])),
    st.builds("{} IN ({}, {})".format, _names, _values, _values),
)
_some = _simple | st.builds("NOT {}".format, _simple)
_conditions = st.recursive(
    _some,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({} AND {})".format, inner, inner),
        st.builds("({} OR {} AND {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)
_changes = st.sampled_from(
    [
        "SET #a = :s",
        "SET #a = :n, #map.#b = :t REMOVE #b",
        "SET #b = if_not_exists(#a, :m)",
        "SET #map.#a = if_not_exists(#map.#a, :s)",
        "REMOVE #map.#a, #b",
        "ADD #set :set",
    ]
)


@pytest.fixture
def memory() -> Memory:
    return Memory(tables())


@given(_items, _conditions, _changes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_conditions_and_changes_do_what_they_do_in_moto(
    memory: Memory, moto: Moto, item: dict[str, Any], condition: str, change: str
) -> None:
    said = f"{condition} {change}"
    names = {name: name[1:] for name in ("#a", "#b", "#map", "#set") if name in said}
    values = {
        name: value for name, value in {**VALUES, ":set": {"SS": ["x"]}}.items() if name in said.replace(")", " ")
    }
    key = {"id": {"S": "1"}}
    calls: list[Said] = [
        ("PutItem", {"TableName": IDEMPOTENCY_TABLE, "Item": {**key, **item}}),
        (
            "UpdateItem",
            {
                "TableName": IDEMPOTENCY_TABLE,
                "Key": key,
                "UpdateExpression": change,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
                "ReturnValues": "ALL_OLD",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
        ),
        ("GetItem", {"TableName": IDEMPOTENCY_TABLE, "Key": key}),
    ]
    for operation, arguments in calls:
        if not arguments.get("ExpressionAttributeValues", True):
            del arguments["ExpressionAttributeValues"]
        assert answered(lambda: memory.call(operation, arguments)) == moto.answer(operation, arguments), arguments  # noqa: B023


@pytest.mark.parametrize(
    "unused", [{"ExpressionAttributeNames": {"#a": "a", "#b": "b"}}, {"ExpressionAttributeValues": {":s": {"S": "a"}}}]
)
def test_what_no_expression_uses_is_refused(memory: Memory, moto: Moto, unused: dict[str, Any]) -> None:
    arguments = {
        "TableName": IDEMPOTENCY_TABLE,
        "Key": {"id": {"S": "1"}},
        "UpdateExpression": "REMOVE #a",
        "ExpressionAttributeNames": {"#a": "a"},
        **unused,
    }

    assert answered(lambda: memory.call("UpdateItem", arguments))["code"] == "ValidationException"
    assert moto.answer("UpdateItem", arguments)["code"] == "ValidationException"


def test_what_is_not_understood_is_not_answered(memory: Memory) -> None:
    held = {"TableName": TABLE, "Key": {"recording_sid": {"S": "1"}}}

    calls: list[Said] = [
        ("Scan", {"TableName": TABLE}),
        ("GetItem", {**held, "ProjectionExpression": "status"}),
        ("UpdateItem", {**held, "UpdateExpression": "DELETE a :b", "ExpressionAttributeValues": {":b": {"SS": ["c"]}}}),
        ("PutItem", {"TableName": TABLE, "Item": held["Key"], "ConditionExpression": "begins_with(a, :b)"}),
    ]
    for operation, arguments in calls:
        with pytest.raises(NotImplementedError):
            memory.call(operation, arguments)
