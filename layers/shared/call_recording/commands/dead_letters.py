"""What lies in a dead-letter queue, and how it gets back to work."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext


def is_redrive(event: Mapping[str, Any]) -> bool:
    """Tell whether the event is a batch of messages from a queue."""
    records = event.get("Records")
    return isinstance(records, list) and bool(records) and records[0].get("eventSource") == "aws:sqs"


def redrive(
    event: dict[str, Any], context: "LambdaContext", work: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Do each message's work; return the ones that failed, which SQS then keeps.

    A message is what EventBridge could not deliver (the event itself), what Lambda gave up on (the
    event under `requestPayload`), or what a function of ours put there.
    """
    # Here, because calls and callbacks wait for cold starts: batches bring asyncio and forty event classes with them,
    # a tenth of the start, and a redrive is rare and waits for nobody.
    from aws_lambda_powertools.utilities.batch import (  # noqa: PLC0415
        BatchProcessor,
        EventType,
        process_partial_response,
    )

    def handle(record: "SQSRecord") -> None:
        message = json.loads(record.body)
        work(message.get("requestPayload", message))

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
    return dict(answer)
