"""The events that the local stack publishes, received through a queue."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from local.stack import Stack


@contextlib.contextmanager
def listening(stack: Stack, name: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Yield a function that returns every event that was published since this began, in order."""
    sqs, events = stack.client("sqs"), stack.client("events")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [allow]})})
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["call-recording"]}))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    heard: list[dict[str, Any]] = []

    def hear() -> list[dict[str, Any]]:
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                heard.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return list(heard)

    yield hear
    events.remove_targets(Rule=name, Ids=["queue"])
    events.delete_rule(Name=name)
    sqs.delete_queue(QueueUrl=queue)
