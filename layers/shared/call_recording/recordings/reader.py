"""Reads rows: the only module that does."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from call_recording.errors import RecordingNotFoundError, RowsUnavailableError
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.recordings.row import BATCH, KEY, Row, attributes, items_of, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WATCHED: Final = ("recording_sid", "account_sid", "status", "reference", "control", "timers", "pauses_ended_at")
"""The attributes that controlling a recording, or checking its pause, reads of many rows."""

END_OF_TIME: Final = "9999"


class RecordingsReader(NamedTuple):
    """Reads the table. Every method raises RowsUnavailableError if DynamoDB does not answer."""

    client: "DynamoDBClient"
    name: str

    def get(self, recording_sid: str) -> Row | None:
        """Return the current row (strongly consistent), or None."""
        try:
            answer = self.client.get_item(
                TableName=self.name, Key={"recording_sid": {"S": recording_sid}}, ConsistentRead=True
            )
        except (ClientError, BotoCoreError) as error:
            raise RowsUnavailableError from error
        return plain(answer["Item"]) if "Item" in answer else None

    def one(self, recording_sid: str, *, account_sid: str | None = None) -> Row:
        """Return the current row.

        Raises RecordingNotFoundError if there is none, or none of that account.
        """
        row = self.get(recording_sid)
        if row is None or (account_sid is not None and row.get("account_sid") != account_sid):
            raise RecordingNotFoundError(recording_sid)
        return row

    def statuses(self, recording_sids: Sequence[str]) -> dict[str, str]:
        """Return the status of each of the recordings that has a row; "" if the row has no status."""
        rows = self._some(recording_sids, (KEY, "status"))
        return {sid: row["status"] if isinstance(row.get("status"), str) else "" for sid, row in rows.items()}

    def watched(self, recording_sids: Sequence[str]) -> dict[str, Row]:
        """Return the current WATCHED attributes of each of the recordings that has a row."""
        return self._some(recording_sids, WATCHED)

    def rows(self, recording_sids: Sequence[str]) -> dict[str, Row]:
        """Return the current row of each of the recordings that has one."""
        return self._some(recording_sids)

    def _some(self, recording_sids: Sequence[str], names: Sequence[str] = ()) -> dict[str, Row]:
        shown = {f"#w{number}": name for number, name in enumerate(names)}
        asked = {"ProjectionExpression": ", ".join(shown), "ExpressionAttributeNames": shown} if names else {}
        # DynamoDB refuses a request with duplicate keys.
        keys = [{KEY: {"S": sid}} for sid in dict.fromkeys(recording_sids)]
        try:
            return {row[KEY]: row for row in items_of(self.client, self.name, keys, **asked)}
        except (ClientError, BotoCoreError) as error:
            raise RowsUnavailableError from error

    def all_of_call(
        self,
        call_sid: str,
        *,
        account_sid: str,
        wanted: Sequence[str] = WATCHED,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> list[Row]:
        """Return these current attributes of the account's rows of the call, newest first.

        They are the rows that Twilio assigns to the call, and those that were requested for it. The indexes that list
        them are eventually consistent: very recent rows can be missing.
        Rows of other accounts under the same call are left out but read, which can take long: after every megabyte,
        or BATCH of the account's own rows, `is_enough` decides whether to stop, in each of the two indexes.
        """
        found: dict[str, Row] = {}
        starts: dict[str, str] = {}
        shown = tuple(dict.fromkeys((*wanted, KEY)))
        for index, partition in of_call(call_sid):
            after: Row | None = None
            while True:
                entries, after = self.query(index, partition, only={"account_sid": account_sid}, after=after)
                for some in batched(entries, BATCH, strict=False):
                    found |= self._some([entry[KEY] for entry in some], shown)
                    starts |= {entry[KEY]: entry["start_time"] for entry in some}
                    if is_enough():
                        break
                if after is None or is_enough():
                    break
        newest_first = sorted(found, key=lambda sid: starts[sid], reverse=True)
        return [{name: found[sid][name] for name in wanted if name in found[sid]} for sid in newest_first]

    def open_rows(self, shard: str, *, started_by: str, after: Row | None = None) -> tuple[list[Row], Row | None]:
        """Return a page of one shard's open rows (keys, account, call, status), oldest first, and where it ended.

        Reads only index `open`, so the cost depends only on the open rows. `after` is where an
        earlier page ended.
        """
        wanted = (KEY, "account_sid", "call_sid", "status", "start_time")
        return self.query(
            "open", {"open_shard": shard}, wanted=wanted, until=started_by, oldest_first=True, after=after
        )

    def open_figures(self) -> tuple[int, str | None]:
        """Return how many rows are open, and when the oldest of them started (of those with a readable start).

        Reads only index `open`.
        """
        count, oldest = 0, None
        for shard in OPEN_SHARDS:
            count += self._count("open", {"open_shard": shard})
            after: Row | None = None
            starts: list[str] = []
            while not starts:  # unreadable values sort either first or last
                rows, after = self.query("open", {"open_shard": shard}, oldest_first=True, limit=BATCH, after=after)
                starts = [start for row in rows if (start := _start(row))]
                if after is None:
                    break
            oldest = min(filter(None, [oldest, *starts]), default=None)
        return count, oldest

    def _count(self, index: str, partition: Mapping[str, str]) -> int:
        """Return how many rows a partition of an index has, without fetching them."""
        ((key, value),) = partition.items()
        asked: Any = {
            "TableName": self.name,
            "IndexName": index,
            "Select": "COUNT",
            "KeyConditionExpression": "#key = :key",
            "ExpressionAttributeNames": {"#key": key},
            "ExpressionAttributeValues": attributes({":key": value}),
        }
        count = 0
        while True:
            try:
                answer = self.client.query(**asked)
            except (ClientError, BotoCoreError) as error:
                raise RowsUnavailableError from error
            count += answer["Count"]
            if "LastEvaluatedKey" not in answer:
                return count
            asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def query(  # noqa: PLR0913 (the parts of a query)
        self,
        index: str,
        partition: Mapping[str, str],
        *,
        only: Mapping[str, str] | None = None,
        wanted: Sequence[str] = (KEY, "start_time"),
        since: str | None = None,
        until: str = END_OF_TIME,
        oldest_first: bool = False,
        limit: int | None = None,
        after: Row | None = None,
    ) -> tuple[list[Row], Row | None]:
        """Return the result of one query of an index (at most 1 MB), and where it ended if there is more.

        `partition` is the index's partition key, with its value. `only` leaves out rows whose
        attributes have other values, after `limit` has counted them. `wanted` are the attributes to return. Both name
        what the index has: keys, and the account. `since` and `until` are start times, or days; `after` is where an
        earlier query ended.
        """
        ((key, value),) = partition.items()
        names, values = {"#key": key}, {":key": value, ":until": until}
        more: dict[str, Any] = {}
        when = "start_time <= :until"
        if since is not None:
            when, values[":since"] = "start_time BETWEEN :since AND :until", since
        for number, (name, its_value) in enumerate((only or {}).items()):
            names[f"#only{number}"], values[f":only{number}"] = name, its_value
        if only:
            more["FilterExpression"] = " AND ".join(f"#only{number} = :only{number}" for number in range(len(only)))
        shown = {f"#w{number}": name for number, name in enumerate(wanted)}
        if limit is not None:
            more["Limit"] = limit
        if after is not None:
            more["ExclusiveStartKey"] = attributes(after)
        try:
            answer = self.client.query(
                TableName=self.name,
                IndexName=index,
                KeyConditionExpression=f"#key = :key AND {when}",
                ProjectionExpression=", ".join(shown),
                ExpressionAttributeNames=names | shown,
                ExpressionAttributeValues=attributes(values),
                ScanIndexForward=oldest_first,
                **more,
            )
        except (ClientError, BotoCoreError) as error:
            raise RowsUnavailableError from error
        ended = answer.get("LastEvaluatedKey")
        return [plain(item) for item in answer["Items"]], plain(ended) if ended else None


def of_call(call_sid: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """Return the indexes that a call's rows are found in, each with its partition: no row is in both.

    The second contains recordings that were requested for this call, and that Twilio assigns to another call.
    """
    return ("by-call", {"call_sid": call_sid}), ("by-requested-call", {"requested_other_call_sid": call_sid})


def _start(row: Row) -> str | None:
    """Return when the recording started; None if the row's start is missing or has another format."""
    try:
        is_moment = datetime.fromisoformat(row["start_time"]).tzinfo is not None
    except ValueError:
        return None
    return row["start_time"] if is_moment else None
