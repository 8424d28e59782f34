"""Read and control recordings: over HTTP, by events, and when a monitored pause times out."""

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from by_events import act_on_event
from call_recording import logs
from call_recording.commands.dead_letters import is_redrive, redrive, undelivered
from call_recording.commands.triggers import named_sids
from call_recording.http.request import is_http
from routes import app

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="recordings-api", json_serializer=logs.serialize)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    """Answer a REST API's proxy event, or act on `Call Recording Control Requested` events and resume timers.

    Events come from EventBridge and EventBridge Scheduler, or again from the dead-letter queue.
    """
    if is_http(event) and "resource" in event:
        logger.append_keys(**named_sids(event))
        # Routed by the API's own resource, like IAM policies: a custom domain can add a base path, and a
        # decoded slash in a parameter changes the path.
        return app.resolve(event | {"path": event["resource"]}, context)
    if is_redrive(event):
        return redrive(event, context, lambda message: act_on_event(undelivered(message), context))
    act_on_event(event, context)
    return None
