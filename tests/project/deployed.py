"""The stack as CloudFormation would make it: translated by SAM; parameters, rules, conditions, functions evaluated.

The evaluation is MiniStack's, measured against CloudFormation. What only a deployed stack can know, such as the
number of a version, is the name of the resource and of the attribute.
"""

from typing import Any, Self

from ministack.services.cloudformation import engine

from generators.template import Resources, translated_template

STACK_NAME = "calls"
STACK_ID = f"arn:aws:cloudformation:us-east-1:000000000000:stack/{STACK_NAME}/1234abcd-0000-1111-2222-333344445555"
ACCOUNT_SID = "AC" + "0" * 32


class _Attributes(dict[str, str]):
    """Whatever is asked of a resource: its name, and what of it."""

    def __init__(self, resource: str) -> None:
        super().__init__()
        self._resource = resource

    def __contains__(self, _attribute: object) -> bool:
        return True

    def __missing__(self, attribute: str) -> str:
        return f"{self._resource}.{attribute}"


class _Made(dict[str, dict[str, Any]]):
    """Every resource, as if it had been made under its logical id."""

    @classmethod
    def of(cls, resources: Resources, bus: str) -> Self:
        made = cls({name: {"PhysicalResourceId": name, "Attributes": _Attributes(name)} for name in resources})
        for name, resource in resources.items():
            if resource["Type"] == "AWS::Events::Rule":  # whose parts the template takes apart
                made[name]["Attributes"]["Arn"] = f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}"
                made[name]["PhysicalResourceId"] = name if bus == "default" else f"{bus}|{name}"
        return made


def deployed(*, layer: str = "layer", **parameters: str) -> Resources:
    """Return the resources of a stack with the parameters; the others have their defaults.

    Raises ValueError where CloudFormation would refuse the parameters before it makes anything.
    """
    given = {"TwilioAccountSid": ACCOUNT_SID} | parameters
    template = translated_template(layer=layer, **given)
    known = engine._resolve_parameters(template, [{"Key": name, "Value": value} for name, value in given.items()])  # noqa: SLF001
    conditions = engine._evaluate_conditions(template, known)  # noqa: SLF001
    engine._check_rules_section(template)  # noqa: SLF001
    engine._evaluate_rules(template, known, conditions)  # noqa: SLF001
    made = _Made.of(template["Resources"], str(known["EventBusName"]["Value"]))
    return {
        name: engine._resolve_refs(  # noqa: SLF001
            resource, made, known, conditions, template["Mappings"], STACK_NAME, STACK_ID
        )
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or conditions[resource["Condition"]]
    }
