"""What a compromised function gets, and a caller with few permissions: tried against the policies that are deployed.

MiniStack enforces them (docs/explanation/adr/0003-local-stack-enforces-iam.md). It does not know
`dynamodb:LeadingKeys`: what that keeps from `RecordingStatusFunction` is not tried here.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from call_recording.http.request import MOST_BODY_BYTES
from local.stack import STACK_NAME, Stack
from local.twilio_simulator.model import Call
from tests.conftest import SETTINGS
from tests.local_stack.conftest import rows, start

AWS_ACCOUNT: Final = "000000000000"
NO_RECORDING: Final = "RE" + "0" * 32
NO_CALL: Final = "CA" + "0" * 32


@pytest.fixture(scope="module")
def names(stack: Stack) -> dict[str, str]:
    """The physical name of everything in the stack, by its logical id."""
    pages = stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
    return {
        found["LogicalResourceId"]: found["PhysicalResourceId"]
        for page in pages
        for found in page["StackResourceSummaries"]
        if "PhysicalResourceId" in found
    }


# --- a compromised function --------------------------------------------------------------------------

EVERY = START, STATUS, API, PUBLISH, ARCHIVE, RECONCILE = tuple(SETTINGS)
NONE: Final = ()
WRITERS: Final = (START, STATUS, API, ARCHIVE, RECONCILE)


@dataclass(frozen=True)
class Intruder:
    """Somebody else's code in a function: it has the function's role, and knows every name."""

    stack: Stack
    credentials: Mapping[str, str]
    names: Mapping[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.stack.endpoint_url,
            region_name=self.stack.region,
            aws_access_key_id=self.credentials["AccessKeyId"],
            aws_secret_access_key=self.credentials["SecretAccessKey"],
            aws_session_token=self.credentials["SessionToken"],
        )

    @property
    def row(self) -> dict[str, Any]:
        return {"TableName": self.names["RecordingsTable"], "Key": {"recording_sid": {"S": NO_RECORDING}}}

    @property
    def state(self) -> dict[str, Any]:
        return {"TableName": self.names["IdempotencyTable"], "Key": {"id": {"S": "nothing"}}}

    @property
    def audio(self) -> dict[str, Any]:
        return {"Bucket": self.names["ArchiveBucket"], "Key": "AC0/nothing.wav"}

    @property
    def trail(self) -> dict[str, Any]:
        return {"logGroupName": self.names["AuditLogGroup"]}

    def query(self, index: str, key: str) -> object:
        values = {":nothing": {"S": "nothing"}}
        condition = {"KeyConditionExpression": f"{key} = :nothing", "ExpressionAttributeValues": values}
        return self.client("dynamodb").query(TableName=self.row["TableName"], IndexName=index, **condition)

    def send(self, queue: str) -> object:
        # Not JSON: whoever reads it can do nothing with it.
        return self.client("sqs").send_message(QueueUrl=self.names[queue], MessageBody="an intruder's")

    def timer(self, name: str) -> object:
        return self.client("scheduler").delete_schedule(Name=name, GroupName=self.names["ResumeTimerGroup"])


Attempt = Callable[[Intruder], object]


def secret(name: str) -> Attempt:
    return lambda i: i.client("secretsmanager").get_secret_value(SecretId=name)


# What is tried: who gets through, and how it is done. None of it does harm where it gets through.
ATTEMPTS: dict[str, tuple[tuple[str, ...], Attempt]] = {
    # Secrets
    "read Twilio's credentials": (
        WRITERS,
        lambda i: i.client("secretsmanager").get_secret_value(SecretId=f"twilio/{i.stack.account_sid}"),
    ),
    "read the key of the page tokens": (
        (API,),
        lambda i: i.client("secretsmanager").get_secret_value(SecretId=i.names["PageTokenSecret"]),
    ),
    "read a secret of another prefix": (NONE, secret("elsewhere/AC1")),
    "read a secret of the prefix that is no account's": (NONE, secret("twilio/billing")),
    "list the secrets": (NONE, lambda i: i.client("secretsmanager").list_secrets()),
    "change Twilio's credentials": (
        NONE,
        lambda i: i.client("secretsmanager").put_secret_value(
            SecretId=f"twilio/{i.stack.account_sid}", SecretString="{}"
        ),
    ),
    # Rows
    "read a row": (WRITERS, lambda i: i.client("dynamodb").get_item(**i.row)),
    "read rows in bulk": (
        (START, API, RECONCILE),
        lambda i: i.client("dynamodb").batch_get_item(RequestItems={i.row["TableName"]: {"Keys": [i.row["Key"]]}}),
    ),
    "overwrite a row": (
        WRITERS,
        lambda i: i.client("dynamodb").put_item(
            TableName=i.row["TableName"], Item=i.row["Key"], ConditionExpression="attribute_exists(recording_sid)"
        ),
    ),
    "list the rows of a call": ((START, API), lambda i: i.query("by-call", "call_sid")),
    "list the rows of a day": ((API,), lambda i: i.query("by-account-day", "account_day")),
    "list the open rows": ((RECONCILE,), lambda i: i.query("open", "open_shard")),
    "read the whole table": (NONE, lambda i: i.client("dynamodb").scan(TableName=i.row["TableName"])),
    "delete a row": (NONE, lambda i: i.client("dynamodb").delete_item(**i.row)),
    "delete rows in bulk": (
        NONE,
        lambda i: i.client("dynamodb").batch_write_item(
            RequestItems={i.row["TableName"]: [{"DeleteRequest": {"Key": i.row["Key"]}}]}
        ),
    ),
    "switch off the table's backups": (
        NONE,
        lambda i: i.client("dynamodb").update_continuous_backups(
            TableName=i.row["TableName"], PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
        ),
    ),
    "delete the table": (NONE, lambda i: i.client("dynamodb").delete_table(TableName=i.row["TableName"])),
    "read the table's stream": (
        (PUBLISH,),
        lambda i: i.client("dynamodbstreams").describe_stream(
            StreamArn=i.stack.client("dynamodb").describe_table(TableName=i.row["TableName"])["Table"][
                "LatestStreamArn"
            ]
        ),
    ),
    # What was asked for before
    "read the memory of requests": (
        (START, STATUS, RECONCILE),  # in AWS, StartRecordingFunction and RecordingStatusFunction one item only
        lambda i: i.client("dynamodb").get_item(**i.state),
    ),
    "change the memory of requests": (
        (START, STATUS, API),  # in AWS, RecordingStatusFunction one item only
        lambda i: i.client("dynamodb").update_item(**i.state, ConditionExpression="attribute_exists(id)"),
    ),
    "overwrite the memory of requests": (
        (RECONCILE,),
        lambda i: i.client("dynamodb").put_item(
            TableName=i.state["TableName"], Item=i.state["Key"], ConditionExpression="attribute_exists(id)"
        ),
    ),
    "delete the memory of requests": (NONE, lambda i: i.client("dynamodb").delete_item(**i.state)),
    # Audio
    "read audio": ((API, ARCHIVE), lambda i: i.client("s3").get_object(**i.audio)),
    "list audio": ((API, ARCHIVE), lambda i: i.client("s3").list_object_versions(Bucket=i.audio["Bucket"])),
    "store audio": ((ARCHIVE,), lambda i: i.client("s3").put_object(**i.audio, Body=b"")),
    "store something outside the accounts": (
        NONE,
        lambda i: i.client("s3").put_object(Bucket=i.audio["Bucket"], Key="index.html", Body=b""),
    ),
    "delete a version of audio": (
        (API, ARCHIVE),
        lambda i: i.client("s3").delete_object(**i.audio, VersionId="nothing"),
    ),
    "hide audio behind a marker": (NONE, lambda i: i.client("s3").delete_object(**i.audio)),
    "lift Object Lock": (
        NONE,
        lambda i: i.client("s3").put_object_retention(**i.audio, Retention={}, BypassGovernanceRetention=True),
    ),
    "open the bucket to everybody": (
        NONE,
        lambda i: i.client("s3").delete_public_access_block(Bucket=i.audio["Bucket"]),
    ),
    "stop keeping versions": (
        NONE,
        lambda i: i.client("s3").put_bucket_versioning(
            Bucket=i.audio["Bucket"], VersioningConfiguration={"Status": "Suspended"}
        ),
    ),
    "read who read audio": (NONE, lambda i: i.client("s3").list_objects_v2(Bucket=i.names["ArchiveAccessLogBucket"])),
    # The audit trail
    "add to the audit trail": (
        EVERY,  # by SAM's policy for logs
        lambda i: i.client("logs").create_log_stream(**i.trail, logStreamName=i.credentials["AccessKeyId"]),
    ),
    "read the audit trail": (NONE, lambda i: i.client("logs").filter_log_events(**i.trail)),
    "delete lines of the audit trail": (
        NONE,
        lambda i: i.client("logs").delete_log_stream(**i.trail, logStreamName="nothing"),
    ),
    "delete the audit trail": (NONE, lambda i: i.client("logs").delete_log_group(**i.trail)),
    "shorten the audit trail": (NONE, lambda i: i.client("logs").put_retention_policy(**i.trail, retentionInDays=1)),
    # Events, queues, timers
    "put an event on the bus": (
        (START, API, PUBLISH, ARCHIVE),
        lambda i: i.client("events").put_events(Entries=[{"Source": "x", "DetailType": "Nothing", "Detail": "{}"}]),
    ),
    "send events elsewhere": (NONE, lambda i: i.client("events").put_rule(Name="intruder", EventPattern="{}")),
    "have a callback believed": ((STATUS,), lambda i: i.send("CallbackDeadLetterQueue")),
    "have a start redriven": ((START,), lambda i: i.send("StartDeadLetterQueue")),
    "have a control redriven": ((API,), lambda i: i.send("ControlDeadLetterQueue")),
    "fill the queue of changes": ((PUBLISH,), lambda i: i.send("ChangesDeadLetterQueue")),
    "have something archived": (NONE, lambda i: i.send("ArchiveQueue")),
    "take messages out of anybody's queue": (
        (START, STATUS, API, ARCHIVE),  # by SAM's policy for queues
        lambda i: i.client("sqs").receive_message(
            QueueUrl=i.stack.client("sqs").get_queue_url(QueueName="bystander")["QueueUrl"]
        ),
    ),
    "take a timer of this stack back": (
        (API,),
        lambda i: i.timer(f"{i.names['ResumeTimerGroup']}-nothing"),
    ),
    "take another stack's timer back": (NONE, lambda i: i.timer("resume-ffffffff-nothing")),
    # More rights
    "take another role": (
        NONE,
        lambda i: i.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{AWS_ACCOUNT}:role/{i.names['ResumeTimerRole']}", RoleSessionName="intruder"
        ),
    ),
    "give itself more rights": (
        NONE,
        lambda i: i.client("iam").put_role_policy(
            RoleName=i.names["StartRecordingFunctionRole"], PolicyName="intruder", PolicyDocument="{}"
        ),
    ),
    "change a function's code": (
        NONE,
        lambda i: i.client("lambda").update_function_code(FunctionName=i.names[START], ZipFile=b""),
    ),
    "call a function past the API": (
        NONE,
        lambda i: i.client("lambda").invoke(FunctionName=i.names[API], Payload=b"{}"),
    ),
    "feed a function from a queue": (
        NONE,
        lambda i: i.client("lambda").create_event_source_mapping(
            FunctionName=i.names[STATUS], EventSourceArn=f"arn:aws:sqs:us-east-1:{AWS_ACCOUNT}:bystander"
        ),
    ),
}


@pytest.fixture(scope="module")
def intruders(stack: Stack, names: dict[str, str]) -> Iterator[dict[str, Intruder]]:
    """An intruder in each function; and what none of them should touch: a queue and secrets of somebody else's."""
    secrets, queue = stack.client("secretsmanager"), stack.client("sqs").create_queue(QueueName="bystander")
    others = ("elsewhere/AC1", "twilio/billing")
    for name in others:
        secrets.create_secret(Name=name, SecretString="{}")
    yield {function: Intruder(stack, role_of(stack, names[function]), names) for function in EVERY}
    for name in others:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    stack.client("sqs").delete_queue(QueueUrl=queue["QueueUrl"])
    for name in ("StartDeadLetterQueue", "ControlDeadLetterQueue", "CallbackDeadLetterQueue", "ChangesDeadLetterQueue"):
        stack.client("sqs").purge_queue(QueueUrl=names[name])


def role_of(stack: Stack, function: str) -> dict[str, str]:
    """Return credentials of the function's role, which for that moment everybody may take."""
    iam = stack.client("iam")
    arn = stack.client("lambda").get_function_configuration(FunctionName=function)["Role"]
    name = arn.rpartition("/")[2]
    trusted = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(
        RoleName=name, PolicyDocument=json.dumps(trusted | {"Statement": [*trusted["Statement"], anybody]})
    )
    credentials: dict[str, str] = stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="intruder")[
        "Credentials"
    ]
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trusted))
    return credentials


def gets_through(attempt: Attempt, intruder: Intruder) -> bool:
    """Tell whether IAM lets it pass; what it then comes to does not matter."""
    try:
        attempt(intruder)
    except ClientError as error:
        return "AccessDenied" not in error.response["Error"]["Code"]
    return True


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_compromised_function_can_do_what_its_own_work_needs(intruders: dict[str, Intruder], name: str) -> None:
    who, attempt = ATTEMPTS[name]

    assert {function for function, intruder in intruders.items() if gets_through(attempt, intruder)} == set(who)


# --- a caller with few permissions ---------------------------------------------------------------------

ROUTES: Final = {  # docs/reference/permissions.md, and a request for each
    "POST/calls/*/recordings": ("POST", f"/calls/{NO_CALL}/recordings"),
    "POST/calls/*/recordings/*": ("POST", f"/calls/{NO_CALL}/recordings/{NO_RECORDING}"),
    "GET/recordings/*/media": ("GET", f"/recordings/{NO_RECORDING}/media"),
    "GET/calls/*/recordings": ("GET", f"/calls/{NO_CALL}/recordings"),
    "GET/recordings": ("GET", "/recordings"),
    "DELETE/recordings/*": ("DELETE", f"/recordings/{NO_RECORDING}"),
    "GET/recordings/*": ("GET", f"/recordings/{NO_RECORDING}"),
}


@dataclass(frozen=True)
class Caller:
    """An IAM user."""

    stack: Stack
    key: Mapping[str, str]

    def call(self, method: str, path: str, body: bytes = b"") -> requests.Response:
        address, headers = self.stack.control_api_url + path, {"Content-Type": "application/json"}
        request = AWSRequest(method, address, data=body, headers=headers)
        credentials = Credentials(self.key["AccessKeyId"], self.key["SecretAccessKey"])
        SigV4Auth(credentials, "execute-api", self.stack.region).add_auth(request)
        return requests.request(
            method, address, data=body, headers=dict(request.headers), allow_redirects=False, timeout=30
        )

    def is_refused(self, method: str, path: str) -> bool:
        return self.call(method, path, b"{}" if method == "POST" else b"").status_code == 403


@contextlib.contextmanager
def user(stack: Stack, api: str, *, allowed: str, denied: str | None = None) -> Iterator[Caller]:
    """Give a user who may call the routes that this pattern matches, but not those of the other one."""
    patterns = {"Allow": allowed} | ({"Deny": denied} if denied else {})
    statements = [
        {
            "Effect": effect,
            "Action": "execute-api:Invoke",
            "Resource": f"arn:aws:execute-api:{stack.region}:{AWS_ACCOUNT}:{api}/v1/{pattern}",
        }
        for effect, pattern in patterns.items()
    ]
    iam = stack.client("iam")
    iam.create_user(UserName="caller")
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="caller", PolicyName="routes", PolicyDocument=policy)
    key = iam.create_access_key(UserName="caller")["AccessKey"]
    yield Caller(stack, key)
    iam.delete_access_key(UserName="caller", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="caller", PolicyName="routes")
    iam.delete_user(UserName="caller")


@pytest.mark.parametrize("allowed", ROUTES)
def test_a_caller_gets_the_routes_that_it_was_given_and_no_others(
    stack: Stack, names: dict[str, str], allowed: str
) -> None:
    includes_audio = {"GET/recordings/*/media"} if allowed == "GET/recordings/*" else set()

    with user(stack, names["ControlApi"], allowed=allowed) as caller:
        refused = {route for route, request in ROUTES.items() if caller.is_refused(*request)}

    assert refused == ROUTES.keys() - {allowed} - includes_audio


@pytest.mark.parametrize("path", ["/media", "%2Fmedia", "/media?Reason=x", "//media"])
def test_a_caller_who_is_denied_audio_gets_rows_and_no_link(
    stack: Stack, names: dict[str, str], call: Call, path: str
) -> None:
    sid = start(stack, call).json()["sid"]

    with user(stack, names["ControlApi"], allowed="GET/recordings/*", denied="GET/recordings/*/media") as caller:
        row, media = caller.call("GET", f"/recordings/{sid}"), caller.call("GET", f"/recordings/{sid}{path}")

    assert (row.status_code, row.json()["recording_sid"]) == (200, sid)
    assert media.status_code in {400, 403, 404}
    assert "Location" not in media.headers


@pytest.mark.parametrize("allowed", ["POST/calls/*/recordings"])
def test_a_slash_in_a_sid_does_not_lead_a_caller_to_another_route(
    stack: Stack, names: dict[str, str], call: Call, allowed: str
) -> None:
    sid = start(stack, call).json()["sid"]

    with user(stack, names["ControlApi"], allowed=allowed) as caller:
        answers = [
            caller.call("POST", f"/calls/{call.sid}/recordings/{sid}{end}", b'{"Status": "stopped"}')
            for end in ("", "%2Frecordings", "/recordings", "?x=/recordings")
        ]

    assert {answer.status_code for answer in answers} <= {400, 403, 404}
    assert [row["status"] for row in rows(stack, call)] == ["in-progress"]


def test_addresses_that_are_not_allowed_are_refused_whoever_signs(
    stack: Stack, names: dict[str, str], template: dict[str, Any]
) -> None:
    (statement,) = template["Resources"]["ControlApi"]["Properties"]["Auth"]["ResourcePolicy"]["CustomStatements"]
    client, api = stack.client("apigateway"), names["ControlApi"]

    def allow(*cidrs: str) -> None:
        # The template's statement, as it reaches API Gateway: MiniStack does not take it from an API's definition.
        written = statement | {
            "Resource": f"arn:aws:execute-api:{stack.region}:{AWS_ACCOUNT}:{api}/*",
            "Condition": {"NotIpAddress": {"aws:SourceIp": list(cidrs)}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [written]})
        client.update_rest_api(restApiId=api, patchOperations=[{"op": "replace", "path": "/policy", "value": policy}])

    answers = {}
    with user(stack, api, allowed="GET/recordings/*") as caller:
        for cidrs in ("192.0.2.0/24",), ("127.0.0.0/8",), ("0.0.0.0/0", "::/0"):
            allow(*cidrs)
            answers[cidrs[0]] = caller.call("GET", f"/recordings/{NO_RECORDING}").status_code

    assert list(statement["Condition"]) == ["NotIpAddress"]
    assert answers == {"192.0.2.0/24": 403, "127.0.0.0/8": 404, "0.0.0.0/0": 404}


# --- an anonymous sender --------------------------------------------------------------------------------


def test_the_webhook_refuses_large_bodies_and_knows_no_other_routes(stack: Stack) -> None:
    url = stack.webhook_local_url
    large = requests.post(url, data={"x": "x" * MOST_BODY_BYTES}, headers={"X-Twilio-Signature": "x"}, timeout=30)
    others = [
        requests.request(method, address, timeout=30).status_code
        for method, address in [("PUT", url), ("DELETE", url), ("GET", url.rpartition("/")[0])]
    ]

    assert large.status_code == 413
    assert others == [404] * 3
