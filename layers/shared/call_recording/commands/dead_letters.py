"""What lies in a dead-letter queue, and how it gets back to work."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from call_recording.errors import UnknownTriggerError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


def is_redrive(event: Mapping[str, Any]) -> bool:
    """Tell whether the event is a batch of messages from a queue."""
    records = event.get("Records")
    return isinstance(records, list) and bool(records) and records[0].get("eventSource") == "aws:sqs"


def redrive(event: dict[str, Any], context: "LambdaContext", work: Callable[[Any], object]) -> dict[str, Any]:
    """Do each message's work, which is given its JSON; return the ones that failed, which SQS then keeps."""
    # Here, because calls and callbacks wait for cold starts: batches bring asyncio and forty event classes with them,
    # a tenth of the start, and a redrive is rare and waits for nobody.
    from aws_lambda_powertools.utilities.batch import (  # noqa: PLC0415
        BatchProcessor,
        EventType,
        process_partial_response,
    )

    from call_recording.commands.attempts import attempt  # noqa: PLC0415

    def handle(record: "SQSRecord") -> None:
        with attempt("redrive"):
            work(json.loads(record.body))

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
    return dict(answer)


def undelivered(message: Any) -> dict[str, Any]:
    """Return what a function was invoked with in vain, or would have been, out of a message that AWS put there.

    It is no more trusted than if the function were invoked with it now. The message is one of three:

    - what EventBridge could not deliver: the event as it is. Whatever an event holds besides is part of it.
    - what Lambda gave up on: `requestPayload` beside the error.
      Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    - what EventBridge Scheduler could not deliver: its request to Lambda, with the event as JSON under `Payload`.
      Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html

    Where somebody invoked the function with a whole message, one is in another. Raises UnknownTriggerError for
    anything else, and ValueError for JSON that was cut off, as Scheduler does where it is too long.
    """
    while isinstance(message, dict):
        if "detail-type" in message:
            return message
        if "requestPayload" in message:
            message = message["requestPayload"]
        elif "FunctionName" in message and isinstance(message.get("Payload"), str):
            message = json.loads(message["Payload"])
        else:
            return message
    raise UnknownTriggerError
