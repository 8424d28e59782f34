"""A client that openapi-python-client makes of docs/reference/openapi.yaml starts, lists and pauses recordings."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from local.stack import ACCESS_KEY, PROJECT, SECRET_KEY, Stack
from local.twilio_simulator.model import Call

AUDIT = PROJECT / ".venv/audit/bin"
PROGRAM = PROJECT / "tests/local_stack/generated_client.py"


def test_a_generated_client_starts_repeats_lists_pauses_and_reads_mistakes(
    stack: Stack, call: Call, tmp_path: Path
) -> None:
    generate(tmp_path / "client")

    started, other, form, listed, paused, unknown = use(tmp_path, stack, call)

    assert (started["status"], started["model"]) == (201, "TwilioRecording")
    assert (started["parsed"]["call_sid"], started["parsed"]["channels"]) == (call.sid, 2)
    assert (other["status"], other["parsed"]["type"]) == (422, "urn:problem:call-recording:idempotency-key-reused")
    assert (form["status"], form["parsed"]) == (201, started["parsed"]), "the same request as a form"
    assert [row["recording_sid"] for row in listed["parsed"]["recordings"]] == [started["parsed"]["sid"]]
    assert (paused["status"], paused["parsed"]["status"]) == (200, "paused")
    assert (unknown["status"], unknown["model"]) == (404, "Problem")


def generate(folder: Path) -> None:
    """Make the client; a warning is a failure, because an operation is left out then."""
    subprocess.run(  # noqa: S603 (the project's own tool)
        [
            *(AUDIT / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", PROJECT / "docs/reference/openapi.yaml", "--output-path", folder),
        ],
        # It formats what it has written with ruff.
        env=os.environ | {"PATH": f"{AUDIT}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )


def use(folder: Path, stack: Stack, call: Call) -> list[dict[str, Any]]:
    """Run the program in an environment of the client's libraries, and return what it was answered."""
    done = subprocess.run(  # noqa: S603 (the project's own tool)
        [AUDIT / "python", PROGRAM, folder, call.sid],
        env={
            "API_URL": stack.control_api_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": stack.region,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
