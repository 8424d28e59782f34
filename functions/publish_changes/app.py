"""Publish the table's changes: every event about a change comes from its stream."""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from call_recording import clients, init_phase, logs
from call_recording.bus import Bus
from call_recording.changes.publisher import publish_changes
from call_recording.commands.pauses import Pauses
from call_recording.settings import PublishSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="publish-changes", json_serializer=logs.serialize)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:  # noqa: ARG001 (Lambda's contract)
    """Publish a batch of the stream; return the record from which Lambda must retry."""
    failed = publish_changes(bus(), event["Records"], pauses=pauses())
    return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}


@cache
def settings() -> PublishSettings:
    """Return the function's environment, read once."""
    return PublishSettings()


@init_phase.early
@cache
def bus() -> Bus:
    """Return the bus that changes are published to."""
    return Bus(clients.events(), settings().event_bus_name)


@init_phase.early
@cache
def pauses() -> Pauses:
    """Return the pauses of whole calls."""
    return Pauses.connect(settings())
