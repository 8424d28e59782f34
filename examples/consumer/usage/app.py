"""Counts what was recorded by Twilio account and month: each recording once, however often its event comes."""

import json
import logging
import os
import time
from functools import cache
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

REMEMBERED_SECONDS: Final = 60 * 24 * 3600
"""How long an event is known to have been counted: longer than two queues keep it (14 days each) and somebody waits."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> dict[str, list[dict[str, str]]]:
    """Count what the messages tell of; name those that SQS is to deliver again."""
    failed = []
    for message in event["Records"]:
        try:
            count(json.loads(message["body"])["detail"])
        except (ClientError, KeyError, TypeError, ValueError):
            logger.exception("not counted")
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def count(detail: dict[str, Any]) -> None:
    """Count a recording, unless its event was counted before.

    That it was counted, and the count itself, are written in one transaction: neither is ever there without the other,
    wherever this is killed. Raises KeyError if the event says too little, ClientError if DynamoDB refuses.
    """
    table = os.environ["USAGE_TABLE"]
    known = {"pk": {"S": f"event#{detail['id']}"}, "expires_at": {"N": str(int(time.time()) + REMEMBERED_SECONDS)}}
    once = {"TableName": table, "Item": known, "ConditionExpression": "attribute_not_exists(pk)"}
    usage = {
        "TableName": table,
        "Key": {"pk": {"S": f"usage#{detail['account_sid']}#{detail['start_time'][:7]}"}},
        "UpdateExpression": "ADD recordings :one, seconds :seconds",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":seconds": {"N": str(int(detail["duration_seconds"]))}},
    }
    try:
        dynamodb().transact_write_items(TransactItems=[{"Put": once}, {"Update": usage}])
    except ClientError as error:
        if not was_counted(error):
            raise
        logger.info("counted before: %s", detail["recording_sid"])


def was_counted(error: ClientError) -> bool:
    """Tell whether the transaction was refused because the event is known, and not for what goes by."""
    reasons: list[Any] = error.response.get("CancellationReasons", [])
    return bool(reasons) and reasons[0].get("Code") == "ConditionalCheckFailed"


@cache
def dynamodb() -> Any:
    """Return the client, made once."""
    return boto3.client("dynamodb")
