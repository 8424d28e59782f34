"""Where the reconciler stopped, and where its next run continues."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from call_recording.errors import StateUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Bookmarks:
    """Items of IdempotencyTable, one for each task that can stop halfway.

    Both methods raise StateUnavailableError if the table does not answer.
    """

    client: "DynamoDBClient"
    table_name: str

    def get(self, name: str) -> dict[str, str]:
        """Return the texts that were saved under the name; other values, which people can write, are ignored."""
        key = {"id": {"S": f"reconcile#{name}"}}
        try:
            answer = self.client.get_item(TableName=self.table_name, Key=key, ConsistentRead=True)
        except (ClientError, BotoCoreError) as error:
            raise StateUnavailableError from error
        return {name: value["S"] for name, value in answer.get("Item", {}).items() if name != "id" and "S" in value}

    def put(self, name: str, bookmark: dict[str, str]) -> None:
        """Save the texts, replacing the former ones."""
        item = {"id": f"reconcile#{name}", **bookmark}
        try:
            self.client.put_item(TableName=self.table_name, Item={name: {"S": value} for name, value in item.items()})
        except (ClientError, BotoCoreError) as error:
            raise StateUnavailableError from error
