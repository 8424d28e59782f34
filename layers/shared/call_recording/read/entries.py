"""The order of recordings across partitions of an index, and how a list continues on the next page."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from call_recording.recordings.reader import END_OF_TIME, RecordingsReader
from call_recording.recordings.row import KEY, Row

START: Final = "start_time"


class Entry(NamedTuple):
    """A position in a list: newer starts first, and within one second the greater SIDs."""

    start_time: str
    recording_sid: str


@dataclass(frozen=True)
class Part:
    """A part of a list: recordings in some partitions of an index, perhaps only those of some days.

    `name` is the index's partition key. `account_sid` leaves out other accounts.
    """

    index: str
    name: str
    partitions: tuple[str, ...]
    since: str | None = None
    until: str = END_OF_TIME
    account_sid: str | None = None

    def entries(self, reader: RecordingsReader, *, behind: Entry | None, most: int) -> Iterator[Entry]:
        """Yield the entries after that one, without duplicates or gaps even if rows arrive meanwhile.

        The index sorts only by start, so all entries of a second are read before the first is yielded. The reads
        of the partitions are sized so that together they return about `most`.
        """
        until = min(self.until, behind.start_time) if behind else self.until
        each = (self._of(reader, partition, until, most) for partition in self.partitions)
        newest_first = heapq.merge(*each, key=itemgetter(START), reverse=True)
        for start_time, of_a_second in groupby(newest_first, itemgetter(START)):
            # An entry that has just moved can be in two partitions for a moment.
            for sid in sorted({entry[KEY] for entry in of_a_second}, reverse=True):
                entry = Entry(start_time, sid)
                if behind is None or entry < behind:
                    yield entry

    def _of(self, reader: RecordingsReader, partition: str, until: str, most: int) -> Iterator[Mapping[str, Any]]:
        only = {"account_sid": self.account_sid} if self.account_sid else {}
        # A limit would count entries that are then left out.
        limit = None if only else most // len(self.partitions) + 10
        after: Row | None = None
        while True:
            found, after = reader.query(
                self.index,
                {self.name: partition},
                only=only,
                since=self.since,
                until=until,
                limit=limit,
                after=after,
            )
            yield from found
            if after is None:
                return
