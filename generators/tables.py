"""`make reference`: the tables of docs/ that are generated from the template, the schemas and the code.

A page has `<!-- table: NAME -->` and `<!-- end -->` around what is made; everything else in it is written by hand.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from generators import of_code, of_template
from local.stack import PROJECT

DOCS: Final = PROJECT / "docs"

TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "parameters": of_template.parameters,
    "outputs": of_template.outputs,
    "gateway refusals": of_template.gateway_refusals,
    "permissions": of_template.permissions,
    "errors": of_code.errors,
    "errors in events": of_code.errors_in_events,
    "row": of_code.row,
    "row within": of_code.row_within,
    "events": of_code.events,
    **{f"event {name}": of_code.event_table(name) for name in of_code.event_names()},
}

_PLACE: Final = re.compile(r"^<!-- table: ([\w ]+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)


def made(page: str) -> str:
    """Return the page with regenerated tables. Raises KeyError for an unknown table."""
    return _PLACE.sub(lambda place: f"<!-- table: {place[1]} -->\n\n{TABLES[place[1]]()}\n<!-- end -->", page)


def pages() -> Iterable[Path]:
    """Return the pages that have such tables."""
    return [page for page in sorted(DOCS.glob("**/*.md")) if _PLACE.search(page.read_text())]


def main() -> None:
    """Regenerate the tables in their pages."""
    for page in pages():
        page.write_text(made(page.read_text()))


if __name__ == "__main__":
    main()
