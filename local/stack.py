"""The whole stack on loopback: MiniStack for AWS, the simulator for Twilio, the real build and deploy between."""

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
from urllib.parse import urlsplit

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.event_destinations import copy_to_the_unpublished_version
from local.for_ministack import for_ministack
from local.gateway_responses import put_gateway_responses
from local.twilio_simulator.model import Account, new_sid
from local.twilio_simulator.server import TwilioServer

PROJECT: Final = Path(__file__).parent.parent
STATE: Final = PROJECT / ".local"
EVENTS: Final = PROJECT / "events"
STACK_NAME: Final = "call-recording"
REGION: Final = "us-east-1"
ACCESS_KEY: Final = "test"
SECRET_KEY: Final = "test"  # noqa: S105 (MiniStack's)

# Not what somebody has saved for their own deployment.
_OWN_SETTINGS: Final = ("--config-env", "local-stack")

_BUILT: Final = PROJECT / ".aws-sam/build/template.yaml"

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 10

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """A running stack; the fields are what `.local/stack.json` tells other programs."""

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
        """Send a request to ControlApi as a caller with IAM credentials would (or without, to be refused)."""
        data = body if json is None else dumps(json).encode()
        address, host = on_loopback(self.control_api_url + path)
        return requests.request(
            method,
            address,
            data=data,
            headers={"Content-Type": "application/json", **(headers or {}), **host},
            auth=IamAuth(self.region) if sign else None,
            allow_redirects=follow,
            timeout=60,
        )

    def describe(self) -> dict[str, Any]:
        """Return what `.local/stack.json` holds."""
        hidden = {"simulator"}
        return {name: value for name, value in vars(self).items() if name not in hidden}


class IamAuth(requests.auth.AuthBase):
    """Signs requests to an API as a caller with IAM credentials does (AWS Signature Version 4)."""

    def __init__(self, region: str) -> None:
        self.region = region

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature, over the name that the API is reached by (its Host header)."""
        parts = urlsplit(str(request.url))
        public = parts._replace(netloc=request.headers.get("Host", parts.netloc)).geturl()
        signed = AWSRequest(request.method, public, data=request.body or b"", headers=dict(request.headers))
        SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "execute-api", self.region).add_auth(signed)
        request.headers.update({name: str(value) for name, value in signed.headers.items()})
        return request


def on_loopback(url: str) -> tuple[str, dict[str, str]]:
    """Return the address to connect to for a `*.localhost` URL, and its Host header.

    curl and browsers know that such names are this machine; Python and glibc do not.
    """
    parts = urlsplit(url)
    return parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl(), {"Host": parts.netloc}


@contextlib.contextmanager
def running_stack(progress: Progress) -> Iterator[Stack]:
    """Bring the stack up, give it, and take everything down again, whatever happens in between."""
    scratch = STATE / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with contextlib.ExitStack() as cleanup:
        cleanup.push(_forget_log)
        cleanup.callback(shutil.rmtree, scratch, ignore_errors=True)
        cleanup.callback((STATE / "stack.json").unlink, missing_ok=True)

        progress("Starting MiniStack (AWS) and the Twilio simulator on loopback")
        endpoint_url = cleanup.enter_context(_ministack(scratch))
        simulator = TwilioServer(route=_route(endpoint_url))
        account = simulator.twilio.add_account(Account(new_sid("AC"), secrets.token_hex(16)))
        simulator.start()
        cleanup.callback(simulator.close)

        progress("Building the functions and the layer (sam build)")
        _run("sam", "build", "--cached", "--parallel", *_OWN_SETTINGS)
        _wait_until_ready(endpoint_url)

        progress("Deploying template.yaml (sam deploy)")
        _client("secretsmanager", endpoint_url).create_secret(
            Name=f"twilio/{account.sid}", SecretString=dumps({"auth_token": account.auth_token})
        )
        _client("s3", endpoint_url).create_bucket(Bucket="call-recording-artifacts")
        deploy(endpoint_url, STACK_NAME, {"TwilioAccountSid": account.sid, "TwilioApiUrl": simulator.url})
        stack = _describe(endpoint_url, simulator, account)
        put_gateway_responses(
            stack.client("apigateway"),
            (PROJECT / "template.yaml").read_text(),
            control_api_id=urlsplit(stack.control_api_url).netloc.partition(".")[0],
        )
        functions = stack.client("lambda").list_functions()["Functions"]
        copy_to_the_unpublished_version(stack.client("lambda"), [each["FunctionName"] for each in functions])
        (STATE / "stack.json").write_text(dumps(stack.describe(), indent=2) + "\n")
        yield stack


def deploy(endpoint_url: str, stack_name: str, parameters: dict[str, str]) -> None:
    """Deploy what was built to the local AWS; a stack of that name is changed."""
    _run(
        *("sam", "deploy", "--template-file", str(for_ministack(_BUILT))),
        *("--stack-name", stack_name, "--s3-bucket", "call-recording-artifacts"),
        *_OWN_SETTINGS,
        *("--region", REGION, "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
        *("--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())),
        endpoint_url=endpoint_url,
    )


def _forget_log(kind: type[BaseException] | None, *_: object) -> None:
    """Leave the log only to whoever has to find out what went wrong."""
    if kind is None or issubclass(kind, KeyboardInterrupt):
        (STATE / "ministack.log").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            STATE.rmdir()


@contextlib.contextmanager
def _ministack(scratch: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = _environment() | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(scratch / "s3"),
        "STATE_DIR": str(scratch / "state"),
        "TMPDIR": str(scratch),
        # Each of its workers unpacks a function anew: what it compiles of that is of no use to the next.
        "PYTHONDONTWRITEBYTECODE": "1",
        # Services that this project does not use, and that would listen on fixed ports.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Policies are enforced, so that a permission missing from the template fails here, not in AWS.
        "AUTH": "true",
    }
    with (STATE / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env=environment,
            cwd=scratch,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            # The whole group: its Lambda workers are children of their own.
            _stop_group(process)


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    process.wait()


def _wait_until_ready(endpoint_url: str) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{endpoint_url}/_ministack/ready", timeout=5).ok:
                return
        if time.monotonic() > ends:
            raise TimeoutError(f"MiniStack did not start; see {STATE / 'ministack.log'}")
        time.sleep(0.1)


def _describe(endpoint_url: str, simulator: TwilioServer, account: Account) -> Stack:
    stacks = _client("cloudformation", endpoint_url).describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    port = urlsplit(endpoint_url).port
    return Stack(
        endpoint_url=endpoint_url,
        region=REGION,
        control_api_url=_local_api(outputs["ControlApiUrl"], port),
        webhook_url=outputs["WebhookUrl"],
        webhook_local_url=_local_api(outputs["WebhookUrl"], port),
        recordings_table=outputs["RecordingsTableName"],
        event_bus=outputs["EventBusName"],
        archive_bucket=outputs.get("ArchiveBucketName"),
        twilio_url=simulator.url,
        account_sid=account.sid,
        auth_token=account.auth_token,
        simulator=simulator,
    )


def _local_api(public_url: str, port: int | None) -> str:
    """Return where an API's public address is on this machine."""
    parts = urlsplit(public_url)
    api_id = parts.netloc.partition(".")[0]
    return parts._replace(scheme="http", netloc=f"{api_id}.execute-api.localhost:{port}").geturl()


def _route(endpoint_url: str) -> Callable[[str], tuple[str, dict[str, str]]]:
    """Return the simulator's Internet: where a public URL is on this machine."""
    port = urlsplit(endpoint_url).port

    def route(url: str) -> tuple[str, dict[str, str]]:
        if ".execute-api." in urlsplit(url).netloc:
            return on_loopback(_local_api(url, port))
        return url, {}

    return route


def _environment() -> dict[str, str]:
    """Return an environment in which no AWS account of the person at the keyboard can be reached."""
    foreign = {name for name in os.environ if name.startswith("AWS_")}
    return {name: value for name, value in os.environ.items() if name not in foreign} | {
        # sam, and the python3.13 that it builds with, are where this interpreter is.
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
    """Run a tool in the project; what it printed is shown only if it fails."""
    environment = _environment() | ({"AWS_ENDPOINT_URL": endpoint_url} if endpoint_url else {})
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"'{' '.join(command[:2])}' failed with exit code {done.returncode}")
