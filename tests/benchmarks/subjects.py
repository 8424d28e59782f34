"""What is measured: our built functions and their peers, each as it is shipped, in folders of its own."""

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, WEBHOOK_URL
from local.stack import EVENTS, PROJECT, STATE
from tests.tls import Authority

PEERS: Final = Path(__file__).parent / "peers"
WORK: Final = STATE / "benchmarks"
BUILD: Final = PROJECT / ".aws-sam" / "build"
LAYER: Final = WORK / "SharedLayer"
SERVER: Final = WORK / "server.pem"
"""What the server on loopback proves itself with."""

FROM_THE_RUNTIME: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")


@dataclass(frozen=True)
class Subject:
    """A handler, and what is on its path.

    `event` is a file of `events/`, or nothing for a bare import. `makers` are functions of the module that
    make its clients, where importing it does not: without them it is not ready. With a `key` a start is claimed.
    """

    name: str
    paths: tuple[Path, ...]
    module: str
    event: str = ""
    makers: tuple[str, ...] = ()
    key: str | None = None

    def command(self, *, answers: bool = True) -> list[str]:
        """Return what starts it in a process of its own, where it answers its event once or waits to be told."""
        event = json.loads((EVENTS / self.event).read_text()) if self.event else None
        if event and self.key:
            event["headers"]["Idempotency-Key"] = self.key
        text = json.dumps(event) if event else ""
        paths = [str(path) for path in self.paths]
        told = json.dumps([paths, self.module, self.makers, text, answers and bool(event)])
        return [sys.executable, "-I", "-S", "-B", "-W", "ignore", str(Path(__file__).parent / "worker.py"), told]


def environment(url: str) -> dict[str, str]:
    """Return the variables that every subject gets; AWS and Twilio are both at `url`."""
    return {
        "AWS_DATA_PATH": str(LAYER / "aws_data"),
        # Here a function does what it does in Lambda's init phase.
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CALLBACK_DEAD_LETTER_QUEUE_URL": f"{url}/queue",
        "EVENT_BUS_NAME": "default",
        "IDEMPOTENCY_TABLE": "idempotency",
        "POWERTOOLS_METRICS_NAMESPACE": "CallRecording/benchmarks",
        "RECORDINGS_TABLE": "recordings",
        "ROW_RETENTION_DAYS": "400",
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_API_URL": url,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_SECRET_PREFIX": "twilio/",
        "WEBHOOK_URL": WEBHOOK_URL,
    }


def build() -> None:
    """Run `sam build`, as for a deployment."""
    _run("sam", "build", "--cached", "--parallel", "--config-env", "local-stack")


def prepare() -> None:
    """Lay out what is measured under `.local/benchmarks`, from what `sam build` made and the peers' requirements.

    All is as Lambda gets it: ours has the bytecode that it is built with, the peers have none, as SAM builds them.
    boto3 is the runtime's and compiled. Everybody trusts one authority more than usual, the server's.
    """
    shutil.rmtree(WORK, ignore_errors=True)
    site = Path(sysconfig.get_paths()["purelib"])
    for name in FROM_THE_RUNTIME:
        _copy(site / name, WORK / "runtime" / name)
    # -I: else the bytecode goes where `make` has Python put it, and who is measured with -I finds none.
    _run(sys.executable, "-I", "-m", "compileall", "-q", "-j", "0", str(WORK / "runtime"))
    for name in ("StartRecordingFunction", "RecordingStatusFunction", "SharedLayer"):
        shutil.copytree(BUILD / name, WORK / name)
    for peer in PEERS.iterdir():
        _install(peer / "requirements.txt", WORK / peer.name)
        for module in peer.glob("*.py"):
            _copy(module, WORK / peer.name / module.name)
    authority = Authority.make()
    SERVER.write_text(authority.server())
    for bundle in [
        *WORK.glob("*/certifi/cacert.pem"),
        *WORK.glob("*/python/certifi/cacert.pem"),
        *WORK.glob("*/botocore/cacert.pem"),
    ]:
        text = bundle.read_text()
        bundle.unlink()  # it can be a hard link of uv's to what everything else on this machine trusts
        bundle.write_text(text + authority.pem)
    certificate = load_certificate(FILETYPE_PEM, authority.pem.encode())
    (LAYER / "authorities" / f"{certificate.subject_name_hash():08x}.0").write_text(authority.pem)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _install(requirements: Path, target: Path, *options: str) -> None:
    _run(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        *options,
        "--target",
        str(target),
        "-r",
        str(requirements),
    )


def _run(*command: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(  # noqa: S603 (the project's own tools)
        command, cwd=PROJECT, env=os.environ | {"PATH": path}, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def zipped_bytes(*folders: Path) -> int:
    """Return the bytes of the zip files that these folders are shipped in, one for each."""
    total = 0
    for folder in folders:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
        total += len(held.getvalue())
    return total


def subjects() -> dict[str, Subject]:
    """Return everything that is measured, by name."""
    layer, runtime = LAYER / "python", WORK / "runtime"
    start = (WORK / "StartRecordingFunction", layer, runtime)
    ours = [
        Subject("start", start, "app", "start-rest-api.json", ("starter", "intents")),
        Subject("start with a key", start, "app", "start-rest-api.json", ("starter", "intents"), key="a-key"),
        Subject(
            "status",
            (WORK / "RecordingStatusFunction", layer, runtime),
            "app",
            "callback-post-completed.json",
            ("accounts", "proof", "recordings"),
        ),
    ]
    peers = [
        Subject("sdk start", (WORK / "sdk", runtime), "start", "start-rest-api.json"),
        Subject("sdk client", (WORK / "sdk", runtime), "client"),
        Subject("sdk callback", (WORK / "sdk", runtime), "callback", "callback-post-completed.json"),
        Subject("cookbook start", (WORK / "cookbook", runtime), "start", "start-rest-api.json"),
        Subject("floor start", (WORK / "floor", runtime), "start", "start-rest-api.json"),
        Subject("floor client", (WORK / "floor", runtime), "client"),
    ]
    return {subject.name: subject for subject in [*ours, *peers]}
