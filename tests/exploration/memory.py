"""AWS in memory: DynamoDB's tables, EventBridge's bus and Scheduler's timers, without a network and at once.

Held against moto by `test_memory.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

from botocore import xform_name
from botocore.exceptions import ClientError

from tests.conftest import table_properties
from tests.exploration.expressions import Given, InvalidPathError, Item, condition, placeholders, update

_ANSWERS_NOTHING: Final = (None, "NONE")


class Index(NamedTuple):
    """An index's two keys, and which attributes it shows."""

    partition: str
    order: str
    shown: frozenset[str]

    @classmethod
    def of(cls, key: str, defined: Mapping[str, Any]) -> "Index":
        """Return an index as it is defined, of a table with that key."""
        keys = [one["AttributeName"] for one in defined["KeySchema"]]
        shown = frozenset({key, *keys, *defined["Projection"].get("NonKeyAttributes", [])})
        return cls(keys[0], keys[1], shown)


@dataclass
class Table:
    """A table's items by their key, which is one text."""

    key: str
    indexes: Mapping[str, Index] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    @classmethod
    def of(cls, template: Mapping[str, Any], logical_id: str) -> "Table":
        """Return an empty table as the template defines it, with its indexes."""
        properties = table_properties(template, logical_id)
        (key,) = (one["AttributeName"] for one in properties["KeySchema"])
        indexes = properties.get("GlobalSecondaryIndexes", [])
        return cls(key, {index["IndexName"]: Index.of(key, index) for index in indexes})


class Memory:
    """The AWS of one history. `published` are the entries of the bus, `schedules` the timers by name."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables
        self.published: list[dict[str, Any]] = []
        self.schedules: dict[str, dict[str, Any]] = {}

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a boto3 client asks for and return its answer, or raise ClientError."""
        if operation not in _UNDERSTOOD:
            raise NotImplementedError(operation)
        if unknown := arguments.keys() - _UNDERSTOOD[operation]:
            raise NotImplementedError(f"{operation} with {unknown}")
        work: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(self, f"_{xform_name(operation)}")
        return work(arguments)

    def copy(self) -> "Memory":
        """Return the same things, which from now on change apart."""
        copied = Memory({name: Table(one.key, one.indexes, dict(one.items)) for name, one in self.tables.items()})
        copied.published, copied.schedules = list(self.published), dict(self.schedules)
        return copied

    def state(self) -> tuple[Any, ...]:
        """Return all there is, in an order that does not depend on when it came."""
        return ([sorted(one.items.items()) for one in self.tables.values()], self.published, sorted(self.schedules))

    # --- DynamoDB ---------------------------------------------------------------------------------

    def _get_item(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments["TableName"]]
        held = table.items.get(arguments["Key"][table.key]["S"])
        return {"Item": held} if held else {}

    def _batch_get_item(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        responses = {}
        for name, wanted in arguments["RequestItems"].items():
            table = self.tables[name]
            held = [table.items.get(key[table.key]["S"]) for key in wanted["Keys"]]
            responses[name] = _projected([item for item in held if item], wanted)
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _query(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments["TableName"]]
        index = table.indexes[arguments["IndexName"]]
        given = _given(arguments)
        parts = ("KeyConditionExpression", "FilterExpression", "ProjectionExpression")
        _refuse_unused("Query", arguments, *map(arguments.get, parts))
        is_keyed = condition(arguments["KeyConditionExpression"])
        rows = [item for item in _shown(table, index) if is_keyed(item, given)]
        rows.sort(key=lambda item: item[index.order]["S"], reverse=not arguments.get("ScanIndexForward", True))
        found = rows
        if text := arguments.get("FilterExpression"):
            found = [item for item in rows if condition(text)(item, given)]
        return {"Items": _projected(found, arguments), "Count": len(found), "ScannedCount": len(rows)}

    def _put_item(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        table, item = self.tables[arguments["TableName"]], arguments["Item"]
        key = item[table.key]["S"]
        self._refuse_unless_holds("PutItem", arguments, table.items.get(key))
        table.items[key] = dict(item)
        return {}

    def _update_item(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        table = self.tables[arguments["TableName"]]
        key = arguments["Key"][table.key]["S"]
        held = table.items.get(key)
        self._refuse_unless_holds("UpdateItem", arguments, held, arguments["UpdateExpression"])
        try:
            new = update(arguments["UpdateExpression"])(held or dict(arguments["Key"]), _given(arguments))
        except InvalidPathError:
            _refuse("UpdateItem", "ValidationException", "The document path provided is invalid for update")
        table.items[key] = new
        if arguments.get("ReturnValues") in _ANSWERS_NOTHING:
            return {}
        if arguments["ReturnValues"] != "ALL_OLD":
            raise NotImplementedError(arguments["ReturnValues"])
        return {"Attributes": held} if held else {}

    def _refuse_unless_holds(
        self, operation: str, arguments: Mapping[str, Any], held: Item | None, *others: str
    ) -> None:
        text = arguments.get("ConditionExpression")
        _refuse_unused(operation, arguments, text, *others)
        if text is None or condition(text)(held or {}, _given(arguments)):
            return
        shows = arguments.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        more = {"Item": held} if held and shows else {}
        _refuse(operation, "ConditionalCheckFailedException", "The conditional request failed", **more)

    # --- EventBridge and its Scheduler -----------------------------------------------------------

    def _put_events(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.published += arguments["Entries"]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in arguments["Entries"]]}

    def _create_schedule(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if arguments["Name"] in self.schedules:
            _refuse("CreateSchedule", "ConflictException", "it exists")
        self.schedules[arguments["Name"]] = dict(arguments)
        return {"ScheduleArn": f"arn:aws:scheduler:us-east-1:123456789012:schedule/{arguments['Name']}"}

    def _delete_schedule(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self.schedules.pop(arguments["Name"], None) is None:
            _refuse("DeleteSchedule", "ResourceNotFoundException", "there is none")
        return {}


def _given(arguments: Mapping[str, Any]) -> Given:
    return Given(arguments.get("ExpressionAttributeNames", {}), arguments.get("ExpressionAttributeValues", {}))


def _projected(items: list[Item], wanted: Mapping[str, Any]) -> list[Item]:
    """Return what was asked for of the items; only whole attributes can be."""
    if "ProjectionExpression" not in wanted:
        return items
    names = wanted.get("ExpressionAttributeNames", {})
    shown = [names.get(part.strip(), part.strip()) for part in wanted["ProjectionExpression"].split(",")]
    if any("." in part or "[" in part for part in shown):
        raise NotImplementedError(wanted["ProjectionExpression"])
    return [{part: item[part] for part in shown if part in item} for item in items]


def _shown(table: Table, index: Index) -> Iterator[Item]:
    """Give what an index has of the items with both of its keys."""
    for item in table.items.values():
        if index.partition in item and index.order in item:
            yield {name: value for name, value in item.items() if name in index.shown}


def _refuse_unused(operation: str, arguments: Mapping[str, Any], *expressions: str | None) -> None:
    """Refuse placeholders that no expression uses, as DynamoDB does."""
    given = _given(arguments)
    if {*given.names, *given.values} - placeholders(*expressions):
        _refuse(operation, "ValidationException", "Value provided is unused in expressions")


def _refuse(operation: str, code: str, message: str, **more: Any) -> NoReturn:
    raise ClientError({"Error": {"Code": code, "Message": message}, **more}, operation)  # type: ignore[typeddict-item]


_EXPRESSED: Final = {"TableName", "ExpressionAttributeNames", "ExpressionAttributeValues"}
_CONDITIONAL: Final = _EXPRESSED | {"ConditionExpression", "ReturnValuesOnConditionCheckFailure"}

_UNDERSTOOD: Final = {
    "GetItem": {"TableName", "Key", "ConsistentRead"},
    "BatchGetItem": {"RequestItems"},
    "Query": _EXPRESSED
    | {"IndexName", "KeyConditionExpression", "FilterExpression", "ScanIndexForward", "ProjectionExpression"},
    "PutItem": _CONDITIONAL | {"Item"},
    "UpdateItem": _CONDITIONAL | {"Key", "UpdateExpression", "ReturnValues"},
    "PutEvents": {"Entries"},
    "CreateSchedule": {
        *("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow"),
        *("ActionAfterCompletion", "Target"),
    },
    "DeleteSchedule": {"Name", "GroupName"},
}
"""Each operation, and the arguments of it that are understood."""
