"""Lists of recordings, page by page: a call's, or those of an account's day. Never a scan, never Twilio."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from call_recording.read.page_tokens import PageTokens
from call_recording.read.request import CallList, DayList
from call_recording.recordings.facts import account_day
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import KEY, Row, public

_MOST_QUERIES: Final = 4
"""Queries (of at most 1 MB each) that filling one page may take: a caller waits for 29 s at most."""

MOST_BYTES: Final = 5_000_000
"""What a page's rows may take in the answer. Lambda lets 6 MB through ("Lambda quotas" in its developer guide), and the
largest row, of 400 KB, becomes less than half of that."""


@dataclass(frozen=True)
class Pages:
    """Reads lists, newest first. Both methods raise RowsUnavailableError when DynamoDB does not answer."""

    reader: RecordingsReader
    tokens: PageTokens

    def of_call(self, wanted: CallList) -> tuple[list[Row], str | None]:
        """Return a page of the call's rows, and the token of the next page if there is one."""
        only = {"account_sid": wanted.account_sid} if wanted.account_sid else {}
        return self._page("by-call", {"call_sid": wanted.call_sid}, only, wanted)

    def of_day(self, wanted: DayList) -> tuple[list[Row], str | None]:
        """Return a page of the rows of an account's day, and the token of the next page if there is one."""
        only = {"status": wanted.status} if wanted.status else {}
        partition = {"account_day": account_day(wanted.account_sid, wanted.day)}
        return self._page("by-account-day", partition, only, wanted)

    def _page(
        self, index: str, partition: dict[str, str], only: dict[str, str], wanted: CallList | DayList
    ) -> tuple[list[Row], str | None]:
        """Read on from where the token says until the page is full, or as large as an answer can be.

        One row more is looked for, so that a list that ends with the page says so. A token names the
        last row that was given (or, where filtering found none for long, the last one looked at), so
        rows that arrive meanwhile do not shift the pages.
        """
        after: Row | None = None
        if wanted.page_token:
            after = self.tokens.read(wanted.page_token, listing=wanted.name)
        # A limit would count what the filter then leaves out.
        limit = None if only else wanted.page_size + 1
        rows: list[Row] = []
        for _ in range(_MOST_QUERIES):
            found, after = self.reader.query(index, partition, only=only, limit=limit, after=after)
            rows += found
            given = min(_fitting(rows), wanted.page_size)
            if len(rows) > given:
                rows = rows[:given]
                after = {name: rows[-1][name] for name in (KEY, *partition, "start_time")}
                break
            if after is None or not only:
                break
        return rows, self.tokens.sign(after, listing=wanted.name) if after else None


def _fitting(rows: Iterable[Row]) -> int:
    """Return how many of the rows fit into an answer; at least one, so that a list goes on."""
    fitting, left = 0, MOST_BYTES
    for row in rows:
        # The answer is JSON, and is put as text into the JSON that Lambda hands over: quotes and escapes count twice.
        left -= len(json.dumps(json.dumps(public(row))))
        if left < 0 and fitting:
            break
        fitting += 1
    return fitting
