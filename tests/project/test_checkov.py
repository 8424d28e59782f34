"""checkov checks the templates: it is silent about a file that it cannot read, and about one with merge keys."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.expanded_template import write
from local.stack import PROJECT

CHECKOV = PROJECT / ".venv/audit/bin/checkov"


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    expanded: Path = tmp_path_factory.mktemp("checkov") / "template.yaml"
    write(expanded)
    done = subprocess.run(  # noqa: S603 (the project's own tool)
        [
            CHECKOV,
            "--config-file",
            ".checkov.yaml",
            "--output",
            "json",
            "--file",
            expanded,
            "examples/edge/template.yaml",
        ],
        cwd=PROJECT,
        env=os.environ | {"BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, int] = json.loads(done.stdout)["summary"]
    return found


def test_checkov_reads_both_templates_and_finds_nothing(summary: dict[str, int]) -> None:
    assert (summary["parsing_errors"], summary["failed"]) == (0, 0)
    assert summary["passed"] >= 75, "template.yaml itself, with its merge keys, has none"
    assert summary["resource_count"] >= 70


def test_what_checkov_is_told_to_leave_alone_is_little(summary: dict[str, int]) -> None:
    assert summary["skipped"] <= 8
