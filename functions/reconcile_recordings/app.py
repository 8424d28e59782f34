"""On a schedule: update the table from Twilio where callbacks are missing."""

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from call_recording import clients, clock, init_phase, logs, metrics
from call_recording.deadline import Deadline
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.reconciler import Reconciler
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import ReconcileSettings
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import Twilio

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="reconcile-recordings", json_serializer=logs.serialize)

# Time reserved to save a bookmark.
_RESERVE_SECONDS = 3.0


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:  # noqa: ARG001 (a tick says nothing)
    """Return the counts of what this run did."""
    env = settings()
    run = Reconciler(
        accounts=Accounts.connect(env),
        bookmarks=Bookmarks(clients.dynamodb(), env.idempotency_table),
        recordings=recordings(),
        twilio=twilio(),
        stale_after=timedelta(minutes=env.stale_after_minutes),
        deadline=Deadline.of(context, reserve_seconds=_RESERVE_SECONDS),
        at_once=env.reconciler_concurrency,
    )
    summary = run.run().as_dict()
    report(summary["repaired"] + summary["adopted"])
    logger.info("reconciled", **summary)
    return summary


def report(repairs: int) -> None:
    """Count the run, its repairs (each one a callback that never arrived), and the rows still open."""
    metrics.RECONCILER_RUNS.add()
    metrics.RECONCILER_REPAIRS.add(repairs)
    count, oldest = recordings().reader.open_figures()
    age = (clock.now() - datetime.fromisoformat(oldest)).total_seconds() if oldest else 0
    metrics.OPEN_RECORDINGS.add(count)
    metrics.OLDEST_OPEN_RECORDING.add(max(0, age))


@cache
def settings() -> ReconcileSettings:
    """Return the function's environment, read once."""
    return ReconcileSettings()


@init_phase.early
@cache
def recordings() -> RecordingsTable:
    """Return the table."""
    return RecordingsTable.connect(settings())


@init_phase.early
@cache
def twilio() -> Twilio:
    """Return Twilio; its connections and credentials live as long as the execution environment."""
    return Twilio.connect(settings())
