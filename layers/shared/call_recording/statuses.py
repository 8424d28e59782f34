"""Which statuses a recording can have, and which word wins when two sources disagree.

Rank: in-progress, paused (active) < stopped < processing < absent, failed, completed (final) <
deleted. Within a rank the order below decides, so that any two reports have one winner whatever
order they arrive in: a late `in-progress` does not undo `paused`, and where Twilio were to report
both, audio that exists (`completed`) outweighs audio that does not.

Statuses that Twilio adds later are data, not errors: they are stored, rank below every known
status, and keep the row open, so that the reconciler looks at it.
"""

from typing import Final

_ORDER: Final = ("in-progress", "paused", "stopped", "processing", "absent", "failed", "completed", "deleted")
_RANKS: Final = {status: rank for rank, status in enumerate(_ORDER, start=1)}

UNKNOWN_RANK: Final = 0
LOWEST_KNOWN_RANK: Final = 1

FINAL: Final = frozenset({"absent", "failed", "completed", "deleted"})


def rank(status: str) -> int:
    """Return the status's place in the order above; 0 for a status that is not known."""
    return _RANKS.get(status, UNKNOWN_RANK)


def lower_than(status: str) -> tuple[str, ...]:
    """Return every known status that `status` overrides."""
    return _ORDER[: max(0, rank(status) - 1)]


def is_open(status: str) -> bool:
    """Tell whether the recording may still change at Twilio by itself."""
    return status not in FINAL
