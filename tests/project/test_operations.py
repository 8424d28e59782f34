"""docs/how-to/operate fits the template, the tests that run its commands, and itself. The costs add up."""

import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from call_recording.errors import OURS, TWILIO
from call_recording.problems import _ANSWERS, _CAUSES
from local.stack import PROJECT

FOLDER = PROJECT / "docs/how-to/operate"
FRONT, COSTS = FOLDER / "README.md", PROJECT / "docs/reference/costs.md"
ALARMS = (FOLDER / "alarms.md", FOLDER / "tickets.md")
PAGES = sorted(FOLDER.glob("*.md"))
RUN_BY = PROJECT / "tests" / "local_stack" / "test_operations_commands.py"
PREAMBLE = "Before you begin"


@dataclass(frozen=True)
class Block:
    """Commands, the heading they stand under, and why only AWS can run them, if that is so."""

    heading: str
    text: str
    needs_aws: str | None


_FENCE = re.compile(
    r"^ *(?:<!-- needs AWS: (?P<reason>[^\n]+) -->\n *)?```sh\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text() -> str:
    """Return all pages of the folder, one after the other."""
    return "\n".join(page.read_text() for page in PAGES)


def blocks() -> list[Block]:
    """Return every block of commands, in the order of each page."""
    return [block for page in PAGES for block in blocks_of(page)]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of commands of one page, in its order."""
    written = page.read_text()
    headings = [(match.start(), match[1]) for match in _HEADING.finditer(written)]
    found = []
    for match in _FENCE.finditer(written):
        heading = [title for start, title in headings if start < match.start()][-1]
        found.append(Block(heading, textwrap.dedent(match["text"]), match["reason"]))
    return found


@pytest.fixture(scope="module")
def alarms(template: dict[str, Any]) -> dict[str, Any]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def sections() -> dict[str, str]:
    """Return the text under each heading of the second level, which the alarms have."""
    found: dict[str, str] = {}
    for page in ALARMS:
        parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)[1:]
        found |= zip(parts[::2], parts[1::2], strict=True)
    return found


def test_every_alarm_of_the_template_has_an_entry_and_no_other(alarms: dict[str, Any]) -> None:
    entries = [*(heading for heading in sections() if heading.endswith("Alarm"))]
    entries += re.findall(r"^\| `(\w+Alarm)` \|", text(), re.MULTILINE)

    assert sorted(entries) == sorted(alarms)


@pytest.mark.parametrize("heading", sections())
def test_an_alarm_s_entry_says_what_it_means_how_to_look_what_to_do_and_when_it_clears(heading: str) -> None:
    said = re.findall(r"^\*\*(\w+?)s?\b", sections()[heading], re.MULTILINE)

    assert said == ["Mean", "Look", "Do", "Clear"]
    assert [block for block in blocks() if block.heading == heading], "there is something to look with"


# What only the archive, lists, deletions or requests to control meet: no start does.
OF_OTHERS = {
    OURS: {"archive-conflict", "archive-unavailable", "audit-unavailable", "no-time-left", "page-tokens-unavailable"},
    TWILIO: {
        *("media-not-ready", "not-actionable", "outcome-unknown", "pause-timed-out", "pause-unproven"),
        *("resume-unproven", "still-paused", "still-recording", "wrong-media"),
    },
}


@pytest.mark.parametrize(("cause", "alarm"), [(OURS, "OwnFailuresAlarm"), (TWILIO, "TwilioFailuresAlarm")])
def test_an_alarm_s_entry_says_what_to_do_for_each_reason_that_raises_it(cause: str, alarm: str) -> None:
    reasons = {reason for kind, (_, reason, _) in _ANSWERS.items() if _CAUSES[kind] == cause}
    told = {
        name
        for first in re.findall(r"^\| (.+?) \|", sections()[alarm], re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", first)
    }

    assert reasons - told == OF_OTHERS[cause]


def test_every_fence_is_commands_settings_or_a_document_that_is_known_here() -> None:
    page = text()

    assert len(blocks()) == len(re.findall(r"^ *```sh$", page, re.MULTILINE))
    assert set(re.findall(r"^ *```(\w+)$", page, re.MULTILINE)) == {"sh", "toml"}
    assert page.count("<!--") == len([block for block in blocks() if block.needs_aws])


def test_every_command_is_run_by_a_test_or_needs_aws() -> None:
    runs = re.findall(r'\bfollow\(\s*"([^"]+)"', RUN_BY.read_text())

    assert sorted(set(runs)) == sorted(runs)
    assert set(runs) == {block.heading for block in blocks() if not block.needs_aws} - {PREAMBLE}


def test_a_heading_with_commands_is_there_once() -> None:
    headings = _HEADING.findall(text())

    for heading in {block.heading for block in blocks()}:
        assert headings.count(heading) == 1


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.heading)
def test_commands_are_bash(block: Block) -> None:
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)  # noqa: S607

    assert checked.stderr == ""


def aws_commands(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Give service, operation and options of each `aws` command; quotes may hold anything."""
    joined = text.replace("\\\n", " ")
    for command in re.findall(r"\baws ([a-z0-9]+ [a-z0-9-]+[^\n]*)", joined):
        words = command.split()
        yield words[0], words[1], set(re.findall(r"(?<=\s)--[a-z-]+", command))


# What the CLI itself adds, or names otherwise than the API.
OF_THE_CLI = {
    "--query",
    "--output",
    "--cli-read-timeout",
    "--max-items",
    "--enabled",
    "--no-enabled",
    "--cli-input-json",
}
OF_A_COMMAND = {("cloudformation", "wait"): {"--stack-name"}}


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.heading)
def test_the_aws_cli_knows_commands_and_options_also_where_only_aws_can_run_them(block: Block) -> None:
    session = botocore.session.get_session()
    for service, name, options in aws_commands(block.text):
        if (service, name) in OF_A_COMMAND:
            known = OF_A_COMMAND[service, name]
        else:
            model = session.get_service_model(service.removesuffix("api") if service == "s3api" else service)
            (operation,) = [each for each in model.operation_names if xform_name(each, "-") == name]
            shape = model.operation_model(operation).input_shape
            known = {f"--{xform_name(member, '-')}" for member in shape.members} if shape else set()
        assert options - OF_THE_CLI <= known, (service, name)


def test_every_section_is_in_the_contents() -> None:
    contents = FRONT.read_text().split("Contents:")[1].split("\n## ")[0]
    listed = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", contents)

    assert sorted(listed) == sorted(
        (page.read_text().splitlines()[0][2:], page.name) for page in PAGES if page != FRONT
    )


def test_every_page_with_commands_says_what_they_need() -> None:
    for page in PAGES:
        needed = "](README.md#before-you-begin)" in page.read_text()
        assert needed == (page != FRONT and bool(blocks_of(page)))


def test_the_key_s_policy_lets_in_iam_the_logs_and_the_events() -> None:
    (block,) = [block for block in blocks() if block.heading == "Encrypt with a key of your own"]
    document = json.loads(re.sub(r"\$\{?\w+\}?", "x", block.text.split("<<END\n")[1].split("\nEND")[0]))

    principals = [statement["Principal"] for statement in document["Statement"]]
    assert principals == [
        {"AWS": "arn:aws:iam::x:root"},
        {"Service": "logs.x.amazonaws.com"},
        {"Service": "events.amazonaws.com"},
    ]


# --- what it costs -------------------------------------------------------------------------------------

TIMES = "\N{MULTIPLICATION SIGN}"


def table(heading: str) -> list[list[str]]:
    part = COSTS.read_text().split(f"\n## {heading}\n")[1].split("\n##")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", part, re.MULTILINE)
    ][2:]


def test_the_alarms_are_billed_by_the_metrics_that_they_watch(alarms: dict[str, Any]) -> None:
    watched = [
        query for alarm in alarms.values() for query in alarm.get("Metrics", [alarm]) if "Expression" not in query
    ]
    (row,) = [row for row in table("By the month") if row[0].endswith("alarms")]

    assert row[0] == f"{len(alarms)} alarms"
    assert float(row[2]) == pytest.approx(len(watched) * 0.10)


@pytest.mark.parametrize("heading", ["By the month", "By the recording"])
def test_a_table_of_costs_adds_up(heading: str) -> None:
    *rows, (_, _, together) = table(heading)
    total = sum(max(float(number) for number in row[2].split(" to ")) for row in rows)

    assert total == pytest.approx(float(re.findall(r"[\d.]+", together)[0]), abs=0.5)


@pytest.mark.parametrize("heading", ["By the month", "By the recording"], ids=lambda heading: heading.replace(" ", "-"))
def test_an_arithmetic_gives_what_stands_beside_it(heading: str) -> None:
    for what, arithmetic, result in table(heading):
        numbers = re.sub(r"(?<=\d),(?=\d{3})", "", arithmetic).split(":")[0].split(";")[0]
        numbers = re.sub(r"\([^()]*page tokens[^()]*\)", "2", numbers)  # the stack's own, and one account's
        formula = " ".join(re.findall(rf"[\d.]+|[{TIMES}+/()]", numbers)).replace(TIMES, "*")
        if what != "together" and re.fullmatch(r"[\d.]+", result) and "*" in formula:
            assert eval(formula, {}) == pytest.approx(float(result), abs=0.006), arithmetic  # noqa: S307 (numbers)


def test_the_readme_names_what_the_page_of_costs_adds_up_to() -> None:
    said = " ".join((PROJECT / "README.md").read_text().split("## What it costs")[1].split())
    month = re.findall(r"\d+", table("By the month")[-1][2])[0]
    million = float(table("By the recording")[-1][2])

    assert f"about {month} US dollars a month" in said
    assert ("less than a hundredth of a cent" in said) == (million < 100)


def test_the_shell_s_words_are_what_the_blocks_say() -> None:
    """The parser sees what a reader sees: a block of a list is not indented."""
    (block,) = [block for block in blocks() if "read -rs NEW_TOKEN" in block.text]

    assert shlex.split(block.text) == ["read", "-rs", "NEW_TOKEN"]
