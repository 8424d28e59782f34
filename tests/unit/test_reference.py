"""The reference page holds the whole description and needs nothing from a network."""

import json
import re

import yaml

from local.reference import SOURCE, reference


def test_the_page_shows_the_description_as_it_is() -> None:
    page = reference()

    (spec,) = re.findall(r"^  spec: (\{.*^\}),$", page, re.MULTILINE | re.DOTALL)
    assert json.loads(spec) == json.loads(json.dumps(yaml.safe_load(SOURCE.read_text()), default=str))


def test_the_page_loads_nothing_else() -> None:
    page = reference()

    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", page.replace("<script>", ""))
