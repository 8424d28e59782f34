"""What the doctor reports: what is wrong, and what to do about it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from operations.doctor.deployed import Deployed


class Finding(NamedTuple):
    """One thing that is wrong, and how to fix it.

    A problem loses recordings, requests or messages, now or later; everything else is advice.
    """

    what: str
    to_do: str
    is_problem: bool = True


type Check = Callable[[Deployed], Iterator[Finding]]
"""Checks one thing and changes nothing. The first line of its docstring is true if it finds nothing."""


def advice(what: str, to_do: str) -> Finding:
    """Return a finding that may be intended."""
    return Finding(what, to_do, is_problem=False)
