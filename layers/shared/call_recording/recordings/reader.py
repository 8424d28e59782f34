"""What callers may read from the table: one recording, a call's, a day's. Never a scan, never Twilio."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from call_recording.errors import RecordingNotFoundError, RowsUnavailableError
from call_recording.read.page_tokens import PageTokens
from call_recording.read.request import CallList, DayList
from call_recording.recordings.facts import account_day
from call_recording.recordings.merge import Row
from call_recording.recordings.table import RecordingsTable, attributes, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryOutputTypeDef

_MOST_QUERIES: Final = 4
"""Queries (of at most 1 MB each) that filling one page may take: the answer must fit through Lambda."""

PUBLIC_ATTRIBUTES: Final = (
    *("recording_sid", "call_sid", "account_sid", "conference_sid", "status", "status_at", "start_time"),
    *("duration_seconds", "channels", "source", "track", "error_code", "price", "price_unit"),
    *("recording_url", "encryption_details", "requested_by", "callback_url", "metadata"),
    *("archive", "deleted_at_twilio", "deletion", "expires_at"),
)
"""What a row shows; the rest of it is for merging and for the indexes."""


def public(row: Mapping[str, Any]) -> Row:
    """Return what callers and consumers see of a row."""
    return {name: row[name] for name in PUBLIC_ATTRIBUTES if name in row}


@dataclass(frozen=True)
class RecordingsReader:
    """Reads rows, newest first where there are several.

    Every method raises RowsUnavailableError when DynamoDB does not answer.
    """

    recordings: RecordingsTable

    def get(self, recording_sid: str) -> Row | None:
        """Return the row as it is now, or None."""
        return _reading(lambda: self.recordings.get(recording_sid))

    def one(self, recording_sid: str, *, account_sid: str | None = None) -> Row:
        """Return the row as it is now.

        Raises RecordingNotFoundError when there is none, or none of that account.
        """
        row = self.get(recording_sid)
        if row is None or account_sid not in {None, row["account_sid"]}:
            raise RecordingNotFoundError(recording_sid)
        return row

    def statuses(self, recording_sids: Sequence[str]) -> dict[str, str]:
        """Return the status of each of the recordings (at most 100) that has a row."""
        return _reading(lambda: self.recordings.statuses(recording_sids))

    def all_of_call(self, call_sid: str) -> list[Row]:
        """Return the call's rows, up to 1 MB of them."""
        query = _Query("by-call", "call_sid", call_sid)
        return [plain(item) for item in _reading(lambda: self._query(query, limit=None, after=None))["Items"]]

    def page_of_call(self, wanted: CallList, tokens: PageTokens) -> tuple[list[Row], str | None]:
        """Return a page of the call's rows, and the token of the next page if there is one."""
        query = _Query("by-call", "call_sid", wanted.call_sid, "account_sid", wanted.account_sid)
        return self._page(query, wanted, tokens)

    def page_of_day(self, wanted: DayList, tokens: PageTokens) -> tuple[list[Row], str | None]:
        """Return a page of the rows of an account's day, and the token of the next page if there is one."""
        key = account_day(wanted.account_sid, wanted.day)
        query = _Query("by-account-day", "account_day", key, "status", wanted.status)
        return self._page(query, wanted, tokens)

    def _page(self, query: "_Query", wanted: CallList | DayList, tokens: PageTokens) -> tuple[list[Row], str | None]:
        """Read on from where the token says until the page is full.

        One row more is looked for, so that a list that ends with the page says so. A token names the
        last row that was given (or, where filtering found none for long, the last one looked at), so
        rows that arrive meanwhile do not shift the pages.
        """
        after: Row | None = None
        if wanted.page_token:
            after = tokens.read(wanted.page_token, listing=wanted.name)
        rows: list[Row] = []
        for _ in range(_MOST_QUERIES):
            # A limit would count what the filter then leaves out.
            limit, begin = None if query.filter_value else wanted.page_size + 1, after
            answer = _reading(lambda limit=limit, begin=begin: self._query(query, limit=limit, after=begin))  # type: ignore[misc]
            rows += [plain(item) for item in answer["Items"]]
            after = plain(answer["LastEvaluatedKey"]) if "LastEvaluatedKey" in answer else None
            if len(rows) > wanted.page_size:
                rows = rows[: wanted.page_size]
                after = {name: rows[-1][name] for name in ("recording_sid", query.key_name, "start_time")}
                break
            if after is None or not query.filter_value:
                break
        return rows, tokens.sign(after, listing=wanted.name) if after else None

    def _query(self, query: "_Query", *, limit: int | None, after: Row | None) -> "QueryOutputTypeDef":
        more: dict[str, Any] = {}
        names, values = {"#key": query.key_name}, {":key": query.key_value}
        if query.filter_value:
            names["#filter"], values[":filter"] = query.filter_name, query.filter_value
            more["FilterExpression"] = "#filter = :filter"
        if limit is not None:
            more["Limit"] = limit
        if after is not None:
            more["ExclusiveStartKey"] = attributes(after)
        return self.recordings.client.query(
            TableName=self.recordings.name,
            IndexName=query.index,
            KeyConditionExpression="#key = :key",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=attributes(values),
            ScanIndexForward=False,
            **more,
        )


@dataclass(frozen=True)
class _Query:
    index: str
    key_name: str
    key_value: str
    filter_name: str = ""
    filter_value: str | None = None


def _reading[T](read: Callable[[], T]) -> T:
    try:
        return read()
    except (ClientError, BotoCoreError) as error:
        raise RowsUnavailableError from error
