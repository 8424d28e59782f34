"""Lists of recordings, page by page: a call's, or an account's. Never a scan, never Twilio."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from call_recording.read.page_tokens import PageTokens
from call_recording.read.request import CallList, DayList
from call_recording.recordings.facts import account_day, account_reference
from call_recording.recordings.reader import END_OF_TIME, RecordingsReader, of_call
from call_recording.recordings.row import KEY, Row, public

_MOST_QUERIES: Final = 4
"""Queries (of 1 MB each) that filling one page may take: a caller waits for 29 s at most."""

MOST_BYTES: Final = 5_000_000
"""What a page's rows may take in the answer. Lambda lets 6 MB through ("Lambda quotas" in its developer guide), and the
largest row, of 400 KB, becomes less than half of that."""


@dataclass(frozen=True)
class _Part:
    """A part of a list: a partition of an index, or what of it began on some days."""

    index: str
    partition: dict[str, str]
    since: str | None = None
    before: str = END_OF_TIME


@dataclass(frozen=True)
class Pages:
    """Reads lists, newest first. Both methods raise RowsUnavailableError when DynamoDB does not answer."""

    reader: RecordingsReader
    tokens: PageTokens

    def of_call(self, wanted: CallList) -> tuple[list[Row], str | None]:
        """Return a page of the call's rows, and the token of the next page if there is one.

        First come those that are the call's for Twilio, then those that were asked for on it.
        """
        parts = [_Part(index, partition) for index, partition in of_call(wanted.call_sid)]
        return self._page(parts, _only(account_sid=wanted.account_sid), wanted)

    def of_day(self, wanted: DayList) -> tuple[list[Row], str | None]:
        """Return a page of an account's rows, and the token of the next page if there is one.

        They are those of a day or of several, or else those with a reference or of a conference.
        """
        only, days, account_sid = _only(status=wanted.status), wanted.days, wanted.account_sid
        since, before = (days[-1], f"{days[0]}T~") if days else (None, END_OF_TIME)
        if wanted.conference_sid:
            only |= _only(account_sid=None if wanted.is_of_any_account else account_sid, reference=wanted.reference)
            parts = [_Part("by-conference", {"conference_sid": wanted.conference_sid}, since, before)]
        elif wanted.reference:
            partition = {"account_reference": account_reference(account_sid, wanted.reference)}
            parts = [_Part("by-reference", partition, since, before)]
        else:
            parts = [_Part("by-account-day", {"account_day": account_day(account_sid, day)}) for day in days]
        return self._page(parts, only, wanted)

    def _page(
        self, parts: Sequence[_Part], only: Mapping[str, str], wanted: CallList | DayList
    ) -> tuple[list[Row], str | None]:
        """Read on from where the token says until the page is full, or as large as an answer can be.

        The parts are read one after the other, as if they were one. One row more is looked for, so that a list
        that ends with the page says so. A token names the last row that was given (or, where filtering found
        none for long, the last one looked at), so rows that arrive meanwhile do not shift the pages.
        """
        rows: list[Row] = []
        after: Row | None = None
        last: Row | None = None
        room, left = MOST_BYTES, _MOST_QUERIES
        if wanted.page_token:
            after = self.tokens.read(wanted.page_token, listing=wanted.name)
            parts = parts[[part.partition.items() <= after.items() for part in parts].index(True) :]
        for part in parts:
            while True:
                # A limit would count what the filter then leaves out.
                limit = None if only else wanted.page_size + 1 - len(rows)
                found, after = self.reader.query(
                    part.index,
                    part.partition,
                    only=only,
                    since=part.since,
                    before=part.before,
                    limit=limit,
                    after=after,
                )
                for row in found:
                    room -= _bytes(row)
                    if last and (len(rows) == wanted.page_size or room < 0):
                        return rows, self.tokens.sign(last, listing=wanted.name)
                    rows.append(row)
                    last = {name: row[name] for name in (KEY, *part.partition, "start_time")}
                if after is None:
                    break
                left -= 1
                if not only or not left:
                    return rows, self.tokens.sign(after, listing=wanted.name)
        return rows, None


def _only(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _bytes(row: Row) -> int:
    # The answer is JSON, and is put as text into the JSON that Lambda hands over: quotes and escapes count twice.
    return len(json.dumps(json.dumps(public(row))))
