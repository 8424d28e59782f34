"""What `sam build` made runs on its own: the development environment lends it nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack import Stack
from tests.benchmarks.subjects import zipped_bytes
from tests.conftest import SETTINGS
from tests.local_stack.conftest import BUILD

IMPORT = """
import json, sys
sys.path += json.loads(sys.argv[1])
import app
print(json.dumps({name: getattr(sys.modules.get(name), "__file__", None) for name in json.loads(sys.argv[2])}))
"""


@pytest.mark.parametrize("function", SETTINGS)
def test_each_built_handler_imports_with_only_its_folder_its_layer_and_boto3(
    stack: Stack, runtime: Path, function: str
) -> None:
    layer = BUILD / "SharedLayer" / "python"
    paths = [str(BUILD / function), str(layer), str(runtime)]
    asked = ["call_recording.settings", "aws_lambda_powertools", "requests", "boto3"]

    done = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-I", "-S", "-c", IMPORT, json.dumps(paths), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert str(found["call_recording.settings"]).startswith(str(layer))
    assert str(found["aws_lambda_powertools"]).startswith(str(layer))
    talks_to_twilio = function not in {"RecordingStatusFunction", "PublishChangesFunction"}
    assert not talks_to_twilio or str(found["requests"]).startswith(str(layer))
    assert str(found["boto3"]).startswith(str(runtime))


def test_a_function_and_its_layer_ship_in_little_more_than_two_megabytes(stack: Stack) -> None:
    assert zipped_bytes(BUILD / "StartRecordingFunction", BUILD / "SharedLayer") <= 2_200_000


def test_only_the_webhook_ships_the_signature_check_and_not_the_sdk(stack: Stack) -> None:
    shipped = {path.relative_to(BUILD).parts[0] for path in BUILD.rglob("request_validator.py")}

    assert shipped == {"RecordingStatusFunction"}
    assert not (BUILD / "RecordingStatusFunction" / "twilio" / "rest").exists()
