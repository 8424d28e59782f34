"""examples/ beside the deployed stack: who may call it, and what becomes of what it publishes."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local.stack import STACK_NAME, Stack, deploy
from local.twilio_simulator.model import Call
from tests.cloudformation import EXAMPLES, example, resolved
from tests.local_stack.conftest import Published, eventually, finished, hang_up_after, physical_id, rows, start
from tests.local_stack.test_options import outputs
from tests.project.test_example_twilio_function import NODE, run_node
from tests.project.test_example_twiml import recording_verb

CALLER: Final = "an-application"
API_KEY: Final = "key-of-the-endpoint"


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(stack: Stack) -> Iterator[None]:
    """Take the examples down: what they listen to goes on."""
    yield
    cloudformation = stack.client("cloudformation")
    for name in (found["StackName"] for found in cloudformation.describe_stacks()["Stacks"]):
        if name.startswith("example-"):
            cloudformation.delete_stack(StackName=name)


# MiniStack knows no condition of Amazon Transcribe's: what it says is looked at in `tests/project`.
UNKNOWN_CONDITION: Final = ", Condition: {StringEquals: {transcribe:OutputBucketName: !Ref TranscriptsBucket}}"


def deployed_by_sam(stack: Stack, name: str, folder: Path, **parameters: str) -> dict[str, str]:
    """Deploy an example as its README says, from a copy; return its outputs."""
    template = shutil.copytree(EXAMPLES / name, folder / name) / "template.yaml"
    template.write_text(template.read_text().replace(UNKNOWN_CONDITION, ""))
    deploy(stack.endpoint_url, f"example-{name}", parameters, template=template)
    return outputs(stack, f"example-{name}")


# --- examples/caller-roles -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caller:
    """An application that has assumed a role, and calls ControlApi with what it got."""

    stack: Stack
    credentials: Credentials

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        url = self.stack.control_api_url + path
        data = json.dumps(body or {}) if method == "POST" else ""
        signed = AWSRequest(method, url, data=data, headers={"Content-Type": "application/json"})
        SigV4Auth(self.credentials, "execute-api", self.stack.region).add_auth(signed)
        return requests.request(method, url, data=data, headers=dict(signed.headers), timeout=120)


@pytest.fixture(scope="module")
def roles(stack: Stack) -> dict[str, str]:
    arn = user(stack, CALLER)
    given = {"ControlApiId": outputs(stack, STACK_NAME)["ControlApiId"], "CallerArns": arn}
    cloudformation = stack.client("cloudformation")
    cloudformation.create_stack(
        StackName="example-caller-roles",
        TemplateBody=(EXAMPLES / "caller-roles/template.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName="example-caller-roles", WaiterConfig={"Delay": 1})
    return outputs(stack, "example-caller-roles")


def user(stack: Stack, name: str) -> str:
    """Make a user who may ask for any role, so that it is the role that decides; return its ARN."""
    iam = stack.client("iam")
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    arn = str(iam.create_user(UserName=name)["User"]["Arn"])
    iam.put_user_policy(
        UserName=name, PolicyName="ask", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    return arn


def key_of(stack: Stack, user_name: str) -> dict[str, str]:
    key = stack.client("iam").create_access_key(UserName=user_name)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def assumed(stack: Stack, role_arn: str, key: dict[str, str]) -> Caller:
    """Return the caller that whoever has a key becomes; refused unless the role trusts them."""
    sts = boto3.Session(key["id"], key["secret"]).client("sts", stack.region, endpoint_url=stack.endpoint_url)
    got = sts.assume_role(RoleArn=role_arn, RoleSessionName="a-session")["Credentials"]
    return Caller(stack, Credentials(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]))


def test_each_role_may_do_what_its_name_says_and_is_refused_the_rest(
    stack: Stack, call: Call, roles: dict[str, str]
) -> None:
    started = start(stack, call).json()["sid"]
    routes = {
        "MayStart": ("POST", f"/calls/{call.sid}/recordings", {}),
        "MayPause": ("POST", f"/calls/{call.sid}/recordings/ALL", {"Status": "paused", "ResumeWithinSeconds": 120}),
        "MayRead": ("GET", f"/recordings/{started}", None),
        "nobody": ("GET", f"/recordings/{started}/media", None),
    }

    key = key_of(stack, CALLER)
    callers = {role: assumed(stack, roles[f"{role}RoleArn"], key) for role in ("MayStart", "MayPause", "MayRead")}
    allowed = {
        (role, route)
        for role, caller in callers.items()
        for route, request in routes.items()
        if caller.call(*request).status_code != 403
    }

    assert allowed == {("MayStart", "MayStart"), ("MayPause", "MayPause"), ("MayRead", "MayRead")}


def test_who_is_not_named_cannot_assume_a_role(stack: Stack, roles: dict[str, str]) -> None:
    user(stack, "somebody-else")
    key = key_of(stack, "somebody-else")

    with pytest.raises(ClientError, match="AccessDenied"):
        assumed(stack, roles["MayStartRoleArn"], key)


# --- examples/consumer, transcription and webhook --------------------------------------------------------


class Endpoint(ThreadingHTTPServer):
    """Who is told by the API destination."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.posted: list[tuple[dict[str, str], dict[str, str]]] = []

    def bodies(self, recording_sid: str) -> list[dict[str, str]]:
        return [body for _, body in self.posted if body["recording_sid"] == recording_sid]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Endpoint)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.posted.append((headers, json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint(stack: Stack) -> Iterator[Endpoint]:
    """The endpoint of examples/webhook, made by hand: MiniStack's CloudFormation knows no API destinations."""
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        webhook, events = example("webhook"), stack.client("events")
        url = f"http://127.0.0.1:{server.server_port}/recordings"
        known = {"ApiKeyHeader": "x-api-key", "ApiKeySecretArn": "secret", "EndpointUrl": url, "RequestsPerSecond": 10}
        known |= {"EventBusName": stack.event_bus, "Role.Arn": "arn:aws:iam::000000000000:role/a-role"}
        known |= {"DeadLetterQueue.Arn": "arn:aws:sqs:us-east-1:000000000000:letters"}

        def properties(name: str) -> dict[str, Any]:
            found: dict[str, Any] = resolved(webhook, webhook["Resources"][name]["Properties"], known)
            return found

        connection = properties("Connection")
        connection["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyValue"] = API_KEY
        known["Connection.Arn"] = events.create_connection(Name="webhook", **connection)["ConnectionArn"]
        made = events.create_api_destination(Name="webhook", **properties("Destination"))
        known["Destination.Arn"] = made["ApiDestinationArn"]
        rule = properties("Rule")
        targets, pattern = rule.pop("Targets"), json.dumps(rule.pop("EventPattern"))
        events.put_rule(Name="webhook", EventPattern=pattern, **rule)
        assert events.put_targets(Rule="webhook", Targets=targets)["FailedEntryCount"] == 0
        yield server
        events.remove_targets(Rule="webhook", Ids=[target["Id"] for target in targets])
        events.delete_rule(Name="webhook")
        server.shutdown()


@dataclass(frozen=True)
class Listeners:
    """What listens to the stack: the outputs of two examples, and the endpoint of the third."""

    usage: dict[str, str]
    transcription: dict[str, str]
    endpoint: Endpoint


@pytest.fixture(scope="module")
def listeners(stack: Stack, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Listeners:
    folder = tmp_path_factory.mktemp("examples")
    return Listeners(
        deployed_by_sam(stack, "consumer", folder, EventBusName=stack.event_bus),
        deployed_by_sam(
            stack, "transcription", folder, ArchiveBucketName=str(stack.archive_bucket), LanguageCode="en-US"
        ),
        endpoint,
    )


def usage(stack: Stack, listeners: Listeners) -> dict[str, tuple[int, int]]:
    """Return the recordings and seconds of each account and month."""
    items = stack.client("dynamodb").scan(TableName=listeners.usage["UsageTableName"], ConsistentRead=True)["Items"]
    return {
        item["pk"]["S"]: (int(item["recordings"]["N"]), int(item["seconds"]["N"]))
        for item in items
        if item["pk"]["S"].startswith("usage#")
    }


def test_one_recording_is_counted_once_transcribed_once_and_posted_with_each_change(
    stack: Stack, call: Call, listeners: Listeners, published: Published
) -> None:
    sid = start(stack, call, {"RecordingChannels": "dual"}).json()["sid"]
    hang_up_after(stack, call)

    def told() -> list[dict[str, Any]]:
        return [event for event in published("") if event["detail"]["recording_sid"] == sid]

    assert eventually(lambda: len(told()) == 3)
    (row,) = rows(stack, call)
    counted = f"usage#{stack.account_sid}#{str(row['start_time'])[:7]}"
    assert eventually(lambda: counted in usage(stack, listeners))

    again(stack, *told())
    # What comes after them, so that they were surely looked at.
    another = told()[1]["detail"] | {"id": "RE1-1-status", "account_sid": "another-account"}
    again(stack, told()[1] | {"detail": another})
    assert eventually(lambda: len(usage(stack, listeners)) == 2)

    assert usage(stack, listeners)[counted] == (1, row["duration_seconds"])
    assert eventually(lambda: len(listeners.endpoint.bodies(sid)) >= 6)
    bodies = listeners.endpoint.bodies(sid)
    assert {body["id"] for body in bodies} == {event["detail"]["id"] for event in told()}
    assert bodies[0] == {
        "id": told()[0]["detail"]["id"],
        "type": "Call Recording Status Change",
        "recording_sid": sid,
        "account_sid": stack.account_sid,
        "call_sid": call.sid,
        "status": "in-progress",
        "start_time": told()[0]["detail"]["start_time"],
    }
    assert {headers["x-api-key"] for headers, _ in listeners.endpoint.posted} == {API_KEY}
    transcripts = listeners.transcription["TranscriptsBucketName"]
    key = f"{row['archive']['key']}.json"
    assert eventually(lambda: keys(stack, transcripts)) == [key]
    assert eventually(lambda: is_empty(stack, physical_id(stack, "Queue", stack_name="example-transcription")))
    (job,) = stack.client("transcribe").list_transcription_jobs()["TranscriptionJobSummaries"]
    assert (job["TranscriptionJobName"], job["LanguageCode"]) == (sid, "en-US")
    assert is_empty(stack, listeners.usage["DeadLetterQueueUrl"])
    assert is_empty(stack, listeners.transcription["DeadLetterQueueUrl"])


def again(stack: Stack, *events: dict[str, Any]) -> None:
    """Have events delivered that were delivered before."""
    entries = [
        {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        for event in events
    ]
    assert stack.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0


def is_empty(stack: Stack, queue_url: str) -> bool:
    """Tell whether a queue has no message, nor one that somebody works on."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = stack.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    return {found[name] for name in names} == {"0"}


def keys(stack: Stack, bucket: str) -> list[str]:
    return [found["Key"] for found in stack.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


# --- examples/twilio-function and twiml --------------------------------------------------------------------


@pytest.mark.skipif(not NODE, reason="there is no Node.js here; Twilio runs this example with it")
def test_a_twilio_function_starts_one_recording_with_the_key_of_a_user_who_may_start(
    stack: Stack, call: Call, roles: dict[str, str]
) -> None:
    stack.client("iam").create_user(UserName="twilio-function")
    stack.client("iam").attach_user_policy(UserName="twilio-function", PolicyArn=roles["MayStartPolicyArn"])
    key = key_of(stack, "twilio-function")
    context = {
        "CONTROL_API_URL": stack.control_api_url,
        "CONTROL_API_REGION": stack.region,
        "CALLER_ACCESS_KEY_ID": key["id"],
        "CALLER_SECRET_ACCESS_KEY": key["secret"],
    }

    sids = run_node(
        """
          const go = () => signer.start(given.context, given.call_sid, {RecordingChannels: 'dual'});
          go().then(async (first) => tell([first.sid, (await go()).sid, first.channels]));
        """,
        {"context": context, "call_sid": call.sid},
    )

    (row,) = rows(stack, call)
    assert sids == [row["recording_sid"], row["recording_sid"], 2]


def test_a_recording_that_twiml_starts_has_its_row(stack: Stack) -> None:
    sources = {"dial.xml": "DialVerb", "record.xml": "RecordVerb", "start-recording.xml": "StartCallRecordingTwiML"}
    calls = {}
    for name, source in sources.items():
        verb = recording_verb(name)
        form = {
            "RecordingStatusCallback": [verb["recordingStatusCallback"].replace("WEBHOOK_URL", stack.webhook_url)],
            "RecordingStatusCallbackEvent": [verb["recordingStatusCallbackEvent"]],
        }
        with stack.simulator.locked() as twilio:
            calls[name] = twilio.begin_call(stack.account_sid, lasts_seconds=1.5)
            twilio.record(calls[name], form, source=source)

    for name, source in sources.items():
        (row,) = eventually(lambda: finished(stack, calls[name]))  # noqa: B023 (called here)
        assert (row["status"], row["source"], row["requested_by"]) == ("completed", source, "twilio")
        assert row["status_at"].keys() == {"in-progress", "completed"}
