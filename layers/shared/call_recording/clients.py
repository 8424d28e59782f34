"""AWS clients: created once per execution environment, each with explicit timeouts."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.client import BaseClient
from botocore.config import Config

from call_recording import authorities
from call_recording.connections import KeptConnections

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# API Gateway waits 29 s for an answer: three attempts of at most three seconds leave enough time. A callback
# has less time, and is retried.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    # Each saves a sixth of a warm callback. AWS validates requests anyway; and the user agent, which botocore
    # assembles again for every request, never changes.
    parameter_validation=False,
    user_agent=f"call-recording Boto3/{boto3.__version__}",
)


UPLOAD_SECONDS = 60
"""Timeout in seconds to transfer 8 MB."""


def _kept[Client: BaseClient](client: Client) -> Client:
    """Return the client, which now opens new connections after a long idle time, as cheaply as possible."""
    authorities.look_up_for(client)
    connections = KeptConnections(client.close)
    client.meta.events.register_first("before-send", lambda **_: connections.before_use())
    client.meta.events.register("before-parse", lambda **_: connections.after_use())
    return client


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the DynamoDB client."""
    return _kept(boto3.client("dynamodb", config=_CONFIG))


@cache
def events() -> "EventBridgeClient":
    """Return the EventBridge client."""
    return _kept(boto3.client("events", config=_CONFIG))


@cache
def logs() -> "CloudWatchLogsClient":
    """Return the CloudWatch Logs client."""
    return _kept(boto3.client("logs", config=_CONFIG))


@cache
def s3(*, read_seconds: float = 2) -> "S3Client":
    """Return the S3 client; uploads need longer timeouts than requests of callers."""
    # Otherwise links use S3's global host, which redirects to the Region's, and the signature becomes invalid.
    own = Config(
        read_timeout=read_seconds,
        signature_version="s3v4",
        s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    )
    return _kept(boto3.client("s3", config=_CONFIG.merge(own)))


@cache
def scheduler() -> "EventBridgeSchedulerClient":
    """Return the EventBridge Scheduler client."""
    return _kept(boto3.client("scheduler", config=_CONFIG))


@cache
def secrets_manager() -> "SecretsManagerClient":
    """Return the Secrets Manager client."""
    return _kept(boto3.client("secretsmanager", config=_CONFIG))


@cache
def sqs() -> "SQSClient":
    """Return the SQS client."""
    return _kept(boto3.client("sqs", config=_CONFIG))
