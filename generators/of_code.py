"""Tables from the code and the schemas: errors, the row, and the published events."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import yaml

from call_recording.errors import CallRecordingError
from call_recording.problems import _ANSWERS
from call_recording.recordings.row import ATTRIBUTES, PUBLIC, Attribute
from generators.markdown import code, table, with_code
from generators.of_template import URN, names
from local.stack import EVENTS, PROJECT

SCHEMAS: Final = EVENTS / "schemas"
DOCS: Final = PROJECT / "docs"
API: Final = DOCS / "reference/openapi.yaml"

_PAGE: Final = re.compile(r"docs/([\w/-]+\.md)")

# --- errors ----------------------------------------------------------------------------------------------


def errors() -> str:
    """Return the table of problems that functions answer over HTTP."""
    return table(
        ("status", "name and title", "when", "did Twilio act?"),
        ([str(status), named, when, acted] for name, status, named, when, acted in _told() if name in _of_http()),
    )


def errors_in_events() -> str:
    """Return the table of errors that appear only as the reason in an event, or in answers to Twilio."""
    return table(
        ("status", "name and title", "when"),
        ([str(status), named, when] for name, status, named, when, _ in _told() if name not in _of_http()),
    )


def _told() -> Iterator[tuple[str, int, str, str, str]]:
    for kind, (status, name, title) in sorted(_ANSWERS.items(), key=lambda item: item[1]):
        if kind is not CallRecordingError:
            when = with_code(inspect.getdoc(kind) or "", names())
            acted = f"**{kind.acted}**" if kind.acted == "yes" else kind.acted
            yield name, status, f"{code(name)}<br>{title}", _PAGE.sub(_link, when), acted


def _link(page: re.Match[str]) -> str:
    title = (DOCS / page[1]).read_text().splitlines()[0].removeprefix("# ")
    return f"[{title}](../{page[1]})"


@cache
def _of_http() -> frozenset[str]:
    described = yaml.safe_load(API.read_text())["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    return frozenset(name.removeprefix(URN) for name in described)


# --- the row ---------------------------------------------------------------------------------------------


def row() -> str:
    """Return the table of attributes that callers and consumers see."""
    return _attributes(lambda attribute: attribute.is_public)


def row_within() -> str:
    """Return the table of the other attributes."""
    return _attributes(lambda attribute: not attribute.is_public)


def _attributes(of: Callable[[Attribute], bool]) -> str:
    return table(
        ("attribute", "type", "is"),
        ([code(name), it.kind, with_code(it.meaning, names())] for name, it in ATTRIBUTES.items() if of(it)),
    )


# --- events ----------------------------------------------------------------------------------------------


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    read = (json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json")))
    return {schema["title"]: schema for schema in read}


def event_names() -> list[str]:
    """Return the events' names, which are their schemas' titles."""
    return list(_schemas())


def events() -> str:
    """Return the table of events."""
    return table(
        ("detail type", "when", "schema"),
        (
            [
                code(it["x-amazon-events-detail-type"]),
                it["description"],
                f"[{name}.json](../../events/schemas/{name}.json)",
            ]
            for name, it in _schemas().items()
        ),
    )


def event_table(name: str) -> Callable[[], str]:
    """Return a generator of the table of an event's fields; those of a whole row share one line."""

    def made() -> str:
        detail = _schemas()[name]["properties"]["detail"]
        fields, always = detail["properties"], set(detail["required"])
        # An event has some fields of the row, or the row.
        of_the_row = [field for field in PUBLIC if field in fields] if "status_at" in fields else []
        known = names() | {field for field in fields if "_" in field}
        rows = [
            [code(field), _type(told), "always" if field in always else "", with_code(told["description"], known)]
            for field, told in fields.items()
            if field not in of_the_row
        ]
        if of_the_row:
            rows.append(["all others", "", "", "[the row](row.md) as the change left it: " + code(*of_the_row)])
        return table(("field", "type", "there", "is"), rows)

    return made


def _type(told: dict[str, Any]) -> str:
    if "enum" in told:
        return code(*(json.dumps(value).strip('"') for value in told["enum"]))
    kinds = told["type"] if isinstance(told["type"], list) else [told["type"]]
    return " or ".join(f"{kind} of {told['items']['type']}s" if kind == "array" else kind for kind in kinds)
