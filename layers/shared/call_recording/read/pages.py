"""Lists of recordings, page by page: a call's, or an account's. Never a scan, never Twilio."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from call_recording.read.entries import START, Entry, Part
from call_recording.read.page_tokens import PageTokens
from call_recording.read.request import CallList, DayList
from call_recording.recordings.facts import account_day, account_reference, shards_of
from call_recording.recordings.reader import END_OF_TIME, RecordingsReader, of_call
from call_recording.recordings.row import BATCH, KEY, Row, public

MOST_LOOKED_AT: Final = 2_000
"""The most rows to read for one page: a caller waits for 29 s at most."""

MOST_BYTES: Final = 5_000_000
"""The most bytes of a page's rows in the answer. Lambda allows 6 MB ("Lambda quotas" in its developer guide), and the
largest row, of 400 KB, becomes less than half of that."""


@dataclass(frozen=True)
class Pages:
    """Reads lists, newest first. Both methods raise RowsUnavailableError if DynamoDB does not answer."""

    reader: RecordingsReader
    tokens: PageTokens

    def of_call(self, wanted: CallList) -> tuple[list[Row], str | None]:
        """Return a page of the call's rows, and the token of the next page if there is one.

        First the recordings that Twilio assigns to the call, then those that were requested for it.
        """
        parts = [
            Part(index, name, (wanted.call_sid,), account_sid=wanted.account_sid)
            for index, partition in of_call(wanted.call_sid)
            for name in partition
        ]
        return self._page(parts, {}, wanted)

    def of_day(self, wanted: DayList) -> tuple[list[Row], str | None]:
        """Return a page of an account's rows, and the token of the next page if there is one.

        They are those of one or more days, those with a reference, or those of a conference.
        """
        only, days, account_sid = _only(status=wanted.status), wanted.days, wanted.account_sid
        since, until = (days[-1], f"{days[0]}T~") if days else (None, END_OF_TIME)
        if wanted.conference_sid:
            only |= _only(reference=wanted.reference)
            of_whom = None if wanted.is_of_any_account else account_sid
            parts = [Part("by-conference", "conference_sid", (wanted.conference_sid,), since, until, of_whom)]
        elif wanted.reference:
            partitions = _everywhere(account_reference(account_sid, wanted.reference))
            parts = [Part("by-reference", "account_reference", partitions, since, until)]
        else:
            parts = [Part("by-account-day", "account_day", _everywhere(account_day(account_sid, day))) for day in days]
        return self._page(parts, only, wanted)

    def _page(
        self, parts: Sequence[Part], only: Mapping[str, str], wanted: CallList | DayList
    ) -> tuple[list[Row], str | None]:
        """Read from the token's position until the page is full, or as large as an answer can be.

        The parts are read in sequence, like one list. One more row is read, so that a list that ends with
        the page has no next token. A token names the last row of the page (or, if a filter matched none for
        long, the last one read), so rows that arrive meanwhile do not shift the pages.
        """
        behind: Entry | None = None
        if wanted.page_token:
            position = self.tokens.read(wanted.page_token, listing=wanted.name)
            behind = Entry(position[START], position[KEY])
            parts = parts[[position.get(part.name) == part.partitions[-1] for part in parts].index(True) :]
        rows: list[Row] = []
        last: dict[str, str] | None = None
        room, left = MOST_BYTES, MOST_LOOKED_AT
        # A filter may leave out most rows, so the number to read for the rest of a page is unknown.
        most = BATCH if only else wanted.page_size + 1
        for part in parts:
            for entry, row in self._looked_at(part.entries(self.reader, behind=behind, most=most), most):
                is_wanted = row is not None and all(row.get(name) == value for name, value in only.items())
                room -= _bytes(row) if row else 0
                if last and (len(rows) == wanted.page_size or room < 0 or not left):
                    return rows, self.tokens.sign(last, listing=wanted.name)
                if row and is_wanted:
                    rows.append(row)
                last = {KEY: entry.recording_sid, START: entry.start_time, part.name: part.partitions[-1]}
                left -= 1
            behind = None
        return rows, None

    def _looked_at(self, entries: Iterator[Entry], most: int) -> Iterator[tuple[Entry, Row | None]]:
        """Yield entries with their current rows; None for an entry that has no row any more."""
        while some := list(islice(entries, min(most, BATCH))):
            rows = self.reader.rows([entry.recording_sid for entry in some])
            for entry in some:
                yield entry, rows.get(entry.recording_sid)


def _everywhere(key: str) -> tuple[str, ...]:
    """Return every partition of the key: its shards, and the one of rows from before there were shards."""
    return (*shards_of(key), key)


def _only(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _bytes(row: Row) -> int:
    # The answer is JSON inside the JSON that Lambda returns: quotes and escapes count twice.
    return len(json.dumps(json.dumps(public(row))))
