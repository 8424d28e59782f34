"""template.yaml without anchors and merge keys: `python -m local.expanded_template` writes the copy that checkov reads.

In a file with merge keys checkov checks nothing, and reports no errors.
"""

from pathlib import Path
from typing import Final

from samcli.yamlhelper import yaml_dump, yaml_parse

from local.stack import PROJECT, STATE

EXPANDED: Final = STATE / "template.yaml"


def write(to: Path) -> None:
    """Write the copy, as SAM reads the template before it translates it."""
    to.parent.mkdir(exist_ok=True)
    to.write_text(yaml_dump(yaml_parse((PROJECT / "template.yaml").read_text())))


if __name__ == "__main__":
    write(EXPANDED)
