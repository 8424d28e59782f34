"""AWS clients: made once per execution environment, each with its time-outs stated."""

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

# API Gateway waits 29 s for a caller's answer: three attempts of at most three seconds leave enough. A callback
# has less, and is sent again.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    # A sixth of a warm callback each. Requests are built here, and AWS checks them anyway; and what botocore
    # puts together anew for every request to name itself never changes.
    parameter_validation=False,
    user_agent=f"call-recording Boto3/{boto3.__version__}",
)


UPLOAD_SECONDS = 60
"""What 8 MB may take."""


def _kept[Client: BaseClient](client: Client) -> Client:
    """Return the client, which from now on opens new connections after a long rest, and as cheaply as can be."""
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
    """Return the S3 client; uploads want more patience than callers have."""
    # Otherwise links name S3's global host, which redirects to the Region's, and the signature breaks.
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
