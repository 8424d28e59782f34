"""The pages say what the model says of this template."""

import re

import pytest

from tests.scale import costs, report
from tests.scale.costs import Use
from tests.scale.recording import dearest, made
from tests.scale.settings import read

RUN = "run `make scale` and look at what it writes"


def test_the_page_of_scale_is_of_these_settings_counts_and_limits() -> None:
    page = report.SCALE.read_text()

    assert f"<!-- made of {report.fingerprint(dearest(), read())} -->" in page, RUN
    assert page == report.put(
        report.put(page, "published", report.published_limits()), "what to set", report.what_to_set()
    )


def test_the_page_of_costs_is_what_is_counted() -> None:
    page = report.COSTS.read_text()

    assert report.cost_page(made(), page) == page, f"{RUN}, or `python -m tests.scale --only-costs`"


def test_the_bill_adds_up() -> None:
    use = Use.usual(made(), read())

    assert f"| together |  | {costs.dollars(use):.2f} |" in report.bill(use)
    assert costs.dollars(costs.lean(use)) < costs.dollars(use)
    assert costs.dollars(costs.without_archive(use, made())) < costs.dollars(use) / 1.2


def test_a_part_that_is_not_in_a_page_is_not_written() -> None:
    with pytest.raises(ValueError, match="0 times"):
        report.put("a page", "bill", "a table")


def test_a_part_is_put_in_place_of_the_one_that_is_there() -> None:
    page = "a\n<!-- `make scale` writes this: one -->\nold \\1\n<!-- end of one -->\nb\n"

    once = report.put(page, "one", "new \\1")

    assert re.sub(r"\n+", "\n", once) == page.replace("old", "new")
    assert report.put(once, "one", "new \\1") == once
