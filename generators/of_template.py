"""Tables from the template: parameters, outputs, errors of the gateway itself, and permissions."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from generators.markdown import code, table, with_code
from generators.template import parsed, translated

URN: Final = "urn:problem:call-recording:"
# What API Gateway puts into an answer, where it does that without quotes around it.
_VARIABLE: Final = re.compile(r"(?<![\w\"])\$context\.[\w.]+")
OTHERS: Final = "Others"
"""Where a parameter stands that no group has."""


@cache
def names() -> frozenset[str]:
    """Return what the template names."""
    template = parsed()
    return frozenset(name for part in ("Parameters", "Resources", "Outputs") for name in template[part])


# --- parameters and outputs ---------------------------------------------------------------------------


def parameters() -> str:
    """Return a table for each group of parameters, in the order in which CloudFormation asks."""
    template = parsed()
    known = template["Parameters"]
    groups = {
        group["Label"]["default"]: group["Parameters"]
        for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    }
    grouped = {name for inside in groups.values() for name in inside}
    groups |= {OTHERS: [name for name in known if name not in grouped]}
    heads = ("parameter", "default", "values", "meaning")
    return "\n".join(
        f"## {label}\n\n" + table(heads, (_parameter(name, known[name]) for name in inside))
        for label, inside in groups.items()
        if inside
    )


def _parameter(name: str, told: dict[str, Any]) -> list[str]:
    default = told.get("Default")
    shown = "required" if default is None else code(default) if default != "" else "empty"
    return [code(name), shown, _values(told), with_code(told["Description"], names())]


def _values(told: dict[str, Any]) -> str:
    if "AllowedValues" in told:
        return code(*told["AllowedValues"])
    least, most = told.get("MinValue"), told.get("MaxValue")
    if most is not None:
        return f"{least} to {most}"
    if least is not None:
        return f"{least} or more"
    return with_code(told.get("ConstraintDescription", "").removeprefix("must be "), names())


def outputs() -> str:
    """Return the table of outputs."""
    return table(
        ("output", "is"),
        ([code(name), with_code(told["Description"], names())] for name, told in parsed()["Outputs"].items()),
    )


# --- what the gateway says ------------------------------------------------------------------------------


def gateway_refusals() -> str:
    """Return the table of problems that API Gateway answers without, or instead of, a function."""
    answers: dict[tuple[int, str, str], list[str]] = {}
    for kind, answer in parsed()["Resources"]["ControlApi"]["Properties"]["GatewayResponses"].items():
        for text in answer["ResponseTemplates"].values():
            problem = json.loads(_VARIABLE.sub('""', text))
            of = (problem["status"], problem["type"].removeprefix(URN), problem["title"])
            answers.setdefault(of, []).append(kind)
    return table(
        ("status", "name", "title", "API Gateway calls it"),
        ([str(status), code(name), title, code(*kinds)] for (status, name, title), kinds in sorted(answers.items())),
    )


# --- permissions -----------------------------------------------------------------------------------------


def permissions() -> str:
    """Return the table of what every role in the stack may do."""
    resources = translated()
    rows = []
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            function = name.removesuffix("Role")
            granted = _granted(name, resources)
            rows += [
                [code(function if function in resources else name), *next(granted)],
                *(["", *row] for row in granted),
            ]
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            rows += [[code(name), *row] for row in _statements(resource["Properties"]["PolicyDocument"])]
    return table(("who", "may", "on", "only if"), rows)


def _granted(role: str, resources: dict[str, Any]) -> Iterator[list[str]]:
    properties = resources[role]["Properties"]
    for policy, held in _each(properties.get("Policies", [])):
        yield from _statements(policy["PolicyDocument"], held)
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy" and {"Ref": role} in resource["Properties"]["Roles"]:
            yield from _statements(resource["Properties"]["PolicyDocument"])
    by_condition: dict[str, list[str]] = {}
    for managed, held in _each(properties.get("ManagedPolicyArns", [])):
        by_condition.setdefault("; ".join(held), []).append(_shown(managed).rpartition("/")[2])
    for only_if, policies in by_condition.items():
        yield [f"what {code(*policies)} allow{'s' if len(policies) == 1 else ''}", "", only_if]


def _statements(document: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[list[str]]:
    for statement, held in _each(document["Statement"], before):
        may = code(*_many(statement["Action"]))
        on = [f"`{_shown(one)}`" + "".join(f" ({it})" for it in only) for one, only in _each(statement["Resource"])]
        yield [
            may if statement["Effect"] == "Allow" else f"**not** {may}",
            ", ".join(on),
            "; ".join(filter(None, [*held, _tested(statement.get("Condition", {}))])),
        ]


def _each(value: Any, held: tuple[str, ...] = ()) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Give each thing that can stand there, and what has to hold for that."""
    if isinstance(value, list):
        for one in value:
            yield from _each(one, held)
    elif isinstance(value, dict) and "Fn::If" in value:
        condition, there, otherwise = value["Fn::If"]
        yield from _each(there, (*held, f"{code(condition)} holds"))
        yield from _each(otherwise, (*held, f"{code(condition)} does not hold"))
    elif value != {"Ref": "AWS::NoValue"}:
        yield value, held


def _tested(conditions: dict[str, Any]) -> str:
    return "; ".join(
        f"{code(key)} is {code(*map(_shown, _many(values)))}"
        for tests in conditions.values()
        for key, values in tests.items()
    )


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _shown(value: Any) -> str:
    """Return an ARN, or whatever else a function of CloudFormation makes, as somebody reads it."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return str(value["Ref"])
    if "Fn::GetAtt" in value:
        return str(value["Fn::GetAtt"][0])
    if "Fn::Sub" not in value:
        return json.dumps(value)
    text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
    text = re.sub(r"\$\{(\w+)\.Arn\}", r"\1", text)
    return re.sub(r"^arn:\$\{AWS::Partition\}:(\w+):\$\{AWS::Region\}:\$\{AWS::AccountId\}:", r"\1:", text)
