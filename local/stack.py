"""The whole stack on loopback: MiniStack for AWS, the simulator for Twilio, and the real build and deployment."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.event_destinations import copy_to_the_unpublished_version
from local.for_ministack import for_ministack
from local.gateway_responses import put_gateway_responses
from local.runs import LOG, PROJECT, STATE, alone, own_folder
from local.twilio_simulator.model import Account, new_sid
from local.twilio_simulator.server import TwilioServer

__all__ = ["EVENTS", "PROJECT", "STATE", "Stack", "deploy", "running_stack"]

EVENTS: Final = PROJECT / "events"
STACK_NAME: Final = "call-recording"
REGION: Final = "us-east-1"
ACCESS_KEY: Final = "test"
SECRET_KEY: Final = "test"  # noqa: S105 (MiniStack's)

# Not the values that somebody saved for their own deployment.
_OWN_SETTINGS: Final = ("--config-env", "local-stack")

_BUILT: Final = PROJECT / ".aws-sam/build"

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 10

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """A running stack; while `make local` runs, `.local/stack.json` contains the fields for other programs.

    The local URLs need no DNS lookup: they use 127.0.0.1.
    """

    endpoint_url: str
    region: str
    control_api_url: str
    webhook_url: str
    webhook_local_url: str
    recordings_table: str
    event_bus: str
    archive_bucket: str | None
    twilio_url: str
    account_sid: str
    auth_token: str
    simulator: TwilioServer = field(repr=False, compare=False)
    folder: Path = field(repr=False, compare=False)
    """The run's own folder; the build is in `build`."""

    def client(self, service: str) -> Any:
        """Return a boto3 client for the local AWS."""
        return _client(service, self.endpoint_url)

    def call_control_api(  # noqa: PLR0913 (the parts of a request)
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        json: object = None,
        headers: dict[str, str] | None = None,
        sign: bool = True,
        follow: bool = True,
    ) -> requests.Response:
        """Send a request to ControlApi as a caller with IAM credentials (or without, to be refused)."""
        data = body if json is None else dumps(json).encode()
        return requests.request(
            method,
            self.control_api_url + path,
            data=data,
            headers={"Content-Type": "application/json", **(headers or {})},
            auth=IamAuth(self.region) if sign else None,
            allow_redirects=follow,
            timeout=60,
        )

    def describe(self) -> dict[str, Any]:
        """Return the contents of `.local/stack.json`."""
        hidden = {"simulator", "folder"}
        return {name: value for name, value in vars(self).items() if name not in hidden}


class IamAuth(requests.auth.AuthBase):
    """Signs requests to an API as a caller with IAM credentials does (AWS Signature Version 4)."""

    def __init__(self, region: str) -> None:
        self.region = region

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature."""
        signed = AWSRequest(request.method, request.url, data=request.body or b"", headers=dict(request.headers))
        SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "execute-api", self.region).add_auth(signed)
        request.headers.update({name: str(value) for name, value in signed.headers.items()})
        return request


@contextlib.contextmanager
def running_stack(progress: Progress) -> Iterator[Stack]:
    """Start the stack, yield it, and stop everything again, whatever happens in between."""
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(own_folder())
        progress("Starting MiniStack (AWS) and the Twilio simulator on loopback")
        endpoint_url = cleanup.enter_context(ministack(folder))
        simulator = TwilioServer(route=_route(endpoint_url))
        account = simulator.twilio.add_account(Account(new_sid("AC"), secrets.token_hex(16)))
        simulator.start()
        cleanup.callback(simulator.close)

        progress("Building the functions and the layer (sam build)")
        with alone():
            _run("sam", "build", "--cached", "--parallel", *_OWN_SETTINGS)
            shutil.copytree(_BUILT, folder / "build")
        _wait_until_ready(endpoint_url, folder)

        progress("Deploying template.yaml (sam deploy)")
        _client("secretsmanager", endpoint_url).create_secret(
            Name=f"twilio/{account.sid}", SecretString=dumps({"auth_token": account.auth_token})
        )
        _client("s3", endpoint_url).create_bucket(Bucket="call-recording-artifacts")
        parameters = {"TwilioAccountSid": account.sid, "TwilioApiUrl": simulator.url}
        deploy(endpoint_url, STACK_NAME, parameters, template=folder / "build/template.yaml")
        stack = _describe(endpoint_url, simulator, account, folder)
        put_gateway_responses(
            stack.client("apigateway"),
            (PROJECT / "template.yaml").read_text(),
            control_api_id=urlsplit(stack.control_api_url).path.split("/")[2],
        )
        functions = stack.client("lambda").list_functions()["Functions"]
        copy_to_the_unpublished_version(stack.client("lambda"), [each["FunctionName"] for each in functions])
        yield stack


def deploy(endpoint_url: str, stack_name: str, parameters: dict[str, str], *, template: Path) -> None:
    """Deploy a template, built or not, to the local AWS; a stack of that name is updated."""
    _run(
        *("sam", "deploy", "--template-file", str(for_ministack(template))),
        *("--stack-name", stack_name, "--s3-bucket", "call-recording-artifacts"),
        *_OWN_SETTINGS,
        *("--region", REGION, "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
        *("--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())),
        endpoint_url=endpoint_url,
    )


@contextlib.contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run MiniStack with its files in a folder; yield its URL. It ends with this process, even if that is killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = _environment() | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(temporary),
        # Each of its workers unpacks a function again, so compiled bytecode is of no use to the next.
        "PYTHONDONTWRITEBYTECODE": "1",
        # Services that this project does not use, and which would listen on fixed ports.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Policies are enforced, so that a missing permission in the template fails here, not in AWS.
        "AUTH": "true",
    }
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(PROJECT / "local/leash.py")],
            env=environment,
            cwd=temporary,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            # The whole group: its Lambda workers are separate child processes.
            _stop_group(process)
            assert process.stdin is not None  # noqa: S101 (it was asked for)
            process.stdin.close()


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    process.wait()


def _wait_until_ready(endpoint_url: str, folder: Path) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{endpoint_url}/_ministack/ready", timeout=5).ok:
                return
        if time.monotonic() > ends:
            raise TimeoutError(f"MiniStack did not start; see {folder / LOG}")
        time.sleep(0.1)


def _describe(endpoint_url: str, simulator: TwilioServer, account: Account, folder: Path) -> Stack:
    stacks = _client("cloudformation", endpoint_url).describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    port, control_api_url = urlsplit(endpoint_url).port, outputs["ControlApiUrl"]
    return Stack(
        endpoint_url=endpoint_url,
        region=REGION,
        control_api_url=_on_this_machine(control_api_url, port, stage=urlsplit(control_api_url).path.strip("/")),
        webhook_url=outputs["WebhookUrl"],
        webhook_local_url=_on_this_machine(outputs["WebhookUrl"], port, stage="$default"),
        recordings_table=outputs["RecordingsTableName"],
        event_bus=outputs["EventBusName"],
        archive_bucket=outputs.get("ArchiveBucketName"),
        twilio_url=simulator.url,
        account_sid=account.sid,
        auth_token=account.auth_token,
        simulator=simulator,
        folder=folder,
    )


def _on_this_machine(public_url: str, port: int | None, *, stage: str) -> str:
    """Return the local URL of an API's public URL, in a form that needs no DNS lookup."""
    parts = urlsplit(public_url)
    api_id, path = parts.netloc.partition(".")[0], parts.path.removeprefix(f"/{stage}")
    return urlunsplit(
        ("http", f"127.0.0.1:{port}", f"/restapis/{api_id}/{stage}/_user_request_{path}", parts.query, "")
    )


def _route(endpoint_url: str) -> Callable[[str], tuple[str, dict[str, str]]]:
    """Return the simulator's routes: the local URL of a public URL."""
    port = urlsplit(endpoint_url).port

    def route(url: str) -> tuple[str, dict[str, str]]:
        if ".execute-api." in urlsplit(url).netloc:
            return _on_this_machine(url, port, stage="$default"), {}
        return url, {}

    return route


def _environment() -> dict[str, str]:
    """Return an environment from which none of your AWS accounts can be reached."""
    foreign = {name for name in os.environ if name.startswith("AWS_")}
    return {name: value for name, value in os.environ.items() if name not in foreign} | {
        # sam, and the python3.13 that it builds with, are next to this interpreter.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


def _client(service: str, endpoint_url: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )


def _run(*command: str, endpoint_url: str | None = None) -> None:
    """Run a tool in the project; its output appears only if it fails."""
    environment = _environment() | ({"AWS_ENDPOINT_URL": endpoint_url} if endpoint_url else {})
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"'{' '.join(command[:2])}' failed with exit code {done.returncode}")
