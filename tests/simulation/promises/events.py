"""Every status change of every row comes out, in the order of its row, with one id; nobody's poison delays the others.

An event can come twice, and EventBridge itself promises no order: what counts is when each was first put on the bus.
What was given up on after 23 hours lies in ChangesDeadLetterQueue; no run lasts that long.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from call_recording.bus import ARCHIVED, STATUS_CHANGE
from call_recording.changes.events import MAY_BE_PAUSED
from tests.simulation.aws import Published
from tests.simulation.promises.outcome import Outcome
from tests.simulation.scenario import FAULTS_LAST

_CALM_AFTER: Final = FAULTS_LAST + 150
"""By then what the faults held back has come out."""

_AT_ONCE: Final = 15.0


def broken(outcome: Outcome) -> list[str]:
    """Return what does not hold."""
    first: dict[str, Published] = {}
    for event in outcome.world.aws.published:
        if event.kind in {STATUS_CHANGE, ARCHIVED}:
            first.setdefault(event.detail["id"], event)
    return [
        *_an_id_says_two_things(outcome, first),
        *_changes_did_not_come_out(outcome, first),
        *_order_is_another(outcome, first),
        *_somebody_waited(outcome, first),
    ]


def _expected(outcome: Outcome) -> dict[str, dict[str, str | None]]:
    """Return what each event that must come out says, by its id, in the order of the changes."""
    expected: dict[str, dict[str, str | None]] = {}
    for change in outcome.changes:
        old, new = change.old, change.new
        sid = new["recording_sid"]
        if sid not in outcome.rows:
            continue
        if new["status"] != old.get("status"):
            said = {"status": new["status"], "previous_status": old.get("status"), "recording_sid": sid}
            expected[f"{sid}-{change.number}-status"] = said
        if "archive" in new and "archive" not in old:
            expected[f"{sid}-{change.number}-archived"] = {"status": new["status"], "recording_sid": sid}
    return expected


def _an_id_says_two_things(outcome: Outcome, first: dict[str, Published]) -> Iterator[str]:
    for event in outcome.world.aws.published:
        # Whether something may be paused is as it is when the event comes out, which may be more than once.
        if event.kind in {STATUS_CHANGE, ARCHIVED} and _said(first[event.detail["id"]]) != _said(event):
            yield f"two events have the id {event.detail['id']}"


def _said(event: Published) -> dict[str, Any]:
    return {name: value for name, value in event.detail.items() if name != MAY_BE_PAUSED}


def _changes_did_not_come_out(outcome: Outcome, first: dict[str, Published]) -> Iterator[str]:
    expected = _expected(outcome)
    for event_id, said in expected.items():
        event = first.get(event_id)
        if event is None:
            yield f"{event_id} did not come out: {said}"
        elif any(event.detail.get(name) != value for name, value in said.items()):
            yield f"{event_id} does not say {said}"
    for event_id, event in first.items():
        if event_id not in expected and event.detail["recording_sid"] in outcome.rows:
            yield f"{event_id} tells a change that there was not"


def _order_is_another(outcome: Outcome, first: dict[str, Published]) -> Iterator[str]:
    of_row: dict[str, list[int]] = defaultdict(list)
    order = {event_id: number for number, event_id in enumerate(_expected(outcome))}
    for event_id, event in first.items():
        if event_id in order:
            of_row[event.detail["recording_sid"]].append(order[event_id])
    for sid, numbers in of_row.items():
        if numbers != sorted(numbers):
            yield f"the events of {sid} came out in another order than its changes were made"


def _somebody_waited(outcome: Outcome, first: dict[str, Published]) -> Iterator[str]:
    for change in outcome.changes:
        event = first.get(f"{change.new['recording_sid']}-{change.number}-status")
        is_calm = change.at > outcome.world.begins + _CALM_AFTER
        if is_calm and event and change.new["recording_sid"] in outcome.rows and event.at > change.at + _AT_ONCE:
            yield f"{event.detail['id']} came {event.at - change.at:.0f} s late, when nothing went wrong but poison"
