"""How long to retry requests to Twilio: as Twilio asks, with longer waits each time, and only while there is time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import RateLimitedError, TwilioUnreachableError

if TYPE_CHECKING:
    from tenacity import RetryCallState

SHORTEST_SECONDS: Final = 2.0
"""With less time than this left a request is not sent: its outcome would be unknown."""

_ATTEMPTS: Final = 8


class Patience:
    """Calls a function again while it raises one of `errors`, and finally raises the last one."""

    def __init__(self, *errors: type[Exception], deadline: Deadline) -> None:
        self._errors = errors
        self._deadline = deadline

    def __call__[**P, R](self, work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Return what `work` returns."""
        try:
            return work(*args, **named)
        except self._errors as error:
            return self._again(error, lambda: work(*args, **named))

    def refuse_without_time(self) -> None:
        """Raise TwilioUnreachableError if too little time is left to get the answer to a request."""
        if self._deadline.remaining_seconds() < SHORTEST_SECONDS:
            raise TwilioUnreachableError("no time is left for a request to Twilio")

    def _again[R](self, first: Exception, work: Callable[[], R]) -> R:
        # Imported here: a fortieth of a cold start, and nearly every request succeeds the first time.
        from tenacity import Retrying, retry_if_exception_type, wait_exponential_jitter  # noqa: PLC0415

        back_off = wait_exponential_jitter(multiplier=0.25, max=4, jitter=0.5)
        failed = [first]

        def attempt() -> R:
            if failed:
                raise failed.pop()
            return work()

        return Retrying(
            retry=retry_if_exception_type(self._errors),
            # As long as Twilio asks, longer with every attempt, and with jitter.
            wait=lambda state: _asked_seconds(state) + back_off(state),
            stop=self._no_time_is_left,
            sleep=clock.sleep,
            reraise=True,
        )(attempt)

    def _no_time_is_left(self, state: "RetryCallState") -> bool:
        ends = state.upcoming_sleep + SHORTEST_SECONDS > self._deadline.remaining_seconds()
        return ends or state.attempt_number >= _ATTEMPTS


def _asked_seconds(state: "RetryCallState") -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_seconds or 0 if isinstance(error, RateLimitedError) else 0
