"""The event schemas in template.yaml, made of `events/schemas/`; `python -m generators.event_schemas` writes them."""

import json
import re
from typing import Final

from call_recording.bus import SOURCE
from local.stack import PROJECT

SCHEMAS: Final = PROJECT / "events/schemas"
TEMPLATE: Final = PROJECT / "template.yaml"

# CloudFormation takes a schema as one text. It stands right behind its name.
_CONTENT: Final = re.compile(rf"(?<=SchemaName: {SOURCE}@)(\w+)(\n +Content: ).*")


def content(name: str) -> str:
    """Return a schema on one line, as the registry gets it."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def with_contents(template: str) -> str:
    """Return the template with every schema's content as its file says."""
    return _CONTENT.sub(lambda found: f"{found[1]}{found[2]}'{content(found[1]).replace("'", "''")}'", template)


def main() -> None:
    """Write the template."""
    TEMPLATE.write_text(with_contents(TEMPLATE.read_text()))


if __name__ == "__main__":
    main()
