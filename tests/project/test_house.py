"""The layout in CONTRIBUTING is that of the repository, and a handler is short enough to see through."""

import re

from local.stack import PROJECT

LAYER = PROJECT / "layers" / "shared" / "call_recording"
PAGE = (PROJECT / "CONTRIBUTING.md").read_text()
MAP = PAGE.split("## Repository layout")[1].split("```")[1].strip().splitlines()
LONGEST_HANDLER = 150


def rooms(lines: list[str]) -> set[str]:
    """Return the folders that begin lines of the map."""
    return {name for line in lines for name in re.findall(r"([\w.]+)/(?=\s|$)", line[:26])}


def folders(of: str = "") -> set[str]:
    return {path.name for path in (PROJECT / of).iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}


def test_the_map_is_twenty_lines() -> None:
    assert len(MAP) <= 20


def test_the_map_names_every_package_of_the_layer_and_no_other() -> None:
    inner = [line for line in MAP if line.startswith("  ")]

    assert rooms(inner) == folders("layers/shared/call_recording")


def test_the_map_names_every_folder_and_no_other() -> None:
    outer = {line.split()[0].split("/")[0] for line in MAP if not line.startswith(" ")} | {"examples", "scripts"}

    assert outer - {"template.yaml"} == folders() - {"build"}


def test_the_map_names_what_is_in_the_folders() -> None:
    told = {line.split()[0].rstrip("/"): set(re.findall(r"([\w-]+)/", line[26:])) for line in MAP if line[0] != " "}

    assert told["tests"] == folders("tests")
    assert told["docs"] - {"adr"} == folders("docs")


def test_every_question_has_a_file_that_is_there() -> None:
    section = PAGE.split("### Where a rule lives")[1].split("##")[0]
    answers = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ") and "---" not in line][1:]

    assert len(answers) == 11
    assert [
        path for answer in answers for path in re.findall(r"`([^`]+)`", answer) if not (LAYER / path).exists()
    ] == []


def test_no_handler_file_is_long() -> None:
    long = {
        str(path.relative_to(PROJECT)): lines
        for path in (PROJECT / "functions").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_HANDLER
    }

    assert long == {}
