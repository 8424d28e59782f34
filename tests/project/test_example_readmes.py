"""Each example's README says what a reader wants to know, with parameters and outputs that there are."""

import re
from typing import Any

import pytest

from tests.cloudformation import EXAMPLES, example

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
TEMPLATES = [name for name in NAMES if (EXAMPLES / name / "template.yaml").exists()]


def readme(name: str) -> str:
    return (EXAMPLES / name / "README.md").read_text()


def commands(name: str) -> str:
    """Return what a reader is to type, continued lines as one."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme(name), re.MULTILINE | re.DOTALL)
    return re.sub(r"\\\n\s*", "", "\n".join(blocks))


def test_the_index_lists_every_example_once() -> None:
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1/README\.md\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    assert listed == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_says_how_to_deploy_what_it_costs_and_how_it_goes_away(name: str) -> None:
    headings = re.findall(r"^## (.+)$", readme(name), re.MULTILINE)

    assert {"What it costs", "Remove it"} <= set(headings)
    assert {"Deploy it", "Use it"} & set(headings)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_command_that_deploys_gives_every_parameter_that_is_needed_and_no_other(name: str) -> None:
    parameters = example(name)["Parameters"]
    (given,) = re.findall(r"--parameter-overrides (.+)$", commands(name), re.MULTILINE)
    named = set(re.findall(r"(?:^|[\s\"])([A-Z]\w+)=", given))

    assert {one for one, parameter in parameters.items() if "Default" not in parameter} <= named <= parameters.keys()


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_that_are_read_are_there(name: str, template: dict[str, Any]) -> None:
    """Of the stack, or of an example, whose stack has the stack's name and a word of its own."""
    suffixes = {"": template, "-usage": example("consumer")}
    suffixes |= {f"-{one}": example(one) for one in TEMPLATES if one != "consumer"}
    read = re.findall(r'output "\$STACK([\w-]*)" (\w+)', commands(name))

    assert [(suffix, output) for suffix, output in read if output not in suffixes[suffix]["Outputs"]] == []
