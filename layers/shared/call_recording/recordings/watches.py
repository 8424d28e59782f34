"""Which pauses of a recording are watched over, and which of them have ended: what its row remembers of timers.

A row keeps a word for each timer in `timers`, and in `pauses_ended_at` when Twilio last did what ends the watches
before it: a resume, a stop, or a pause with a timer of its own. A pause without one ends nothing. Both only ever grow,
so they merge in any order.

The word is the time at which the timer's pause is surely done, until one of the words below, which come after it.
Twilio's own times are compared with nothing but each other, or with a clock of ours that may be wrong by `clock.SKEW`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from call_recording import clock

ENDED: Final = "ended"
"""Begins the word for a pause that was ended by somebody who knew of it; Twilio's time of the first who did follows."""

OVERDUE: Final = "overdue"
"""Nobody had ended it in time. Whatever happens later, that is still to be told."""

RESUMED: Final = "resumed"
"""Nobody had ended it in time, so that its timer did."""

ACTS_LATE: Final = timedelta(seconds=6)
"""How long after a request Twilio may carry it out although it gave no answer, and what its whole seconds hide."""

IN_FLIGHT: Final = timedelta(seconds=28) + ACTS_LATE
"""How long after a pause was asked for it may yet be done: what a function lives, and what Twilio takes after that."""

UNSETTLED: Final = clock.SKEW + IN_FLIGHT
"""The same, where one clock says when it was asked for and another one when it was done."""

MOST_TIMERS: Final = 20
"""Timers that a row remembers, the latest. What is said of a forgotten one is what is said of an unknown one."""


def latest(held: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of timers after `told`: the later word for each. Timers' names begin with their time."""
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
    """Tell whether an earlier look found that nobody had ended the timer's pause in time."""
    return row.get("timers", {}).get(timer) in {OVERDUE, RESUMED}


def ended_at(row: Mapping[str, Any], timer: str, *, unknown_until: str) -> str | None:
    """Return when Twilio did what ended the timer's pause, as far as that is known, or None.

    `unknown_until` is Twilio's time at which the pause is surely done if the row does not know the timer.
    All are ISO 8601, UTC, with whole seconds.
    """
    word = row.get("timers", {}).get(timer) or unknown_until
    if word.startswith(ENDED):
        return str(word.removeprefix(ENDED).strip())
    last: str = row.get("pauses_ended_at", "")
    return last if last > word else None
