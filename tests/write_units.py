"""What writes to a table cost, in DynamoDB's write units, and where each unit goes.

An item takes one unit for each KB that was begun. An index takes as many for what it holds of the item: once where it
gains or loses it or what it shows of it changes, twice where its key does, not at all where nothing of that changes. A
refused write costs what the held item would. Source: "Provisioned capacity mode", "Using Global Secondary Indexes" and
"Item sizes and formats" in the DynamoDB developer guide.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any
from unittest.mock import patch

import boto3
from botocore.client import BaseClient
from botocore.exceptions import ClientError

Item = Mapping[str, Mapping[str, Any]]
TABLE = "table"
KILOBYTE = 1024


def size(item: Item) -> int:
    """Return an item's bytes, its attributes' names included."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    match kind:
        case "S" | "B":
            return len(held if isinstance(held, bytes) else held.encode())
        case "N":
            return _digits(held)
        case "SS" | "NS" | "BS":
            return sum(_size({kind[0]: one}) for one in held)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + _size(one) for one in held)
    return 3 + sum(1 + len(name.encode()) + _size(one) for name, one in held.items())


def _digits(number: str) -> int:
    return ceil(len(number.lstrip("-0").replace(".", "")) / 2) + 1 + number.startswith("-")


def _units(item: Item) -> int:
    return ceil(size(item) / KILOBYTE)


@dataclass(frozen=True)
class Index:
    """An index of a table: the attributes of its key, and of what it shows; None is everything."""

    key: tuple[str, ...]
    shown: frozenset[str] | None

    def units(self, before: Item, after: Item) -> int:
        """Return what it costs that an item becomes another."""
        held, new = self._entry(before), self._entry(after)
        if held == new:
            return 0
        if held and new and all(held[name] == new[name] for name in self.key):
            return max(_units(held), _units(new))
        return _units(held) + _units(new)

    def _entry(self, item: Item) -> Item:
        if not all(name in item for name in self.key):
            return {}
        return {name: value for name, value in item.items() if self.shown is None or name in self.shown}


@dataclass(frozen=True)
class Table:
    """A table with what its definition says of its indexes."""

    key: str
    indexes: Mapping[str, Index]

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "Table":
        """Read what CreateTable takes and DescribeTable gives."""
        key = definition["KeySchema"][0]["AttributeName"]
        indexes = {}
        for index in definition.get("GlobalSecondaryIndexes", []):
            keys = tuple(one["AttributeName"] for one in index["KeySchema"])
            projection = index["Projection"]
            shown = frozenset({key, *keys, *projection.get("NonKeyAttributes", [])})
            indexes[index["IndexName"]] = Index(keys, None if projection["ProjectionType"] == "ALL" else shown)
        return cls(key, indexes)

    def units(self, before: Item, after: Item) -> dict[str, int]:
        """Return what it costs that an item becomes another, by where: the table, and indexes by name."""
        by_index = {name: index.units(before, after) for name, index in self.indexes.items()}
        return {TABLE: max(1, _units(before), _units(after))} | {name: cost for name, cost in by_index.items() if cost}


@dataclass
class Bill:
    """Every write in order: which table, and the units by where they went. `largest` is the largest item's bytes."""

    writes: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    largest: Counter[str] = field(default_factory=Counter)

    def by_place(self, table: str) -> dict[str, int]:
        """Return the units of the table itself and of each of its indexes."""
        together: Counter[str] = Counter()
        for name, units in self.writes:
            if name == table:
                together.update(units)
        return dict(together)

    @property
    def units(self) -> int:
        """What all of it costs."""
        return sum(sum(units.values()) for _, units in self.writes)


@contextmanager
def billed() -> Iterator[Bill]:
    """Give the bill of what is written from now on, by whichever client."""
    bill, call = Bill(), BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 (what all calls go through)
    client = boto3.client("dynamodb")
    tables = {
        name: Table.of(client.describe_table(TableName=name)["Table"]) for name in client.list_tables()["TableNames"]
    }

    def held(name: str, key: Item) -> Item:
        wanted = {"TableName": name, "Key": key, "ConsistentRead": True}
        found: Item = call(client, "GetItem", wanted).get("Item", {})
        return found

    def count(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        if operation in {"BatchWriteItem", "TransactWriteItems"}:
            raise NotImplementedError(operation)
        if operation not in {"PutItem", "UpdateItem", "DeleteItem"}:
            return call(self, operation, arguments)
        name = arguments["TableName"]
        key = arguments.get("Key") or {tables[name].key: arguments["Item"][tables[name].key]}
        before = held(name, key)
        try:
            answer = call(self, operation, arguments)
        except ClientError:
            bill.writes.append((name, {TABLE: max(1, _units(before))}))
            raise
        after = held(name, key)
        bill.largest[name] = max(bill.largest[name], size(after))
        bill.writes.append((name, tables[name].units(before, after)))
        return answer

    with patch.object(BaseClient, "_make_api_call", count):
        yield bill
