"""What is measured: our built functions and their peers, each in folders of its own, byte-compiled alike."""

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

from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, WEBHOOK_URL
from local.stack import EVENTS, PROJECT, STATE

PEERS: Final = Path(__file__).parent / "peers"
WORK: Final = STATE / "benchmarks"
BUILD: Final = PROJECT / ".aws-sam" / "build"

FROM_THE_RUNTIME: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")


@dataclass(frozen=True)
class Subject:
    """A handler, and what is on its path.

    `event` is a file of `events/`, or nothing for a bare import. `makers` are functions of the module that
    make its clients, where importing it does not: without them it is not ready.
    """

    name: str
    paths: tuple[Path, ...]
    module: str
    event: str = ""
    makers: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return what starts it in a process of its own."""
        text = (EVENTS / self.event).read_text() if self.event else ""
        told = json.dumps([[str(path) for path in self.paths], self.module, self.makers, text])
        return [sys.executable, "-I", "-S", "-B", "-W", "ignore", str(Path(__file__).parent / "worker.py"), told]


def environment(url: str) -> dict[str, str]:
    """Return the variables that every subject gets; AWS and Twilio are both at `url`."""
    return {
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
    """Lay out what is measured under `.local/benchmarks`, from what `sam build` made and the peers' requirements."""
    shutil.rmtree(WORK, ignore_errors=True)
    site = Path(sysconfig.get_paths()["purelib"])
    for name in FROM_THE_RUNTIME:
        _copy(site / name, WORK / "runtime" / name)
    for name in ("StartRecordingFunction", "RecordingStatusFunction"):
        _copy(BUILD / name, WORK / name)
    _copy(BUILD / "SharedLayer" / "python", WORK / "layer")
    # The built layer is for arm64; this machine's processor may be another one, and the peers are for this one.
    _install(PROJECT / "layers" / "shared" / "requirements.txt", WORK / "layer", "--require-hashes", "--reinstall")
    for peer in PEERS.iterdir():
        _install(peer / "requirements.txt", WORK / peer.name)
        for module in peer.glob("*.py"):
            _copy(module, WORK / peer.name / module.name)
    _run(sys.executable, "-m", "compileall", "-q", "-j", "0", str(WORK))


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
    layer, runtime = WORK / "layer", WORK / "runtime"
    ours = [
        Subject(
            "start",
            (WORK / "StartRecordingFunction", layer, runtime),
            "app",
            "start-rest-api.json",
            ("starter", "intents"),
        ),
        Subject(
            "status",
            (WORK / "RecordingStatusFunction", layer, runtime),
            "app",
            "callback-post-completed.json",
            ("accounts", "credentials", "recordings"),
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
