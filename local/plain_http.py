"""The built template for an AWS without TLS: it lacks the statements that refuse whatever comes without."""

from pathlib import Path
from typing import Any, Final

from samcli.yamlhelper import yaml_dump, yaml_parse

_REFUSAL: Final = "OnlyOverTls"


def without_refusals(built: Path) -> Path:
    """Write a copy beside the built template (its paths are relative); return where it is.

    The built template itself stays as it is: somebody may deploy it to AWS next.
    """
    template = yaml_parse(built.read_text())
    resources: dict[str, Any] = template["Resources"]
    for name, resource in list(resources.items()):
        document = resource.get("Properties", {}).get("PolicyDocument", {})
        statements = document.get("Statement", [])
        left = [statement for statement in statements if statement.get("Sid") != _REFUSAL]
        if statements and not left:
            del resources[name]  # a policy that says nothing is no policy
        elif statements:
            document["Statement"] = left
    copy = built.with_name("local.yaml")
    copy.write_text(yaml_dump(template))
    return copy
