"""What a run left behind, as the promises look at it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

from boto3.dynamodb.types import TypeDeserializer

from tests.simulation.scenario import Scenario
from tests.simulation.witness import Delivery
from tests.simulation.world import World

_deserialize = TypeDeserializer().deserialize


class Change(NamedTuple):
    """A change of a row, as the table's stream has it, and when it was made."""

    number: str
    at: float
    old: dict[str, Any]
    new: dict[str, Any]


@dataclass
class Outcome:
    """The rows, their changes, and the scenario that knows what everybody was told."""

    scenario: Scenario
    rows: dict[str, dict[str, Any]]
    """Of the accounts that record here, by SID; not the poisoner's."""

    changes: list[Change]
    """Every change of every row, in their order."""

    @classmethod
    def of(cls, scenario: Scenario) -> Self:
        """Return what the scenario's run left behind."""
        rows = map(_plain, scenario.world.rows())
        ours = {account.sid for account in scenario.world.accounts}
        stream = scenario.world.aws.changes
        changes = [
            Change(
                change["dynamodb"]["SequenceNumber"],
                at,
                _plain(change["dynamodb"].get("OldImage", {})),
                _plain(change["dynamodb"].get("NewImage", {})),
            )
            for at, change in zip(stream.committed_at, stream.changes(), strict=True)
        ]
        return cls(scenario, {row["recording_sid"]: row for row in rows if row["account_sid"] in ours}, changes)

    @property
    def world(self) -> World:
        """The world of the run."""
        return self.scenario.world

    @cached_property
    def deliveries_of(self) -> Mapping[str, list[Delivery]]:
        """Every delivery by its cause, in the order in which they began."""
        found: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.world.deliveries:
            found[delivery.cause].append(delivery)
        return found


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}
