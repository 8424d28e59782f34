"""The addresses of AWS that are shipped are botocore's, and lead to the same places as all that it knows."""

import ast
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.session
import pytest
from botocore.config import Config

from generators.aws_endpoints import FILE, SERVICES, text
from local.stack import PROJECT

REGIONS: Final = (
    *("us-east-1", "eu-west-1", "ap-southeast-4", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1"),
    *("eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"),
    "eu-north-9",  # one that botocore does not know yet
)


def test_the_file_is_what_its_generator_makes_of_the_pinned_botocore() -> None:
    assert FILE.read_text() == text(), "run `make endpoints`"


def test_every_service_that_a_client_is_made_of_is_in_it() -> None:
    """One that is not would still be found, but by reading what all services have."""
    source = ast.parse((PROJECT / "layers/shared/call_recording/clients.py").read_text())
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    made = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "client"
        and isinstance(call.args[0], ast.Constant)
    }

    assert made == set(SERVICES)


def session(data_path: Path | None) -> boto3.Session:
    core = botocore.session.Session()
    core.set_config_variable("data_path", data_path and str(data_path))
    core.set_credentials("testing", "testing")
    return boto3.Session(botocore_session=core)


SESSIONS: Final = {"shipped": session(FILE.parent), "whole": session(None)}


def asked(which: str, service: str, region: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Return where one call of the service would go, signed for whom; and a link for S3."""
    sent: list[tuple[str, ...]] = []

    def note(request: Any, **_: object) -> Any:
        scope = request.headers["Authorization"].decode().split("/", 1)[1].split(",")[0]
        sent.append((request.method, request.url, scope.split("/", 1)[1]))
        raise ConnectionAbortedError

    client: Any = SESSIONS[which].client(service, region_name=region, config=CONFIG)  # type: ignore[call-overload]
    client.meta.events.register("before-send", note)
    with pytest.raises(ConnectionAbortedError):
        CALLS[service](client)
    link: tuple[str, ...] = ()
    if service == "s3":
        of = {"Bucket": "bucket", "Key": "key"}
        link = (client.generate_presigned_url("get_object", Params=of).split("?")[0],)
    return *sent[0], *link


# As clients.py makes them.
CONFIG: Final = Config(
    signature_version=None,
    s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    retries={"total_max_attempts": 1},
)
CALLS: Final[dict[str, Any]] = {
    "dynamodb": lambda client: client.get_item(TableName="rows", Key={"id": {"S": "1"}}),
    "events": lambda client: client.put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}]),
    "logs": lambda client: client.create_log_stream(logGroupName="g", logStreamName="s"),
    "s3": lambda client: client.head_object(Bucket="bucket", Key="key"),
    "scheduler": lambda client: client.delete_schedule(Name="timer", ClientToken="token"),
    "secretsmanager": lambda client: client.get_secret_value(SecretId="twilio"),
    "sqs": lambda client: client.send_message(QueueUrl="https://sqs.example.com/1/queue", MessageBody="1"),
}


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_asked_where_it_would_be_with_all_that_botocore_knows(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ENDPOINT_URL", "AWS_DATA_PATH", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)

    different = {
        region: (shipped, whole)
        for region in REGIONS
        if (shipped := asked("shipped", service, region, monkeypatch))
        != (whole := asked("whole", service, region, monkeypatch))
    }

    assert different == {}
