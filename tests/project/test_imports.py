"""What a cold start loads, besides boto3 and requests, is counted: each module is paid for by the first caller."""

import json
import subprocess
import sys
from dataclasses import is_dataclass

import pytest

from call_recording.twilio.credentials import Credentials
from local.stack import PROJECT
from tests.benchmarks.subjects import environment

FLOOR = "import boto3, requests"
APP = "import sys; sys.path.append(sys.argv[1]); import app"
# Our packages hold nothing but modules (their `__init__.py` is empty), so they are no load of their own.
TELL = """
import json, os, sys
loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
is_empty = lambda path: path and path.endswith("__init__.py") and not os.path.getsize(path)
is_ours = lambda name: name.partition(".")[0] == "call_recording"
print(json.dumps(sorted(name for name, path in loaded.items() if not (is_ours(name) and is_empty(path)))))
"""
ENVIRONMENT = environment("https://example.com")


def loaded(program: str, *arguments: str) -> set[str]:
    told = subprocess.run(  # noqa: S603 (this interpreter)
        [sys.executable, "-c", program + "\n" + TELL, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
        text=True,
    )
    return set(json.loads(told.stdout))


def loaded_by(function: str) -> set[str]:
    return loaded(APP, str(PROJECT / "functions" / function)) - loaded(FLOOR)


@pytest.mark.parametrize("function", ["start_recording", "recording_status"])
def test_what_is_rarely_needed_is_not_loaded(function: str) -> None:
    rare = (
        "aws_lambda_powertools.event_handler",
        "aws_lambda_powertools.utilities.batch",
        "aws_lambda_powertools.utilities.data_classes",
        "asyncio",
        "difflib",
        "pydantic",
        "tenacity",
        "twilio.rest",
    )

    assert [name for name in loaded_by(function) if name.startswith(rare)] == []


def test_functions_that_somebody_waits_for_load_this_many_modules_and_no_more() -> None:
    """Counts, not goals: change them where that is what you mean to do."""
    counts = {
        function: {
            package: sum(name.partition(".")[0] == package for name in loaded_by(function))
            for package in ("aws_lambda_powertools", "call_recording")
        }
        for function in ("start_recording", "recording_status", "publish_changes")
    }

    assert counts == {
        "publish_changes": {"aws_lambda_powertools": 40, "call_recording": 16},
        "recording_status": {"aws_lambda_powertools": 50, "call_recording": 23},
        "start_recording": {"aws_lambda_powertools": 67, "call_recording": 32},
    }


def test_announcing_changes_loads_nothing_that_reads_or_decides() -> None:
    """Lists, tokens, secrets and merging are other functions' work."""
    others = ("itsdangerous", "aws_lambda_powertools.utilities.parameters", "call_recording.recordings.merge")

    assert [name for name in loaded_by("publish_changes") if name.startswith(others)] == []


def test_what_a_start_and_a_callback_load_makes_one_dataclass() -> None:
    """It keeps secrets out of `repr`; each one more compiles its methods at every cold start."""
    names = loaded_by("start_recording") | loaded_by("recording_status")
    modules = [sys.modules.get(name) or __import__(name, fromlist=["x"]) for name in names if name.startswith("call_")]

    made = {kind for m in modules for kind in vars(m).values() if isinstance(kind, type) and is_dataclass(kind)}

    assert made == {Credentials}
