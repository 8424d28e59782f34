"""What `sam build` made runs on its own: the development environment lends it nothing."""

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from local.stack import PROJECT, Stack
from tests.benchmarks.subjects import zipped_bytes
from tests.conftest import SETTINGS
from tests.local_stack.conftest import BUILD

IMPORT = """
import json, sys
sys.path += json.loads(sys.argv[1])
import app
print(json.dumps({name: getattr(sys.modules.get(name), "__file__", None) for name in json.loads(sys.argv[2])}))
"""


def of_all(template: dict[str, Any]) -> dict[str, str]:
    """Return the variables that the template gives every function."""
    variables: dict[str, str] = template["Globals"]["Function"]["Environment"]["Variables"]
    return variables


@pytest.mark.parametrize("function", SETTINGS)
def test_each_built_handler_imports_with_only_its_folder_its_layer_and_boto3(
    stack: Stack, template: dict[str, Any], runtime: Path, function: str
) -> None:
    layer = BUILD / "SharedLayer" / "python"
    paths = [str(BUILD / function), str(layer), str(runtime)]
    asked = ["call_recording.settings", "aws_lambda_powertools", "requests", "boto3"]

    warnings = of_all(template)["PYTHONWARNINGS"]
    done = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-I", "-S", "-W", warnings, "-c", IMPORT, json.dumps(paths), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "each cold start would log it"
    found = json.loads(done.stdout)
    assert str(found["call_recording.settings"]).startswith(str(layer))
    assert str(found["aws_lambda_powertools"]).startswith(str(layer))
    talks_to_twilio = function not in {"RecordingStatusFunction", "PublishChangesFunction"}
    assert not talks_to_twilio or str(found["requests"]).startswith(str(layer))
    assert str(found["boto3"]).startswith(str(runtime))


def test_a_function_and_its_layer_ship_in_less_than_four_megabytes(stack: Stack) -> None:
    """Half of it is bytecode, which halves a cold start."""
    assert zipped_bytes(BUILD / "StartRecordingFunction", BUILD / "SharedLayer") <= 3_500_000


def test_authorities_are_shipped_to_be_looked_up_and_all_of_certifis(stack: Stack) -> None:
    """Where `call_recording.authorities` looks for them; how they are named is tested with it."""
    layer = BUILD / "SharedLayer"
    bundle = (layer / "python/certifi/cacert.pem").read_text()

    shipped = [path.read_text() for path in (layer / "authorities").iterdir()]

    assert len(shipped) == bundle.count("-----BEGIN CERTIFICATE-----")
    assert all(pem in bundle for pem in set(shipped))
    assert len(set(shipped)) == len(shipped)


def test_addresses_of_aws_are_where_the_template_says(stack: Stack, template: dict[str, Any]) -> None:
    shipped = BUILD / "SharedLayer" / Path(of_all(template)["AWS_DATA_PATH"]).relative_to("/opt")

    assert [path.name for path in shipped.iterdir()] == ["endpoints.json"]


FOLDERS = {
    "ArchiveRecordingFunction": "functions/archive_recording",
    "PublishChangesFunction": "functions/publish_changes",
    "ReconcileRecordingsFunction": "functions/reconcile_recordings",
    "RecordingStatusFunction": "functions/recording_status",
    "RecordingsApiFunction": "functions/recordings_api",
    "SharedLayer": "layers/shared",
    "StartRecordingFunction": "functions/start_recording",
}
MAGIC = importlib.util.MAGIC_NUMBER
UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def built_at(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_build_elsewhere_and_later_is_the_same_to_the_byte(stack: Stack, tmp_path: Path, name: str) -> None:
    """With no variable of this environment but the PATH, as in a container."""
    source, built = tmp_path / "source", tmp_path / "elsewhere"
    shutil.copytree(PROJECT / FOLDERS[name], source, ignore=shutil.ignore_patterns("__pycache__"))
    built.mkdir()

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # What a person's own shell may say of bytecode is as little of its business.
    mine = {"PYTHONPYCACHEPREFIX": str(tmp_path / "prefix"), "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "1"}
    command = ["make", "--silent", f"build-{name}"]
    subprocess.run(  # noqa: S603 (the project's own Makefiles)
        command, cwd=source, env={"PATH": path, "ARTIFACTS_DIR": str(built)} | mine, check=True
    )

    assert built_at(built) == built_at(BUILD / name)


def code_of(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_of(constant)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_module_is_shipped_with_bytecode_that_is_believed_unseen(stack: Stack, name: str) -> None:
    folder = BUILD / name
    deployed = Path("/opt" if name == "SharedLayer" else "/var/task")
    sources = sorted(folder.rglob("*.py"))

    assert sources
    assert len(sources) == sum(path.suffix == ".pyc" for path in folder.rglob("*"))
    for source in sources:
        # Where Python looks in Lambda, whatever `make` says about this machine.
        bytecode = (source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc").read_bytes()
        kind = bytecode[:16]
        assert kind == MAGIC + UNCHECKED_HASH + importlib.util.source_hash(source.read_bytes()), source
        names = {code.co_filename for code in code_of(marshal.loads(bytecode[16:]))}  # noqa: S302 (our own)
        assert names == {str(deployed / source.relative_to(folder))}


def test_only_the_webhook_ships_the_signature_check_and_not_the_sdk(stack: Stack) -> None:
    shipped = {path.relative_to(BUILD).parts[0] for path in BUILD.rglob("request_validator.py")}

    assert shipped == {"RecordingStatusFunction"}
    assert not (BUILD / "RecordingStatusFunction" / "twilio" / "rest").exists()
