"""Receiving a signed callback with Twilio's SDK, boto3's table resource and Powertools."""

import os
from typing import Any
from urllib.parse import parse_qsl

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from twilio.request_validator import RequestValidator

logger = Logger(service="recording-status")
metrics = Metrics(service="recording-status")
table = boto3.resource("dynamodb").Table(os.environ["RECORDINGS_TABLE"])


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@event_source(data_class=APIGatewayProxyEventV2)
def handler(event: APIGatewayProxyEventV2, _context: LambdaContext) -> dict[str, Any]:
    """Verify the signature and write what the callback says."""
    form = dict(parse_qsl(event.decoded_body or "", keep_blank_values=True))
    secret_name = os.environ["TWILIO_SECRET_PREFIX"] + form["AccountSid"]
    secret = parameters.get_secret(secret_name, transform="json", max_age=300)
    validator = RequestValidator(secret["auth_token"])
    if not validator.validate(os.environ["WEBHOOK_URL"], form, event.headers["x-twilio-signature"]):
        logger.warning("callback refused")
        return {"statusCode": 403}
    logger.append_keys(recording_sid=form["RecordingSid"])
    table.update_item(
        Key={"recording_sid": form["RecordingSid"]},
        UpdateExpression=(
            "SET account_sid = :account_sid, call_sid = :call_sid, #status = :status, channels = :channels, "
            "#source = :source, track = :track, start_time = :start_time, recording_url = :recording_url, "
            "duration_seconds = :duration_seconds"
        ),
        ExpressionAttributeNames={"#status": "status", "#source": "source"},
        ExpressionAttributeValues={
            ":account_sid": form["AccountSid"],
            ":call_sid": form["CallSid"],
            ":status": form["RecordingStatus"],
            ":channels": int(form["RecordingChannels"]),
            ":source": form["RecordingSource"],
            ":track": form["RecordingTrack"],
            ":start_time": form["RecordingStartTime"],
            ":recording_url": form["RecordingUrl"],
            ":duration_seconds": int(form.get("RecordingDuration", "0")),
        },
    )
    metrics.add_metric(name="Callbacks", unit=MetricUnit.Count, value=1)
    logger.info("callback recorded")
    return {"statusCode": 204}
