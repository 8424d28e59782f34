"""Counts failures in batch work: for Lambda, an item that is returned for a retry is not an error."""

from collections.abc import Iterator
from contextlib import contextmanager

from call_recording import metrics, problems
from call_recording.errors import OURS, TWILIO


@contextmanager
def attempt(work: str) -> Iterator[None]:
    """Count an exception inside, with its cause, and re-raise it.

    A batch has no caller: what is a caller's mistake over HTTP is ours here, such as a missing secret or row.
    """
    try:
        yield
    except Exception as error:
        cause = TWILIO if problems.cause(error) == TWILIO else OURS
        metrics.FAILED_ATTEMPTS.add(work=work, cause=cause)
        raise
