"""The messages in a dead-letter queue, and how they are redriven."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from call_recording.errors import UnknownTriggerError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


def is_redrive(event: Mapping[str, Any]) -> bool:
    """Return whether the event is a batch of messages from a queue."""
    records = event.get("Records")
    return isinstance(records, list) and bool(records) and records[0].get("eventSource") == "aws:sqs"


def redrive(event: dict[str, Any], context: "LambdaContext", work: Callable[[Any], object]) -> dict[str, Any]:
    """Process each message, given its JSON; return the failed ones, which SQS then keeps."""
    # Imported here to shorten cold starts: batches import asyncio and forty event classes, a tenth of the start, and
    # nobody waits for the rare redrive.
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
    """Return the event for which an invocation failed, or could not be made, from a message that AWS sent.

    It is trusted no more than the event of any invocation. The message is one of three:

    - an event that EventBridge could not deliver, unchanged, with all its fields.
    - an event that Lambda gave up on: `requestPayload` next to the error.
      Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    - a request to Lambda that EventBridge Scheduler could not deliver, with the event as JSON under `Payload`.
      Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html

    If somebody invoked the function with a whole message, messages can be nested. Raises UnknownTriggerError for
    anything else, and ValueError for truncated JSON: Scheduler cuts off what is too long.
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
