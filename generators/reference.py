"""The API's page for a browser: docs/reference/openapi.yaml in Swagger UI, in one file that needs no network."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from local.stack import PROJECT

SOURCE: Final = PROJECT / "docs/reference/openapi.yaml"
PAGE: Final = PROJECT / "docs/reference/openapi.html"

_HTML: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="reference"></div>
<script>{script}</script>
<script>
SwaggerUIBundle({{
  dom_id: "#reference",
  spec: {spec},
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  supportedSubmitMethods: [],
  // The page sends no requests, so it needs no sign-in: the text explains how to sign.
  plugins: [() => ({{wrapComponents: {{authorizeBtn: () => () => null, authorizeOperationBtn: () => () => null}}}})]
}});
</script>
</body>
</html>
"""


def reference() -> str:
    """Return the page."""
    whole = yaml.safe_load(SOURCE.read_text())
    # Swagger UI resolves references against the page's address, and fails where that is a file's.
    spec = _without_references(whole, whole)
    return _HTML.format(
        title=spec["info"]["title"],
        style=_static("swagger-ui.css"),
        script=_static("swagger-ui-bundle.js"),
        # Inside a script element nothing may look like its end.
        spec=json.dumps(spec, indent=1, default=str).replace("</", "<\\/"),
    )


def _without_references(value: Any, whole: dict[str, Any]) -> Any:
    """Return the value with what its references point at in their place."""
    if isinstance(value, list):
        return [_without_references(item, whole) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        found: Any = whole
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found | {name: inner for name, inner in value.items() if name != "$ref"}
    return {name: _without_references(inner, whole) for name, inner in value.items()}


def main() -> None:
    """Write the page and say where it is."""
    PAGE.write_text(reference())
    print(f"Open {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")  # noqa: T201


def _static(name: str) -> str:
    return resources.files("swagger_ui").joinpath("static", name).read_text()


if __name__ == "__main__":
    main()
