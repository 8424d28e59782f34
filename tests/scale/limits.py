"""What AWS and Twilio take at most, as they publish it; each with its source. Quotas are those of `us-east-1`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Limit:
    """A limit: so much, of what, from whom, and whether they raise it if they are asked to."""

    value: float
    what: str
    source: str
    is_quota: bool = False


_LAMBDA: Final = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
_SQS_SCALING: Final = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"
_STREAMS: Final = "https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html"
_PARTITIONS: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
_ON_DEMAND: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"
_EVENTBRIDGE: Final = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"

LIMITS: Final = {
    "api-requests": Limit(
        10_000,
        "requests a second to all APIs of the account",
        "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
        is_quota=True,
    ),
    "executions": Limit(1_000, "executions at once; many new accounts have 10", _LAMBDA, is_quota=True),
    "executions-new-account": Limit(10, "executions at once in a new account", _LAMBDA, is_quota=True),
    "partition-writes": Limit(1_000, "write units a second of one partition key", _PARTITIONS),
    "partition-reads": Limit(3_000, "read units a second of one partition key", _PARTITIONS),
    "new-table-writes": Limit(
        4_000, "write units a second of a new on-demand table; twice its peak after half an hour", _ON_DEMAND
    ),
    "table-writes": Limit(
        40_000,
        "write units a second of one table",
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html",
        is_quota=True,
    ),
    "stream-polls": Limit(4, "looks a second into a shard of a table's stream", _STREAMS),
    "parallelization": Limit(10, "batches at once of a shard (ParallelizationFactor)", _STREAMS),
    "queue-concurrency": Limit(1_000, "executions at once by MaximumConcurrency", _SQS_SCALING),
    "queue-concurrency-default": Limit(
        1_250, "executions at once for a queue without MaximumConcurrency", _SQS_SCALING
    ),
    "queue-concurrency-per-poller": Limit(
        10,
        "executions at once for each poller in provisioned mode",
        "https://aws.amazon.com/blogs/aws/"
        "aws-lambda-enhances-sqs-processing-with-new-provisioned-mode-3x-faster-scaling-16x-higher-capacity",
    ),
    "put-events": Limit(10_000, "PutEvents requests a second; 2,400 and less elsewhere", _EVENTBRIDGE, is_quota=True),
    "rule-invocations": Limit(
        18_750, "target invocations a second; 4,500 and less elsewhere", _EVENTBRIDGE, is_quota=True
    ),
    "create-schedule": Limit(
        5_000,
        "CreateSchedule requests a second",
        "https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html",
        is_quota=True,
    ),
    "schedule-invocations": Limit(
        1_000,
        "timers fired a second",
        "https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html",
        is_quota=True,
    ),
    "prefix-writes": Limit(
        3_500,
        "requests a second that write under one prefix; S3 splits it under lasting load",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html",
    ),
    "get-secret": Limit(
        10_000,
        "GetSecretValue and DescribeSecret requests a second",
        "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html",
    ),
    "twilio-requests": Limit(
        100,
        "requests at once of one Twilio account, by what others report; Twilio publishes no number",
        "https://www.twilio.com/docs/api/errors/20429",
        is_quota=True,
    ),
}
