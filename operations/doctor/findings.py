"""What the doctor says: what is wrong, and what to do about it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from operations.doctor.deployed import Deployed


class Finding(NamedTuple):
    """One thing that is not as it should be, and the way out.

    A problem is what loses recordings, requests or messages, or will; everything else is advice.
    """

    what: str
    to_do: str
    is_problem: bool = True


type Check = Callable[[Deployed], Iterator[Finding]]
"""Looks at one thing and changes nothing. Its docstring says what is all right when it finds nothing."""


def advice(what: str, to_do: str) -> Finding:
    """Return what somebody may well have meant so."""
    return Finding(what, to_do, is_problem=False)
