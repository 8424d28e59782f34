"""Read and control recordings: over HTTP, by events, and when a watched pause has not ended in time."""

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from by_events import act_on_event
from call_recording import logs
from call_recording.commands.dead_letters import is_redrive, redrive, undelivered
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
        # Routed by the API's own resource, which is what IAM policies are about: a custom domain can put
        # a base path before the path, and a decoded slash in a parameter makes another path of it.
        return app.resolve(event | {"path": event["resource"]}, context)
    if is_redrive(event):
        return redrive(event, context, lambda message: act_on_event(undelivered(message), context))
    act_on_event(event, context)
    return None
