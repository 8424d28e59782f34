"""What the documents say is there is there: links, tests, modules, resources, permissions."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from call_recording import errors, metrics
from call_recording.callbacks import facts as callbacks
from call_recording.control import request as control_request
from call_recording.metrics import Metric
from call_recording.start import request as start_request
from generators.template import translated
from local.stack import PROJECT

LAYER = PROJECT / "layers/shared/call_recording"
DOCS = PROJECT / "docs"
EXPLANATION, REFERENCE = DOCS / "explanation", DOCS / "reference"
ARCHITECTURE, ROOMS_PAGE = EXPLANATION / "architecture.md", EXPLANATION / "rooms.md"
SECURITY, THREATS, HARDENING = EXPLANATION / "security.md", EXPLANATION / "threats.md", DOCS / "how-to/harden.md"
EDGE = PROJECT / "examples/edge"
PAGES = sorted([*PROJECT.glob("*.md"), *DOCS.glob("**/*.md"), *PROJECT.glob("examples/**/*.md")])
INDEX = DOCS / "README.md"
# Pages whose every name of code is looked up.
CLOSE = [ARCHITECTURE, ROOMS_PAGE, SECURITY, THREATS, HARDENING]


def shown(page: Path) -> str:
    """Return a page without its fenced code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def code(page: Path) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`\n]+)`", shown(page))


def rows(page: Path, heading: str) -> Iterator[list[str]]:
    """Give the cells of each row of the first table under a heading."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(), flags=re.MULTILINE)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    for line in table[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


# --- the house ------------------------------------------------------------------------------------


def test_the_readme_can_be_read_at_once() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 250


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=name_of)
def test_a_page_has_one_title_and_is_read_in_one_sitting(page: Path) -> None:
    assert re.findall(r"^# .+$", shown(page), re.MULTILINE) == [page.read_text().splitlines()[0]]
    assert len(page.read_text().splitlines()) <= 300


def test_a_page_stands_under_what_a_reader_wants() -> None:
    kinds = {"tutorial", "how-to", "reference", "explanation"}
    standing = {page.relative_to(DOCS).parts[0] for page in DOCS.glob("**/*.md") if page != INDEX}

    assert standing == kinds
    assert anchors(INDEX) - {"documentation"} == kinds


def test_the_index_lists_every_page_once_with_its_title() -> None:
    """The decisions have a list of their own: see `test_every_decision_is_linked`."""
    listed = dict(re.findall(r"\[([^\]]+)\]\(([\w/.-]+\.md)\)", INDEX.read_text()))
    targets = [link for link in links(INDEX) if link.endswith(".md") and not link.startswith("..")]

    pages = {page for page in DOCS.glob("**/*.md") if page != INDEX and page.parent.name != "adr"}
    assert {(DOCS / target).resolve() for target in targets} == pages
    assert len(targets) == len(pages)
    for title, target in listed.items():
        if not target.startswith(".."):
            assert (DOCS / target).read_text().splitlines()[0] == f"# {title}"


def facts(page: Path) -> Iterator[str]:
    """Give each row of a table, and each sentence that is long enough to say something."""
    text = shown(page)
    yield from re.findall(r"^\|(?!---).+\|$(?!\n\|---)", text, re.MULTILINE)
    prose = re.sub(r"^\|.+\|$", "", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|^(?:#|[ ]*(?:-|\d+\.) )", prose, flags=re.MULTILINE):
        sentences = re.split(r"(?<=[.:])\s", re.sub(r"\]\([^)]*\)", "]", " ".join(paragraph.split())))
        yield from (sentence for sentence in sentences if len(sentence) > 60)


def test_no_fact_stands_in_two_places() -> None:
    """As far as words tell: no row and no sentence of one page is on another."""
    first: dict[str, Path] = {}
    twice = []
    for page in PAGES:
        for fact in set(facts(page)):
            if fact in first:
                twice.append((name_of(first[fact]), name_of(page), fact))
            first[fact] = page

    assert twice == []


def test_every_parameter_of_the_edge_has_its_row() -> None:
    listed = [name for cells in rows(EDGE / "README.md", "Parameters") for name in re.findall(r"`(\w+)`", cells[0])]

    assert sorted(listed) == sorted(yaml_parse((EDGE / "template.yaml").read_text())["Parameters"])


def test_every_metric_has_its_row() -> None:
    counted = {found.name for found in vars(metrics).values() if isinstance(found, Metric)}
    listed = [
        name
        for cells in rows(REFERENCE / "metrics.md", "Metrics and logs")
        for name in re.findall(r"`(\w+)`", cells[0])
    ]

    assert sorted(listed) == sorted(counted)


# --- links ------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", shown(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.append(slug)
    times: Counter[str] = Counter()
    numbered = set()
    for slug in found:
        numbered.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return numbered


def links(page: Path) -> list[str]:
    """Return where the page's links lead within the repository."""
    without_code = re.sub(r"`[^`\n]*`", "", shown(page))
    found = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", without_code)
    found += re.findall(r"^\[[^\]]+\]:\s*(\S+)", without_code, re.MULTILINE)
    # Above the repository GitHub has pages of its own: what the workflows did, and where to report a vulnerability.
    return [link for link in found if not re.match(r"[a-z]+:|\.\./\.\./(?:actions|security)/", link)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def test_anchors_are_made_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `code`, and *more*: x_y-z?\n\n## Same\n\n## Same\n\n```sh\n# no heading\n```\n## The row's archive\n"
    )

    assert anchors(page) == {"a-code-and-more-x_y-z", "same", "same-1", "the-rows-archive"}


# --- tests ------------------------------------------------------------------------------------------


def functions_of(path: str) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse((PROJECT / path).read_text())) if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text())

    assert [f"{path}::{test}" for path, test in named if test not in functions_of(path)] == []


TESTS_OF_THREATS = (
    "tests/functions/test_threats.py",
    "tests/local_stack/test_deployed_threats.py",
    "tests/project/test_dependencies.py",
)


def test_every_test_of_a_threat_is_named() -> None:
    text = THREATS.read_text() + SECURITY.read_text()
    tried = {f"{path}::{test}" for path in TESTS_OF_THREATS for test in functions_of(path) if test.startswith("test_")}

    assert {test for test in tried if f"`{test}`" not in text} == set()


@pytest.mark.parametrize("page", CLOSE, ids=name_of)
def test_a_test_is_named_with_its_file(page: Path) -> None:
    assert [word for word in code(page) if re.match(r"test_\w+$", word) or word.startswith("::")] == []


# --- names --------------------------------------------------------------------------------------------

# What looks like a name of ours, and is AWS's or Twilio's.
OTHERS = {
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaDynamoDBExecutionRole",
    "AWSLambdaSQSQueueExecutionRole",
    "AWSXrayWriteOnlyAccess",
    "PutItem",
    "UpdateItem",
    # Words of templates and requests.
    "DefaultAuthorizer",
    "ResourcePolicy",
    "SecurityPolicy",
}


@pytest.fixture(scope="session")
def names(template: dict[str, Any]) -> set[str]:
    """Every name with capitals within that a document may use as code."""
    counted = {found.name for found in vars(metrics).values() if isinstance(found, Metric)}
    fields = start_request._READERS.keys() | control_request._READERS.keys() | callbacks._KNOWN  # noqa: SLF001
    edge = yaml_parse((EDGE / "template.yaml").read_text())
    parts = [held[part] for held in (template, edge) for part in ("Parameters", "Resources", "Outputs")]
    own = {name for part in parts for name in part}
    return own | fields | counted | vars(errors).keys() | OTHERS


@pytest.mark.parametrize("page", CLOSE, ids=name_of)
def test_every_parameter_and_resource_that_is_named_exists(page: Path, names: set[str]) -> None:
    named = {word for word in code(page) if re.fullmatch(r"[A-Z][a-z0-9]+(?:[A-Z]\w*)+|AWS\w+", word)}

    assert named, "otherwise nothing was looked at"
    assert named - names == set()


@pytest.mark.parametrize("page", CLOSE, ids=name_of)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = {word for word in code(page) if re.fullmatch(r"\.?[\w/.-]+\.(py|yaml|yml|toml|md|txt)", word)}

    lost = [name for name in named if not (PROJECT / name).exists() and not (LAYER / name).exists()]

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_verb_that_is_named_exists(page: Path) -> None:
    verbs = set(re.findall(r"^\.PHONY: ([a-z-]+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {found for word in code(page) for found in re.findall(r"^make ([a-z-]+)", word)}

    assert named - verbs == set()


# --- docs/explanation/architecture.md and rooms.md ------------------------------------------------------


def test_the_module_map_lists_every_module_once() -> None:
    listed = [cells[0].strip("`") for cells in rows(ARCHITECTURE, "The modules") if cells[0].startswith("`")]

    modules = [path.relative_to(LAYER).as_posix() for path in LAYER.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(listed) == sorted(modules)


def test_every_decision_is_linked() -> None:
    linked = {link for link in links(EXPLANATION / "decisions.md") if link.startswith("adr/")}

    assert linked == {f"adr/{path.name}" for path in (EXPLANATION / "adr").glob("*.md")} != set()


ROOMS = {
    "AWS::Serverless::Function",
    "AWS::Serverless::Api",
    "AWS::ApiGatewayV2::Api",
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
}


def test_every_room_has_its_section_and_every_queue_is_told_of(template: dict[str, Any]) -> None:
    headings = set(re.findall(r"^## (.+)$", shown(ROOMS_PAGE), re.MULTILINE))
    queues = {name for name, found in template["Resources"].items() if found["Type"] == "AWS::SQS::Queue"}

    assert {name for name, found in template["Resources"].items() if found["Type"] in ROOMS} <= headings
    told = {cells[0].strip("`") for cells in rows(REFERENCE / "dead-letters.md", "Dead letters")}
    assert queues <= headings | told


def test_the_picture_shows_what_there_is(template: dict[str, Any]) -> None:
    pictures = re.findall(r"^```mermaid\n(.*?)^```$", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
    drawn = {
        name
        for picture in pictures
        for name in re.findall(r"\b[A-Z]\w*(?:Function|Table|Bucket|Queue|Api|Group)\b", picture)
    }

    assert len(pictures) == 2
    assert drawn - template["Resources"].keys() == set()
    assert {
        name for name, found in template["Resources"].items() if found["Type"] == "AWS::Serverless::Function"
    } <= drawn


# --- docs/explanation/security.md and threats.md --------------------------------------------------------


def granted(role: dict[str, Any]) -> set[str]:
    """Return the actions that a role's own policies grant, whatever their conditions."""
    found: set[str] = set()
    for policy in role["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            for either in statement["Fn::If"][1:] if "Fn::If" in statement else [statement]:
                actions = either.get("Action", [])
                found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def test_what_a_compromised_function_can_do_is_what_its_role_grants() -> None:
    resources = translated()
    told = {
        cells[0].strip("`"): set(re.findall(r"`(\w+:\w+)`", cells[1]))
        for cells in rows(THREATS, "A compromised function")
    }

    functions = {name.removesuffix("Role") for name in resources if name.endswith("FunctionRole")}
    assert told == {function: granted(resources[f"{function}Role"]) for function in functions}


def test_the_managed_policies_that_reach_beyond_the_stack_are_named() -> None:
    attached = {
        policy.rpartition("/")[2]
        for resource in translated().values()
        if resource["Type"] == "AWS::IAM::Role"
        for policy in resource["Properties"].get("ManagedPolicyArns", [])
        if str(policy).startswith("arn:")
    }

    for page in (THREATS, REFERENCE / "permissions.md"):
        assert attached == {word for word in code(page) if word.startswith("AWS") and word in OTHERS}


def test_whatever_is_tried_says_how() -> None:
    """Each row names a test or a verb, or says openly that nothing tries it."""
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", THREATS.read_text(), re.MULTILINE)]
    tried = [line.rpartition(" | ")[2] for head, _, *lines in tables if head.endswith("| tried by |") for line in lines]

    silent = [how for how in tried if not re.search(r"`tests/|`make |needs? AWS|not tried|the same test", how)]

    assert len(tried) > 80
    assert silent == []
