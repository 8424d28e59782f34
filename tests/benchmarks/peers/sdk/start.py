"""Starting a recording with Twilio's SDK, boto3's table resource and Powertools."""

import json
import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

logger = Logger(service="start-recording")
metrics = Metrics(service="start-recording")
table = boto3.resource("dynamodb").Table(os.environ["RECORDINGS_TABLE"])

ACCOUNT_SID = os.environ["TWILIO_ACCOUNT_SID"]
OPTIONS = {
    "RecordingChannels": "recording_channels",
    "RecordingStatusCallbackEvent": "recording_status_callback_event",
    "RecordingStatusCallbackMethod": "recording_status_callback_method",
    "RecordingTrack": "recording_track",
    "Trim": "trim",
}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@event_source(data_class=APIGatewayProxyEvent)
def handler(event: APIGatewayProxyEvent, _context: LambdaContext) -> dict[str, Any]:
    """Start the recording and write its row."""
    call_sid = event.path_parameters["CallSid"]
    logger.append_keys(call_sid=call_sid)
    asked = event.json_body
    unknown = asked.keys() - OPTIONS.keys()
    if unknown:
        return answer(400, {"detail": f"unknown: {', '.join(sorted(unknown))}"})
    secret = parameters.get_secret(os.environ["TWILIO_SECRET_PREFIX"] + ACCOUNT_SID, transform="json", max_age=300)
    client = Client(ACCOUNT_SID, secret["auth_token"])
    client.api.base_url = os.environ["TWILIO_API_URL"]
    try:
        recording = client.calls(call_sid).recordings.create(
            recording_status_callback=os.environ["WEBHOOK_URL"],
            **{OPTIONS[name]: value for name, value in asked.items()},
        )
    except TwilioRestException as error:
        logger.warning("recording not started", extra={"twilio_code": error.code})
        return answer(error.status, {"detail": error.msg, "twilio_code": error.code})
    row = {
        "recording_sid": recording.sid,
        "account_sid": recording.account_sid,
        "call_sid": recording.call_sid,
        "status": recording.status,
        "channels": recording.channels,
        "source": recording.source,
        "track": recording.track,
        "start_time": recording.start_time.isoformat(),
    }
    table.put_item(Item=row)
    metrics.add_metric(name="RecordingsStarted", unit=MetricUnit.Count, value=1)
    logger.info("recording started", extra={"recording_sid": recording.sid})
    return answer(201, row)


def answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    """Return a proxy answer."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
