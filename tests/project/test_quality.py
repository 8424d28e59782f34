"""What docs/reference/quality.md says of the tests is what the last runs of `make mutate` found."""

from tests.mutation import report
from tests.mutation.modules import MODULES
from tests.project.test_docs import LAYER


def test_the_page_is_what_the_results_and_the_judgements_make() -> None:
    assert report.PAGE.read_text() == report.page()


def test_every_survivor_is_judged_and_every_module_that_was_measured_reaches_the_goal() -> None:
    assert report.complaints() == []


def test_the_modules_that_decide_are_there() -> None:
    assert [module for module in MODULES if not (LAYER / f"{module}.py").exists()] == []
