"""Time limits: how much of the invocation's time is left, and how old a request may be."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, Self

from call_recording import clock
from call_recording.errors import OutcomeLostError, RequestTooOldError

if TYPE_CHECKING:

    class RemainingTime(Protocol):
        """The part of the Lambda context that has the remaining time."""

        def get_remaining_time_in_millis(self) -> int:
            """Return the milliseconds until Lambda stops the invocation."""
            ...


OLDEST: Final = timedelta(minutes=5)
"""Older requests are not carried out: a call does not wait for a day of retries."""


class Deadline:
    """A moment after which no network call may still be waiting."""

    def __init__(self, seconds: float) -> None:
        self._ends = clock.monotonic() + seconds

    @classmethod
    def of(cls, context: "RemainingTime", *, reserve_seconds: float) -> Self:
        """Return the invocation's deadline, minus `reserve_seconds` to store and answer."""
        return cls(context.get_remaining_time_in_millis() / 1000 - reserve_seconds)

    def remaining_seconds(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self._ends - clock.monotonic())

    def at_most(self, seconds: float) -> float:
        """Return a timeout of `seconds`, or the time left if that is less (at least 0.1 s)."""
        return max(0.1, min(seconds, self.remaining_seconds()))


def refuse_if_too_old(sent_at: datetime | None, *, was_begun: bool = False) -> None:
    """Raise RequestTooOldError for an old request, or OutcomeLostError if it may have been carried out in time."""
    age = clock.now() - sent_at if sent_at else timedelta()
    if age > OLDEST:
        if was_begun:
            raise OutcomeLostError
        raise RequestTooOldError(age_seconds=int(age.total_seconds()), limit_seconds=int(OLDEST.total_seconds()))
