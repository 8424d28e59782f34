"""What AWS makes of small templates, as far as the examples have them: intrinsic functions, and patterns of rules."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from moto.events.models import EventPattern
from samcli.yamlhelper import yaml_parse

from local.stack import PROJECT

EXAMPLES: Final = PROJECT / "examples"
PSEUDO: Final = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING: Final = object()

type _Function = Callable[[Any, "_Template"], Any]


def example(name: str) -> dict[str, Any]:
    """Return an example's template."""
    loaded: dict[str, Any] = yaml_parse((EXAMPLES / name / "template.yaml").read_text())
    return loaded


def resolved(template: Mapping[str, Any], value: Any, known: Mapping[str, Any]) -> Any:
    """Return a part of a template without intrinsic functions.

    `known` has what a `Ref`, a `Fn::GetAtt` (`Name.Attribute`) or a condition stands for; the account and Region are
    `PSEUDO` unless it says otherwise. Raises KeyError for what it does not have, and for functions not known here.
    """
    return _Template(template, {**PSEUDO, "AWS::NoValue": _NOTHING, **known}).resolve(value)


def matches(template: Mapping[str, Any], rule: str, event: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Tell whether a rule of a template matches an event."""
    pattern = resolved(template, template["Resources"][rule]["Properties"]["EventPattern"], known)
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(cast("Any", event)))


class _Template:
    def __init__(self, template: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        self.template, self.known = template, known

    def resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [part for part in map(self.resolve, value) if part is not _NOTHING]
        if not isinstance(value, dict):
            return value
        for name, inner in value.items():
            if name == "Ref" or name.startswith("Fn::"):
                return _FUNCTIONS[name](inner, self)
        parts = {name: self.resolve(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not _NOTHING}

    def substitute(self, text: str, own: Mapping[str, Any]) -> str:
        meant = {**self.known, **own}
        return re.sub(r"\$\{([\w:.]+)\}", lambda found: str(meant[found[1]]), text)


def _sub(given: Any, within: _Template) -> str:
    text, own = (given, {}) if isinstance(given, str) else given
    return within.substitute(text, within.resolve(own))


def _find_in_map(names: list[str], within: _Template) -> Any:
    mapping, first, second = names
    return within.template["Mappings"][mapping][first][second]


def _if(given: list[Any], within: _Template) -> Any:
    condition, then, otherwise = given
    return within.resolve(then if within.known[condition] else otherwise)


_FUNCTIONS: Final[Mapping[str, _Function]] = {
    "Ref": lambda name, within: within.known[name],
    "Fn::GetAtt": lambda name, within: within.known[name if isinstance(name, str) else ".".join(name)],
    "Fn::FindInMap": _find_in_map,
    "Fn::If": _if,
    "Fn::Sub": _sub,
}
