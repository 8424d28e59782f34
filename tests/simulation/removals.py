"""Parts of the application that can be taken out, one at a time, to see that the simulation notices."""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from boto3.dynamodb.types import TypeSerializer
from twilio.request_validator import RequestValidator

from call_recording import clock
from call_recording.archive import archiver
from call_recording.archive.custody import Custody, _Place
from call_recording.bus import Bus
from call_recording.changes import events, publisher
from call_recording.changes.events import ChangeEvent
from call_recording.commands.intents import Intent, Intents, Outcome
from call_recording.commands.pauses import Noted, Pause, Pauses
from call_recording.control import controller, overdue, resume_timers
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.errors import FieldError, UnreadableCallbackError
from call_recording.pause_all import sweep
from call_recording.pause_all.everything import Everything
from call_recording.pause_all.found import Found
from call_recording.pause_all.resume import Resume
from call_recording.pause_all.scope import Search
from call_recording.reconcile import reconciler
from call_recording.recordings import merge, table
from call_recording.recordings.facts import Facts
from call_recording.recordings.row import Row
from call_recording.recordings.table import RecordingsTable
from call_recording.start.starter import _Attempts
from call_recording.twilio.credentials import CredentialStore

Removal = Callable[[], AbstractContextManager[Any]]


def _replaced(owner: Any, name: str, by: Any) -> Removal:
    """Return what puts `by` in a part's place."""
    return lambda: patch.object(owner, name, by)


def _does_nothing(*_: Any, **__: Any) -> None:
    return None


def _is_true(*_: Any, **__: Any) -> bool:
    return True


# --- rows and intents ----------------------------------------------------------------------------


def _always(_: Intents, key: str, payload: object, work: Callable[[Intent], Any], **__: object) -> Outcome:
    return Outcome(work(Intent(key, clock.now())))


def _last_report_wins(table: RecordingsTable, facts: Facts, **_: object) -> None:
    """Write a row as most systems do; everything else is kept as it should be."""
    row = merge.merge(table.reader.get(facts.recording_sid), facts, retention_days=table.retention_days)
    row |= {**facts.told, "status": facts.status}
    item = {name: TypeSerializer().serialize(value) for name, value in row.items()}
    table.client.put_item(TableName=table.name, Item=item)


def _cannot_be_read(*_: object) -> None:
    raise UnreadableCallbackError([FieldError("RecordingStatus", "unknown")])


def _take_turns_until_one_raises(work: dict[str, Iterator[None]], **_: object) -> None:
    for account in sorted(work):
        list(work[account])


@contextmanager
def _without_bounds() -> Iterator[None]:
    with (
        patch("call_recording.recordings.facts.details", lambda given: given),
        patch.object(table, "_NO_ROW_OF_OURS", ()),
    ):
        yield


# --- pauses --------------------------------------------------------------------------------------


def _any_control_ends_it(row: Row, timer: ResumeTimer) -> bool:
    """Take whatever somebody did to the recording since for the end of the pause."""
    return bool(row.get("control", {}).get("seen_at", "") > timer.asked_at) or row["status"] == "completed"


def _is_paused(row: Row, _: ResumeTimer) -> bool:
    return bool(row["status"] == "paused")


# --- pauses of everything ------------------------------------------------------------------------


def _one_pass(self: sweep.Sweep) -> sweep.Proof:
    """Pause what is found, and take that for all there is."""
    scope, unproven = self._look()
    self._pause_each(unproven)
    if self._errors:
        raise self._failure(None)
    return sweep.Proof(scope, clock.now(), self._paused, self._over)


_follow: Final = Search._follow  # noqa: SLF001


def _only_those_who_take_part(self: Search, call_sids: Iterable[str], found: dict[str, None]) -> None:
    """Follow the call's own legs, and of a conference those who are in it."""
    if not found:
        _follow(self, call_sids, found)
    found |= {sid: None for sid in call_sids if not self.is_over(sid)}


_pause: Final = Everything._pause  # noqa: SLF001


class _SetLater(NamedTuple):
    """Timers that are set when all else is done."""

    timers: ResumeTimers
    waiting: list[tuple[ResumeTimer, str]]

    def set(self, timer: ResumeTimer, payload: str) -> None:
        self.waiting.append((timer, payload))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.timers, name)


def _pause_and_then_set_the_timer(self: Everything, *given: Any) -> dict[str, Any]:
    later: Any = _SetLater(self.timers, [])
    answer = _pause(replace(self, timers=later), *given)
    for timer, payload in later.waiting:
        self.timers.set(timer, payload)
    return answer


_change: Final = Found.change


def _change_the_current_one(self: Found, *given: Any, **named: Any) -> Any:
    return _change(self._replace(sid="Twilio.CURRENT"), *given, **named)


_resume: Final = Resume._resume  # noqa: SLF001


@contextmanager
def _as_if_all_ran() -> Iterator[None]:
    def resume(self: Resume, sid: str, entry: Mapping[str, Any], *rest: Any) -> None:
        _resume(self, sid, {**entry, "was": "in-progress"}, *rest)

    with (
        patch.object(Resume, "_resume", resume),
        patch.object(Found, "note_unchanged", lambda _, __, noted, *rest, **more: noted),  # noqa: ARG005
    ):
        yield


class _NotesLater(NamedTuple):
    """Pauses that note what they meet when all else is done."""

    pauses: Pauses
    waiting: list[Callable[[], Noted]]

    def note(self, pause: Pause, *what: Any, is_late: bool) -> Noted:
        self.waiting.append(lambda: self.pauses.note(pause, *what, is_late=is_late))
        return Noted("in-progress", is_late=is_late, by=pause.by)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pauses, name)


_ask: Final = sweep.Sweep._ask  # noqa: SLF001


def _ask_and_then_note(self: sweep.Sweep, one: Found, row: Row | None) -> None:
    later: Any = _NotesLater(self._pauses, [])
    pauses, self._pauses = self._pauses, later
    _ask(self, one, row)
    self._pauses = pauses
    for note in later.waiting:
        note()


# --- events --------------------------------------------------------------------------------------


@contextmanager
def _without_small_events() -> Iterator[None]:
    with patch.object(events, "_MOST_BYTES", 10**9), patch.object(publisher, "_is_taken_alone", lambda *_: False):
        yield


@contextmanager
def _without_ids_of_changes() -> Iterator[None]:
    made = events._event  # noqa: SLF001 (to take a part out is the point)

    def event(told: Any, number: str, detail_type: str, kind: str) -> ChangeEvent:
        return made(told, f"{number}{uuid.uuid4().int % 10**6}", detail_type, kind)._replace(sequence_number=number)

    with patch.object(events, "_event", event):
        yield


def _all_at_once(changes: Sequence[ChangeEvent]) -> Iterator[list[ChangeEvent]]:
    """Put several events of a recording into one request."""
    for first in range(0, len(changes), 10):
        yield list(changes[first : first + 10])


def _says_done(bus: Bus, records: Collection[Any], **named: Any) -> None:
    """Publish what the bus takes, and forget the rest."""
    publish(bus, records, **named)


publish: Final = publisher.publish_changes


@contextmanager
def _without_batch_failures() -> Iterator[None]:
    with patch.object(publisher, "publish_changes", _says_done):
        yield


# --- audio ---------------------------------------------------------------------------------------


def _only_where_the_proof_is(custody: Custody, row: Row) -> list[Any]:
    proof = row.get("archive")
    return [_Place(custody.archive.bucket, proof["key"])] if proof else []


REMOVALS: Final[dict[str | None, Removal]] = {
    None: nullcontext,
    "idempotency": _replaced(Intents, "once", _always),
    "the look before asking again": _replaced(_Attempts, "_adopt", lambda _: None),
    "the merge rule": _replaced(RecordingsTable, "record", _last_report_wins),
    "the reconciler": nullcontext,
    "turns of accounts": _replaced(reconciler, "take_turns", _take_turns_until_one_raises),
    "forced refreshes of credentials": _replaced(CredentialStore, "refresh", lambda *_: None),
    "reading callbacks": lambda: patch("call_recording.callbacks.facts.callback_facts", _cannot_be_read),
    "the bounds of what a callback says": _without_bounds,
    "the proof of callbacks": _replaced(RequestValidator, "validate", _is_true),
    # Pauses, and what acts once.
    "timers of pauses": _replaced(ResumeTimers, "set", _does_nothing),
    "the time at which a timer was set": _replaced(
        resume_timers, "_answered_at", lambda _: clock.now() - timedelta(days=1)
    ),
    "what a row remembers of timers": _replaced(overdue, "_has_ended", _any_control_ends_it),
    "the look at whose pause it is": _replaced(overdue, "_is_own", _is_paused),
    "what an earlier delivery was told": _replaced(
        controller._Delivery,  # noqa: SLF001 (to take a part out is the point)
        "answer_of_an_earlier_one",
        _does_nothing,
    ),
    "the look at what others did since": _replaced(
        controller._Delivery,  # noqa: SLF001
        "_is_as_before",
        _is_true,
    ),
    # Pauses of everything.
    "the closing pass": _replaced(sweep.Sweep, "_passes", _one_pass),
    "the legs of those who take part": _replaced(Search, "_follow", _only_those_who_take_part),
    "the timer before the pause": _replaced(Everything, "_pause", _pause_and_then_set_the_timer),
    "SIDs in place of Twilio.CURRENT": _replaced(Found, "change", _change_the_current_one),
    "the mark of new recordings": _replaced(publisher, "_paused", lambda *_: ()),
    "how a recording was before": _as_if_all_ran,
    "the look at who did what since": _replaced(Resume, "_is_ours", _is_true),
    "the note before asking": _replaced(sweep.Sweep, "_ask", _ask_and_then_note),
    # Events.
    "what can be left out of events": _without_small_events,
    "ids of changes": _without_ids_of_changes,
    "one event of a recording in a request": _replaced(publisher, "_batches", _all_at_once),
    "failures of batches": _without_batch_failures,
    # Audio.
    "the check of audio": _replaced(archiver._Passing, "check", _does_nothing),  # noqa: SLF001
    "the look into the archive before deleting at Twilio": _replaced(Custody, "refuse_unless_kept", _does_nothing),
    "the look at Object Lock": _replaced(Custody, "refuse_if_locked", _does_nothing),
    "the note of where audio is stored": _replaced(Custody, "_places", _only_where_the_proof_is),
    "the tombstone": _replaced(archiver.Archiver, "_is_wanted", lambda _, row: row["status"] == "completed"),
}
