"""How much of the invocation's time is left, and what a network call may take of it."""

from typing import Protocol, Self

from call_recording import clock


class RemainingTime(Protocol):
    """The part of the Lambda context that tells the time left."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda stops the invocation."""
        ...


class Deadline:
    """A moment after which no network call may still be waiting."""

    def __init__(self, seconds: float) -> None:
        self._ends = clock.monotonic() + seconds

    @classmethod
    def of(cls, context: RemainingTime, *, reserve_seconds: float) -> Self:
        """Return the invocation's deadline, keeping `reserve_seconds` back to store and answer."""
        return cls(context.get_remaining_time_in_millis() / 1000 - reserve_seconds)

    def remaining_seconds(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self._ends - clock.monotonic())

    def at_most(self, seconds: float) -> float:
        """Return a time-out of `seconds`, or what is left if that is less (at least 0.1 s)."""
        return max(0.1, min(seconds, self.remaining_seconds()))
