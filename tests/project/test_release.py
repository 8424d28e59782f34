"""What a release is made of: the application as it was built, its checksum, and what the changelog says of it."""

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from generators.release import WITH_IT, checked, notes, pack, version
from local.stack import PROJECT
from tests.project.test_shipping import commands, load_workflow

CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 - 2026-12-24

### Added

- Two.

## 0.1.0 - 2026-11-26

- One.
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """What `sam build` leaves, in small."""
    (tmp_path / "build/Function").mkdir(parents=True)
    (tmp_path / "build/Function/app.py").write_text("handler = None\n")
    template = "Metadata:\n  Application:\n    LicenseUrl: ../../../LICENSE\nResources:\n  CodeUri: Function\n"
    (tmp_path / "build/template.yaml").write_text(template)
    return tmp_path / "build"


def test_the_notes_are_what_the_changelog_says_of_that_version() -> None:
    assert notes(CHANGELOG, "0.2.0") == "### Added\n\n- Two.\n"
    assert notes(CHANGELOG, "0.1.0") == "- One.\n"


@pytest.mark.parametrize("of", ["0.3.0", "0.1", "0.1.00", "Unreleased"])
def test_a_version_of_which_nothing_is_said_is_not_released(of: str) -> None:
    with pytest.raises(ValueError, match=re.escape(of)):
        notes(CHANGELOG, of)


def test_only_the_tag_of_this_version_is_released() -> None:
    assert checked(f"v{version()}") == version()
    for tag in (version(), f"v{version()}-rc1", "v9.9.9", "main"):
        with pytest.raises(ValueError, match=re.escape(tag)):
            checked(tag)


def test_the_changelog_has_notes_for_a_release_from_here() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text()

    assert re.search(r"^## Unreleased$", text, re.MULTILINE)
    assert notes(text, version() if f"\n## {version()} - " in text else "Unreleased")


def test_the_archive_holds_what_was_built_with_all_that_its_template_names(build: Path, tmp_path: Path) -> None:
    archive = pack("call-recording-1", build, PROJECT, tmp_path)

    with ZipFile(archive) as packed:
        names = set(packed.namelist())
        template = packed.read("call-recording-1/template.yaml").decode()
        assert packed.read("call-recording-1/Function/app.py") == b"handler = None\n"
    assert "LicenseUrl: LICENSE\n" in template
    assert {"call-recording-1/LICENSE", "call-recording-1/samconfig.toml", "call-recording-1/docs/README.md"} <= names
    assert all((PROJECT / name).exists() for name in WITH_IT)


def test_the_same_files_are_the_same_archive(build: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()

    first = pack("call-recording-1", build, PROJECT, tmp_path).read_bytes()
    for file in build.rglob("*"):
        file.touch()
    second = pack("call-recording-1", build, PROJECT, tmp_path / "again").read_bytes()

    assert first == second


def test_the_forms_for_issues_are_such_as_github_reads() -> None:
    """As GitHub's documentation of issue forms has it: each part has a type, and all but text an id and a label."""
    forms = [path for path in (PROJECT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]

    assert len(forms) == 2
    for form in map(yaml.safe_load, (path.read_text() for path in forms)):
        assert {"name", "description", "body"} <= form.keys()
        asked = [part for part in form["body"] if part["type"] != "markdown"]
        assert all(part["attributes"]["label"] for part in asked)
        assert len({part["id"] for part in asked}) == len(asked)
        assert {part["type"] for part in asked} <= {"checkboxes", "dropdown", "input", "textarea"}


def test_only_what_passed_the_tests_is_released_and_only_that_job_may_write() -> None:
    workflow: dict[str, Any] = load_workflow("release.yml")
    job = workflow["jobs"]["release"]

    assert workflow["on"] == {"push": {"tags": ["v*"]}}
    assert workflow["jobs"]["test"] == {"uses": "./.github/workflows/test.yml"}
    assert job["needs"] == "test"
    assert job["permissions"] == {"contents": "write"}
    package, publish = commands(workflow)
    assert package == 'make package TAG="$GITHUB_REF_NAME"'
    assert publish.split("--notes-file ")[1] == "notes.md *.zip SHA256SUMS"
    assert "--verify-tag" in publish
