"""One run for one seed, with a part of the application taken out if asked for."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from unittest.mock import patch

from boto3.dynamodb.types import TypeSerializer

from call_recording import clock
from call_recording.commands.intents import Intent, Intents, Outcome
from call_recording.errors import FieldError, UnreadableCallbackError
from call_recording.recordings import merge
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.start.starter import _Attempts
from call_recording.twilio.credentials import CredentialStore
from tests.simulation.promises import broken_promises
from tests.simulation.scenario import ENDS, FAULTS_LAST, Scenario
from tests.simulation.world import World

SERVICES: Final = ("start-recording", "recording-status", "reconcile-recordings")

Removal = Callable[[], AbstractContextManager[Any]]


def run(template: dict[str, Any], *, seed: int, recordings: int, without: str | None = None) -> list[str]:
    """Return the promises that were broken."""
    world = World(seed, FAULTS_LAST, template)
    with REMOVALS[without](), world.running():
        scenario = Scenario(world, recordings=recordings, has_reconciler=without != "the reconciler")
        world.scheduler.run(until=ENDS)
        return broken_promises(scenario)


def logged(template: dict[str, Any], *, seed: int, recordings: int) -> tuple[str, set[str]]:
    """Return all that a run logged, and the tokens that it used."""
    world = World(seed, FAULTS_LAST, template, log_level="INFO")
    with _loggers_to(world.written), world.running():
        scenario = Scenario(world, recordings=recordings)
        world.scheduler.run(until=ENDS)
    return world.written.getvalue(), scenario.tokens


@contextmanager
def _loggers_to(stream: io.StringIO) -> Iterator[None]:
    """Have the functions' loggers write there: one that was made before keeps its stream and its level."""
    loggers = [logging.getLogger(name) for name in SERVICES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel("INFO")
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stdout)


@contextmanager
def _without_idempotency() -> Iterator[None]:
    def always(_: Intents, key: str, payload: object, work: Callable[[Intent], Any], *, context: object) -> Outcome:
        return Outcome(work(Intent(key, clock.now())))

    with patch.object(Intents, "once", always):
        yield


@contextmanager
def _without_the_look() -> Iterator[None]:
    with patch.object(_Attempts, "_adopt", lambda _: None):
        yield


@contextmanager
def _without_the_merge_rule() -> Iterator[None]:
    """The last report wins, as in most systems; everything else is kept as it should be."""

    def record(table: RecordingsTable, facts: Facts, **_: object) -> None:
        row = merge.merge(table.reader.get(facts.recording_sid), facts, retention_days=table.retention_days)
        row |= {**facts.told, "status": facts.status}
        item = {name: TypeSerializer().serialize(value) for name, value in row.items()}
        table.client.put_item(TableName=table.name, Item=item)

    with patch.object(RecordingsTable, "record", record):
        yield


@contextmanager
def _without_forced_refreshes() -> Iterator[None]:
    with patch.object(CredentialStore, "refresh", lambda *_: None):
        yield


@contextmanager
def _without_reading_callbacks() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise UnreadableCallbackError([FieldError("RecordingStatus", "unknown")])

    with patch("call_recording.callbacks.facts.callback_facts", refuse):
        yield


REMOVALS: Final[dict[str | None, Removal]] = {
    None: nullcontext,
    "idempotency": _without_idempotency,
    "the look before asking again": _without_the_look,
    "the merge rule": _without_the_merge_rule,
    "the reconciler": nullcontext,
    "forced refreshes of credentials": _without_forced_refreshes,
    "reading callbacks": _without_reading_callbacks,
}
