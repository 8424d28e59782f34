"""Which pauses of a recording are monitored, and which have ended: what its row stores about timers.

A row has a word for each timer in `timers`, and in `pauses_ended_at` when Twilio last did what ends earlier
monitored pauses: a resume, a stop, or a pause with its own timer. A pause without one ends nothing. Both only ever
increase, so they merge in any order.

The word is first the time by which the timer's pause is certainly done, then one of the words below, which sort after
it. Twilio's own times are compared only with each other, or with our clocks, which may be wrong by `clock.SKEW`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from call_recording import clock

ENDED: Final = "ended"
"""Prefix for a pause that a later change ended; the time of the first such change at Twilio follows."""

OVERDUE: Final = "overdue"
"""The pause timed out. That is still to be reported, whatever happens later."""

RESUMED: Final = "resumed"
"""The pause timed out, and its timer resumed the recording."""

ACTS_LATE: Final = timedelta(seconds=6)
"""How long after an unanswered request Twilio may still carry it out, including the rounding to seconds."""

IN_FLIGHT: Final = timedelta(seconds=28) + ACTS_LATE
"""How long after its request a pause may still be done: the function's run time, and Twilio's time after that."""

UNSETTLED: Final = clock.SKEW + IN_FLIGHT
"""The same, if two clocks measure the request and the pause."""

MOST_TIMERS: Final = 20
"""The most timers that a row stores, the latest. A forgotten one counts as unknown."""


def latest(held: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Return the timers after `told`: the later word for each. Timers' names start with their time."""
    known = {name: _later(held.get(name, ""), told.get(name, "")) for name in {*held, *told}}
    return {name: known[name] for name in sorted(known)[-MOST_TIMERS:]}


def _later(word: str, other: str) -> str:
    return (min if word.startswith(ENDED) and other.startswith(ENDED) else max)(word, other)


def ended_by(control: str, row: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the word for each timer whose pause ends with what Twilio did at the time `control`.

    `row` is the row before Twilio was asked for that: whatever Twilio had answered by then came first.
    """
    if not row or "control" not in row:
        return {}
    last: str = row["control"]["changed_at"]
    return {
        name: f"{ENDED} {control}" for name, word in row.get("timers", {}).items() if word <= last or word < control
    }


def is_to_be_told(row: Mapping[str, Any], timer: str) -> bool:
    """Return whether an earlier check found that the timer's pause had timed out."""
    return row.get("timers", {}).get(timer) in {OVERDUE, RESUMED}


def ended_at(row: Mapping[str, Any], timer: str, *, unknown_until: str) -> str | None:
    """Return when the timer's pause ended according to Twilio, or None if that is not known.

    `unknown_until` is Twilio's time by which the pause is certainly done if the row does not have the timer.
    All are ISO 8601, UTC, with whole seconds.
    """
    word = row.get("timers", {}).get(timer) or unknown_until
    if word.startswith(ENDED):
        return str(word.removeprefix(ENDED).strip())
    last: str = row.get("pauses_ended_at", "")
    return last if last > word else None
