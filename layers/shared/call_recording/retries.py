"""How long to keep asking Twilio: as it asks, longer with every attempt, and only while there is time."""

from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import RateLimitedError

SHORTEST_SECONDS: Final = 2.0
"""With less time than this left a request is not sent: it would only end unknown."""

_ATTEMPTS: Final = 8

_back_off = wait_exponential_jitter(multiplier=0.25, max=4, jitter=0.5)


def retrying(*errors: type[Exception], deadline: Deadline) -> Retrying:
    """Return what calls a function again while it raises one of these, and in the end raises the last one."""
    return Retrying(
        retry=retry_if_exception_type(errors),
        wait=_wait_seconds,
        stop=_no_time_left(deadline),
        sleep=clock.sleep,
        reraise=True,
    )


def _wait_seconds(state: RetryCallState) -> float:
    """Wait as long as Twilio asks, or longer with every attempt, never in step with others."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, RateLimitedError) else None
    return (asked or 0) + _back_off(state)


def _no_time_left(deadline: Deadline) -> Callable[[RetryCallState], bool]:
    def stop(state: RetryCallState) -> bool:
        ends = state.upcoming_sleep + SHORTEST_SECONDS > deadline.remaining_seconds()
        return ends or state.attempt_number >= _ATTEMPTS

    return stop
