"""The least that starts a recording: boto3, requests, two clients, one POST, one UpdateItem, and nothing else."""

import json
import os
from typing import Any

import boto3
import requests

dynamodb = boto3.client("dynamodb")
secrets_manager = boto3.client("secretsmanager")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Start the recording and write its row."""
    account_sid, auth_token = os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"]
    call_sid = event["pathParameters"]["CallSid"]
    path = f"/2010-04-01/Accounts/{account_sid}/Calls/{call_sid}/Recordings.json"
    answer = requests.post(
        os.environ["TWILIO_API_URL"] + path,
        data=json.loads(event["body"]) | {"RecordingStatusCallback": os.environ["WEBHOOK_URL"]},
        auth=(account_sid, auth_token),
        timeout=8,
    )
    recording = answer.json()
    dynamodb.update_item(
        TableName=os.environ["RECORDINGS_TABLE"],
        Key={"recording_sid": {"S": recording["sid"]}},
        UpdateExpression="SET call_sid = :call_sid, #status = :status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":call_sid": {"S": call_sid}, ":status": {"S": recording["status"]}},
    )
    return {"statusCode": answer.status_code, "body": answer.text}
