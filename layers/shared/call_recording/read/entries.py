"""In which order partitions of an index hold recordings together, and how a list goes on where it was left."""

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
    """A place in a list: newer starts come first, and of one second the greater SIDs."""

    start_time: str
    recording_sid: str


@dataclass(frozen=True)
class Part:
    """A part of a list: what is in some partitions of an index, or what of it began on some days.

    `name` is the attribute that the index is partitioned by. `account_sid` leaves out what other accounts have.
    """

    index: str
    name: str
    partitions: tuple[str, ...]
    since: str | None = None
    until: str = END_OF_TIME
    account_sid: str | None = None

    def entries(self, reader: RecordingsReader, *, behind: Entry | None, most: int) -> Iterator[Entry]:
        """Give its entries, those behind that one; whatever comes in meanwhile, none twice and none left out.

        The index orders by start alone, so all of a second are read before the first of it is given. Of each
        partition about as much is read at a time as makes `most` of all together.
        """
        until = min(self.until, behind.start_time) if behind else self.until
        each = (self._of(reader, partition, until, most) for partition in self.partitions)
        newest_first = heapq.merge(*each, key=itemgetter(START), reverse=True)
        for start_time, of_a_second in groupby(newest_first, itemgetter(START)):
            # In two partitions is, for a moment, what was just moved from one to the other.
            for sid in sorted({entry[KEY] for entry in of_a_second}, reverse=True):
                entry = Entry(start_time, sid)
                if behind is None or entry < behind:
                    yield entry

    def _of(self, reader: RecordingsReader, partition: str, until: str, most: int) -> Iterator[Mapping[str, Any]]:
        only = {"account_sid": self.account_sid} if self.account_sid else {}
        # A limit would count what is then left out.
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
