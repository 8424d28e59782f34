"""Attempts at work that comes in batches, which count where they fail: Lambda sees no error in an item given back."""

from collections.abc import Iterator
from contextlib import contextmanager

from call_recording import metrics, problems
from call_recording.errors import OURS, TWILIO


@contextmanager
def attempt(work: str) -> Iterator[None]:
    """Count what fails inside, with who can change that; it goes on failing.

    Nobody waits for a batch: what over HTTP is a caller's mistake is ours here, as a secret or a row that is gone.
    """
    try:
        yield
    except Exception as error:
        cause = TWILIO if problems.cause(error) == TWILIO else OURS
        metrics.FAILED_ATTEMPTS.add(work=work, cause=cause)
        raise
