"""Which time an account's recordings are listed of, where that goes on, and how it is cut for several lists at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple, Self

from call_recording import clock
from call_recording.recordings.facts import moment
from call_recording.twilio.api import RecordingResource

LOOK_BACK: Final = timedelta(hours=24)
"""How far the first look at an account goes back: a call lives no longer."""
OVERLAP: Final = timedelta(minutes=15)
"""How much of what was listed is listed again: recordings can show up late, and clocks differ."""
_FIRST_YEAR: Final = 2000
_OF_A_PAGE: Final = 0.8
"""What a slice has of the time of a page: what does not fit on one costs a second request, and ends later."""
_SECOND: Final = timedelta(seconds=1)


class Window(NamedTuple):
    """Which time an account's recordings are listed of, and the page where that goes on."""

    begins: datetime
    ends: datetime
    page: str | None = None

    @classmethod
    def of(cls, bookmark: Mapping[str, str], now: datetime) -> Self:
        """Return what the account's bookmark says: the rest of an unfinished list, or the time since the last one.

        Where there is none, or one that nobody can go on from, that is a day: too much rather than too little.
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
        """Tell whether the recording was created in it; one that does not say when is not passed over."""
        created = _created(recording)
        return not created or self._begins <= created <= clock.iso_seconds(self.ends + clock.SKEW)

    def is_behind(self, listed: Sequence[RecordingResource]) -> bool:
        """Tell whether whatever Twilio lists after this page is older: the page goes back in time, and past it.

        Otherwise every run would go through the day of slack, too.
        """
        created = _going_back(listed)
        return bool(created) and created[-1] < self._begins

    def slices(self, listed: Sequence[RecordingResource], *, at_once: int) -> list["Slice"]:
        """Return the time that is still to be listed after this page, the oldest first, in parts to be listed at once.

        None where that would be more requests than pages, or where this page does not go back in time.
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
        """Return the bookmark of what is still to be listed."""
        return {"begins": clock.iso_seconds(self.begins), "ends": clock.iso_seconds(self.ends), "page": self.page or ""}


class Slice(NamedTuple):
    """A part of a window, to be listed by its times alone: Twilio documents its filters for days only.

    Whether it looks at times shows in what it lists.
    """

    begins: datetime
    ends: datetime

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """After and before which times recordings are asked for: whole seconds, and both ends belong to it."""
        return self.begins - _SECOND, self.ends + _SECOND

    def has_all(self, listed: Sequence[RecordingResource]) -> bool:
        """Tell whether nothing is listed that was not asked for."""
        first, last = map(clock.iso_seconds, self.bounds)
        return all(first <= _created(recording) <= last for recording in listed)


def _going_back(listed: Sequence[RecordingResource]) -> list[str]:
    """Return when each was created if that goes back in time, none being unknown; else nothing."""
    created = [_created(recording) for recording in listed]
    goes_back = bool(created) and all(created) and created[0] > created[-1]
    return created if goes_back and created == sorted(created, reverse=True) else []


def _created(recording: RecordingResource) -> str:
    return _iso(str(recording.get("date_created")))


@lru_cache(4096)
def _iso(told: str) -> str:
    # Whole seconds, in which a busy account has many recordings; reading one takes longer than all else about it.
    return moment(told) or ""


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment
