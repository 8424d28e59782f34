"""The statuses of a recording, and which one wins if two sources disagree.

Rank: in-progress, paused (active) < stopped < processing < absent, failed, completed (final) <
deleted. Within a rank the order below decides, so that any two reports have one winner whatever
order they arrive in: where Twilio were to report both, audio that exists (`completed`) outweighs
audio that does not. Only between the two active statuses can a recording go back and forth; there
Twilio's answers to pause and resume decide, the later one first (see `merge`), and a late
`in-progress` callback does not undo `paused`.

Statuses that Twilio adds later are data, not errors: they are stored, rank below every known
status, and keep the row open, so that the reconciler looks at it.
"""

from typing import Final

ORDER: Final = ("in-progress", "paused", "stopped", "processing", "absent", "failed", "completed", "deleted")
_RANKS: Final = {status: rank for rank, status in enumerate(ORDER, start=1)}

UNKNOWN_RANK: Final = 0
LOWEST_KNOWN_RANK: Final = 1

ACTIVE: Final = frozenset({"in-progress", "paused"})
WITHOUT_AUDIO: Final = frozenset({"absent", "failed"})
"""The recording has ended, and never had audio to fetch or delete."""

FINAL: Final = frozenset({"absent", "failed", "completed", "deleted"})


def rank(status: str) -> int:
    """Return the status's position in the order above; 0 for an unknown status."""
    return _RANKS.get(status, UNKNOWN_RANK)


def outranks(status: str, held: str) -> bool:
    """Return whether `status` is later in a recording's life than the status `held` in its row.

    Neither of the two active ones is: between them only Twilio's answers to pause and resume decide.
    """
    return rank(status) > rank(held) and not {status, held} <= ACTIVE


def is_known(status: str) -> bool:
    """Return whether this version knows the status."""
    return status in _RANKS


def lower_than(status: str) -> tuple[str, ...]:
    """Return every known status that `status` overrides."""
    return ORDER[: max(0, rank(status) - 1)]


def is_open(status: str) -> bool:
    """Return whether the recording may still change at Twilio by itself."""
    return status not in FINAL


def may_be_active(status: str) -> bool:
    """Return whether the recording may be running or paused: also with an unknown status."""
    return rank(status) < _RANKS["stopped"]
