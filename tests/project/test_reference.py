"""The reference page holds the whole description and needs nothing from a network."""

import json
import re

import yaml

from generators.reference import SOURCE, reference


def test_the_page_shows_the_description_as_it_is() -> None:
    page = reference()

    (shown,) = re.findall(r"^  spec: (\{.*^\}),$", page, re.MULTILINE | re.DOTALL)
    told, source = json.loads(shown), yaml.safe_load(SOURCE.read_text())
    assert "$ref" not in shown, "a browser resolves none in a page that is a file"
    assert {path: item.keys() for path, item in told["paths"].items()} == {
        path: item.keys() for path, item in source["paths"].items()
    }
    problem = source["components"]["schemas"]["Problem"]
    refusal = told["paths"]["/recordings/{RecordingSid}"]["get"]["responses"]["404"]
    assert refusal["content"]["application/problem+json"]["schema"]["required"] == problem["required"]


def test_the_page_loads_nothing_else() -> None:
    page = reference()

    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", page.replace("<script>", ""))
