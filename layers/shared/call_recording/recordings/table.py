"""RecordingsTable: the one place where facts become rows."""

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clients, metrics
from call_recording.errors import (
    MergeContentionError,
    RecordingNotFoundError,
    RowsUnavailableError,
    TableUnavailableError,
    UnstorableFactsError,
)
from call_recording.recordings.facts import BY_TWILIO, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import ATTRIBUTES, KEY, Row, attributes, plain
from call_recording.recordings.statuses import LOWEST_KNOWN_RANK, rank
from call_recording.recordings.updates import Expression, Update, advance

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from call_recording.recordings.reader import RecordingsReader
    from call_recording.settings import TableSettings

_ATTEMPTS: Final = 12
"""How many times in a row other writers can win before this one gives up; each time another one made progress."""

_NEVER_STORED: Final = frozenset({"SerializationException", "ValidationException"})
"""DynamoDB's error code for a row that it would refuse again."""

_NO_ROW_OF_OURS: Final = (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What merging raises if an attribute is missing, has an unexpected type, or a value that DynamoDB does not support.
Facts are validated before; rows can be edited by people."""

_MERGED: Final = tuple(name for name in ATTRIBUTES if name != KEY)
"""The attributes that merging may change: all but the key."""


class RecordingsTable(NamedTuple):
    """The table, and its retention."""

    client: "DynamoDBClient"
    name: str
    retention_days: int

    def record(self, facts: Facts, *, needs_row: bool = False) -> None:
        """Merge the facts into the recording's row, with `needs_row` only if it exists.

        In the usual order this costs one request: a new row for the answer to a start, an update for the callback
        of an end. Reports during a recording usually contain nothing new: a read, which costs less, checks that.
        Everything else (the callback overtook the answer, a late or contradicting report) takes the slower path
        through `merge`, guarded against other writers.

        Raises ForeignAccountError if the row belongs to another account, RecordingClaimedError
        if it belongs to another request, RecordingNotFoundError if a row is needed and there is none,
        MergeContentionError if other writers keep winning, UnstorableFactsError if the row
        would be too large, or somebody edited it so that nothing can be merged into it,
        TableUnavailableError if DynamoDB does not answer.
        """
        try:
            self._record(facts, needs_row=needs_row or facts.need_a_row)
        except (ClientError, BotoCoreError, RowsUnavailableError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _NEVER_STORED:
                raise UnstorableFactsError(facts.recording_sid) from error
            raise TableUnavailableError(facts.recording_sid) from error
        except _NO_ROW_OF_OURS as error:
            raise UnstorableFactsError(facts.recording_sid) from error

    def note(self, row: Row, **noted: Any) -> Row:
        """Record in the row what this stack did, and return the updated row.

        Raises RecordingNotFoundError if the row no longer exists, and what `record` and the reader raise.
        """
        self.record(Facts.about(row, **noted))
        return self.reader.one(row["recording_sid"])

    def _record(self, facts: Facts, *, needs_row: bool) -> None:
        held = self._create(facts) if facts.requested_by != BY_TWILIO else self._advance(facts)
        for attempt in range(_ATTEMPTS):
            if held is _DONE:
                return
            if held and "deletion" in held and "deletion" in facts.noted:
                return  # A receipt that a caller may have stays, whatever clocks say.
            if held is None and needs_row:
                raise RecordingNotFoundError(facts.recording_sid)
            if attempt:
                metrics.MERGE_CONFLICTS.add()
            held = self._create(facts) if held is None else self._merge_into(held, facts)
        raise MergeContentionError(facts.recording_sid)

    @classmethod
    def connect(cls, settings: "TableSettings") -> Self:
        """Return the table that the settings name."""
        return cls(clients.dynamodb(), settings.recordings_table, settings.row_retention_days)

    @property
    def reader(self) -> "RecordingsReader":
        """The same table, to be read."""
        # Imported here to shorten cold starts: starts and callbacks hardly ever read.
        from call_recording.recordings.reader import RecordingsReader  # noqa: PLC0415

        return RecordingsReader(self.client, self.name)

    # Each of the three methods below returns _DONE, or the row that prevented it (None: no row).

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
            return self.reader.get(facts.recording_sid)
        return self._update(facts.recording_sid, advance(facts, retention_days=self.retention_days))

    def _merge_into(self, held: Row, facts: Facts) -> Row | None:
        merged = merge(held, facts, retention_days=self.retention_days)
        if merged == held:
            return _DONE
        update = Expression()
        for name in _MERGED:
            if name not in merged and name in held:
                update.drop(update.name(name))
            elif name in merged and merged[name] != held.get(name):
                update.put(update.name(name), update.value(merged[name]))
        unchanged = [
            f"{update.name(name)} = {update.value(held[name])}"
            if name in held
            else f"attribute_not_exists({update.name(name)})"
            for name in _MERGED
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
    """Return whether to merge the facts by reading: they change several attributes, or most likely nothing."""
    is_unusual = facts.status in {"in-progress", "paused", "deleted"} or rank(facts.status) < LOWEST_KNOWN_RANK
    more = (facts.metadata, facts.callback_url, facts.intent, facts.control, facts.timers, facts.noted)
    asked = (facts.requested_call_sid, facts.reference)
    return is_unusual or any(more) or any(asked)


def _row_in_the_way(error: ClientError) -> Row | None:
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    item: Any = error.response.get("Item")
    return plain(item) if item else None
