"""RecordingsTable: the one place where facts become rows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from call_recording import metrics
from call_recording.errors import MergeContentionError, TableUnavailableError, UnstorableFactsError
from call_recording.recordings.facts import BY_TWILIO, Facts
from call_recording.recordings.merge import OPEN_SHARDS, Row, merge
from call_recording.recordings.statuses import LOWEST_KNOWN_RANK, rank
from call_recording.recordings.updates import Expression, Update, advance, serialize

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

_ATTEMPTS: Final = 12
"""Writers that can win against us in a row before we give up; each loss means somebody else got on."""

OPEN_PAGE_SIZE: Final = 100
_END_OF_TIME: Final = "9999"

MERGED_ATTRIBUTES: Final = (
    *("account_sid", "call_sid", "conference_sid", "status", "status_at", "fact_ranks", "metadata"),
    *("duration_seconds", "channels", "source", "track", "start_time", "recording_url", "error_code"),
    *("price", "price_unit", "encryption_details", "requested_by", "callback_url", "intent"),
    *("account_day", "expires_at", "open_shard"),
    *("control", "archive", "deleted_at_twilio", "deletion"),
)

_deserialize = TypeDeserializer().deserialize


class RecordingsTable(NamedTuple):
    """The table, and how long its rows are kept."""

    client: "DynamoDBClient"
    name: str
    retention_days: int

    def record(self, facts: Facts) -> None:
        """Merge the facts into the recording's row.

        Costs one conditional write where things happen in their usual order: a new row for the
        answer to a start, an update for a callback about a row that exists. Everything else (the
        callback overtook the answer, a late or contradicting report) takes the slower way through
        `merge`, guarded against other writers.

        Raises ForeignAccountError when the row belongs to another account, RecordingClaimedError
        when it serves another request, MergeContentionError when other writers keep getting ahead,
        UnstorableFactsError when the row would not fit, TableUnavailableError when DynamoDB does not
        answer.
        """
        try:
            self._record(facts)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ValidationException":
                raise UnstorableFactsError(facts.recording_sid) from error
            raise TableUnavailableError(facts.recording_sid) from error

    def _record(self, facts: Facts) -> None:
        held = self._create(facts) if facts.requested_by != BY_TWILIO else self._advance(facts)
        for attempt in range(_ATTEMPTS):
            if held is _DONE:
                return
            if attempt:
                metrics.MERGE_CONFLICTS.add()
            held = self._create(facts) if held is None else self._merge_into(held, facts)
        raise MergeContentionError(facts.recording_sid)

    def get(self, recording_sid: str) -> Row | None:
        """Return the row as it is now (strongly consistent), or None."""
        answer = self.client.get_item(
            TableName=self.name, Key={"recording_sid": {"S": recording_sid}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def statuses(self, recording_sids: Sequence[str]) -> dict[str, str]:
        """Return the status of each of the recordings (at most 100) that has a row."""
        found: dict[str, str] = {}
        wanted: Any = {
            self.name: {
                "Keys": [{"recording_sid": {"S": sid}} for sid in recording_sids],
                "ProjectionExpression": "recording_sid, #status",
                "ExpressionAttributeNames": {"#status": "status"},
                "ConsistentRead": True,
            }
        }
        while wanted:
            answer = self.client.batch_get_item(RequestItems=wanted)
            rows = [plain(item) for item in answer["Responses"].get(self.name, [])]
            found |= {row["recording_sid"]: row["status"] for row in rows}
            wanted = answer.get("UnprocessedKeys")
        return found

    def open_rows(self, shard: str, *, started_before: str, after: Row | None = None) -> tuple[list[Row], Row | None]:
        """Return a page of one shard's open rows (keys, account, call, status), oldest first, and where it ended.

        Reads index `open` only, so it costs what is open, whatever is stored. `after` is where an
        earlier page ended.
        """
        start: Any = {"ExclusiveStartKey": attributes(after)} if after else {}
        answer = self.client.query(
            TableName=self.name,
            IndexName="open",
            KeyConditionExpression="open_shard = :shard AND start_time < :before",
            ExpressionAttributeValues={":shard": {"S": shard}, ":before": {"S": started_before}},
            Limit=OPEN_PAGE_SIZE,
            **start,
        )
        ended = answer.get("LastEvaluatedKey")
        return [plain(item) for item in answer["Items"]], plain(ended) if ended else None

    def open_figures(self) -> tuple[int, str | None]:
        """Return how many rows are open, and when the oldest of them started.

        Reads index `open` only.
        """
        starts: list[str] = []
        for shard in OPEN_SHARDS:
            after: Row | None = None
            while True:
                rows, after = self.open_rows(shard, started_before=_END_OF_TIME, after=after)
                starts += [row["start_time"] for row in rows]
                if after is None:
                    break
        return len(starts), min(starts, default=None)

    # Each of the three ways below returns _DONE, or the row that stood in its way (None: no row).

    def _create(self, facts: Facts) -> Row | None:
        item = merge(None, facts, retention_days=self.retention_days)
        try:
            self.client.put_item(
                TableName=self.name,
                Item=attributes(item),
                ConditionExpression="attribute_not_exists(recording_sid)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            return _row_in_the_way(error)
        return _DONE

    def _advance(self, facts: Facts) -> Row | None:
        """Write without reading, on condition that `merge` would overwrite everything we set."""
        if _needs_the_row(facts):
            return self.get(facts.recording_sid)
        return self._update(facts.recording_sid, advance(facts, retention_days=self.retention_days))

    def _merge_into(self, held: Row, facts: Facts) -> Row | None:
        merged = merge(held, facts, retention_days=self.retention_days)
        update = Expression()
        for name in MERGED_ATTRIBUTES:
            if name not in merged and name in held:
                update.drop(update.name(name))
            elif name in merged and merged[name] != held.get(name):
                update.put(update.name(name), update.value(merged[name]))
        if update.is_empty():
            return _DONE
        unchanged = [
            f"{update.name(name)} = {update.value(held[name])}"
            if name in held
            else f"attribute_not_exists({update.name(name)})"
            for name in MERGED_ATTRIBUTES
        ]
        return self._update(facts.recording_sid, update.on(*unchanged))

    def _update(self, recording_sid: str, update: Update) -> Row | None:
        try:
            self.client.update_item(
                TableName=self.name,
                Key={"recording_sid": {"S": recording_sid}},
                UpdateExpression=update.expression,
                ConditionExpression=update.condition,
                ExpressionAttributeNames=update.names,
                ExpressionAttributeValues=update.values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            return _row_in_the_way(error)
        return _DONE


_DONE: Final[Row] = {}


def _needs_the_row(facts: Facts) -> bool:
    """Tell whether the facts cannot be merged without reading: they bring more than one attribute each."""
    is_unusual = facts.status in {"paused", "deleted"} or rank(facts.status) < LOWEST_KNOWN_RANK
    return is_unusual or bool(facts.metadata or facts.callback_url or facts.intent or facts.control or facts.noted)


def _row_in_the_way(error: ClientError) -> Row | None:
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: Any = error.response.get("Item")
    return plain(item) if item else None


def attributes(row: Mapping[str, Any]) -> dict[str, "AttributeValueTypeDef"]:
    """Return plain values as DynamoDB takes them."""
    return {name: serialize(value) for name, value in row.items()}


def plain(item: Mapping[str, Any]) -> Row:
    """Return what DynamoDB gave as plain values; numbers are int where they are whole."""
    return {name: _without_decimals(_deserialize(value)) for name, value in item.items()}


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _without_decimals(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_decimals(inner) for inner in value]
    return value
