"""checkov checks the templates: it is silent about a file that it cannot read, and about one with merge keys."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

from local.expanded_template import EXPANDED, write
from local.stack import PROJECT

CHECKOV = PROJECT / ".venv/audit/bin/checkov"
EXAMPLES = sorted(str(path.relative_to(PROJECT)) for path in PROJECT.glob("examples/*/template.yaml"))


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
            *EXAMPLES,
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


def test_checkov_reads_every_template_and_finds_nothing(summary: dict[str, int]) -> None:
    assert (summary["parsing_errors"], summary["failed"]) == (0, 0)
    assert summary["passed"] >= 130, "template.yaml itself, with its merge keys, has none"
    assert summary["resource_count"] >= 95


def test_make_validate_has_checkov_read_the_same_templates() -> None:
    files = yaml_parse((PROJECT / ".checkov.yaml").read_text())["file"]

    assert files == [str(EXPANDED.relative_to(PROJECT)), *EXAMPLES]


def test_what_checkov_is_told_to_leave_alone_is_little(summary: dict[str, int]) -> None:
    """Eight of the stack and what stands before it; nine of the other examples, seven of which are queues and logs."""
    assert summary["skipped"] <= 17
