"""Where the reconciler stopped, for its next run to go on from there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Bookmarks:
    """Items of IdempotencyTable, one for each thing that can stop halfway."""

    client: "DynamoDBClient"
    table_name: str

    def get(self, name: str) -> dict[str, str]:
        """Return what was put under the name, or nothing."""
        key = {"id": {"S": f"reconcile#{name}"}}
        item = self.client.get_item(TableName=self.table_name, Key=key, ConsistentRead=True).get("Item", {})
        return {name: value["S"] for name, value in item.items() if name != "id"}

    def put(self, name: str, bookmark: dict[str, str]) -> None:
        """Put it in place of what was there."""
        item = {"id": f"reconcile#{name}", **bookmark}
        self.client.put_item(TableName=self.table_name, Item={name: {"S": value} for name, value in item.items()})
