"""The time window of an account's list, where it continues, and how it is split for concurrent lists."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple, Self

from call_recording import clock
from call_recording.recordings.facts import moment
from call_recording.twilio.api import RecordingResource

LOOK_BACK: Final = timedelta(hours=24)
"""How far the first listing of an account goes back: no call lasts longer."""
OVERLAP: Final = timedelta(minutes=15)
"""How much is listed again: recordings can appear late, and clocks differ."""
_FIRST_YEAR: Final = 2000
_OF_A_PAGE: Final = 0.8
"""A slice's share of the time of a page: recordings that do not fit on one page cost a second request."""
_SECOND: Final = timedelta(seconds=1)


class Window(NamedTuple):
    """The time window of an account's list, and the page where it continues."""

    begins: datetime
    ends: datetime
    page: str | None = None

    @classmethod
    def of(cls, bookmark: Mapping[str, str], now: datetime) -> Self:
        """Return the account's window: the rest of an unfinished list, or the time since the last one.

        Without a usable bookmark it is a day: too much rather than too little.
        """
        whole = cls(now - LOOK_BACK, now)
        try:
            if bookmark.get("page"):
                window = cls(_moment(bookmark["begins"]), _moment(bookmark["ends"]), bookmark["page"])
            else:
                window = cls(_moment(bookmark["listed_until"]) - OVERLAP, now)
        except (KeyError, OverflowError, ValueError):
            return whole
        is_usable = window.begins <= window.ends <= now + clock.SKEW and window.begins.year >= _FIRST_YEAR
        return window if is_usable else whole

    def holds(self, recording: RecordingResource) -> bool:
        """Return whether the recording was created in it; one without a time is included."""
        created = _created(recording)
        return not created or self._begins <= created <= clock.iso_seconds(self.ends + clock.SKEW)

    def is_behind(self, listed: Sequence[RecordingResource]) -> bool:
        """Return whether everything after this page is older: the page is sorted by time, and ends before the window.

        Otherwise every run would also list the day of margin.
        """
        created = _going_back(listed)
        return bool(created) and created[-1] < self._begins

    def slices(self, listed: Sequence[RecordingResource], *, at_once: int) -> list["Slice"]:
        """Return the time that is still to be listed after this page, the oldest first, in parts for concurrent lists.

        None if that would be more requests than pages, or if this page is not sorted by time.
        """
        created = _going_back(listed)
        if at_once < 2 or not created:
            return []
        newest, oldest = _moment(created[0]), _moment(created[-1])
        pages = (oldest - self.begins) / (newest - oldest)
        if pages < at_once:
            return []
        count = at_once * ceil(pages / (at_once * _OF_A_PAGE))
        edges = [self.begins + (oldest - self.begins) * number / count for number in range(count)]
        return [Slice(*between) for between in zip(edges, [*edges[1:], oldest], strict=True)]

    @property
    def _begins(self) -> str:
        return clock.iso_seconds(self.begins)

    def unfinished(self) -> dict[str, str]:
        """Return the bookmark for what is still to be listed."""
        return {"begins": clock.iso_seconds(self.begins), "ends": clock.iso_seconds(self.ends), "page": self.page or ""}


class Slice(NamedTuple):
    """A part of a window, listed only by its times: Twilio documents its filters only for days.

    What it lists shows whether it uses times.
    """

    begins: datetime
    ends: datetime

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The times for the filters: whole seconds, both ends included."""
        return self.begins - _SECOND, self.ends + _SECOND

    def has_all(self, listed: Sequence[RecordingResource]) -> bool:
        """Return whether everything listed is within the slice."""
        first, last = map(clock.iso_seconds, self.bounds)
        return all(first <= _created(recording) <= last for recording in listed)


def _going_back(listed: Sequence[RecordingResource]) -> list[str]:
    """Return when each was created if they are sorted by time and none is unknown; otherwise nothing."""
    created = [_created(recording) for recording in listed]
    goes_back = bool(created) and all(created) and created[0] > created[-1]
    return created if goes_back and created == sorted(created, reverse=True) else []


def _created(recording: RecordingResource) -> str:
    return _iso(str(recording.get("date_created")))


@lru_cache(4096)
def _iso(told: str) -> str:
    # Whole seconds, in which a busy account has many recordings; parsing a time is the slowest step.
    return moment(told) or ""


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment
