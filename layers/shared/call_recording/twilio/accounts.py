"""The Twilio accounts that this stack has used: the reconciler must check every one of them."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clients, clock
from call_recording.errors import StateUnavailableError
from call_recording.sids import ACCOUNT, is_sid

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from call_recording.settings import StateSettings

ITEM: Final = "accounts"
"""The item of IdempotencyTable that lists them."""

_RECALL_SECONDS: Final = 30


class Accounts:
    """The accounts other than the default one, which is always known."""

    def __init__(self, client: "DynamoDBClient", table_name: str, default_account_sid: str) -> None:
        self.client = client
        self.table_name = table_name
        self.default_account_sid = default_account_sid
        self._noted: set[str] = set()
        self._recalled_at = float("-inf")

    @classmethod
    def connect(cls, settings: "StateSettings") -> Self:
        """Return the accounts of the stack that the settings describe."""
        return cls(clients.dynamodb(), settings.idempotency_table, settings.twilio_account_sid)

    def note(self, account_sid: str) -> None:
        """Remember the account; costs a write the first time in an execution environment.

        Only for accounts with credentials: the reconciler will use each one repeatedly.

        Raises StateUnavailableError if the table does not answer.
        """
        if account_sid == self.default_account_sid or account_sid in self._noted:
            return
        try:
            self.client.update_item(
                TableName=self.table_name,
                Key={"id": {"S": ITEM}},
                UpdateExpression="ADD account_sids :account_sid",
                ExpressionAttributeValues={":account_sid": {"SS": [account_sid]}},
            )
        except (ClientError, BotoCoreError) as error:
            raise StateUnavailableError from error
        self._noted.add(account_sid)

    def knows(self, account_sid: str) -> bool:
        """Return whether this stack has used the account, as far as is known: the list is read every 30 s at most."""
        now = clock.monotonic()
        if account_sid not in self._noted and now - self._recalled_at >= _RECALL_SECONDS:
            self._recalled_at = now
            with suppress(StateUnavailableError):
                self.recall()
        return account_sid in self._noted

    def recall(self) -> None:
        """Load the saved accounts, so that adding one of them again costs nothing.

        Raises StateUnavailableError if the table does not answer.
        """
        self._noted.update(self.all())

    def all(self) -> list[str]:
        """Return every account used so far, the default one first; values that are not Account SIDs are ignored.

        Raises StateUnavailableError if the table does not answer.
        """
        try:
            answer = self.client.get_item(TableName=self.table_name, Key={"id": {"S": ITEM}}, ConsistentRead=True)
        except (ClientError, BotoCoreError) as error:
            raise StateUnavailableError from error
        noted = {sid for sid in answer.get("Item", {}).get("account_sids", {}).get("SS", []) if is_sid(sid, ACCOUNT)}
        return [self.default_account_sid, *sorted(noted - {self.default_account_sid})]
