"""The built template for MiniStack, which has no TLS, metric math or saved queries and takes parameters for text."""

from pathlib import Path
from typing import Any, Final

from samcli.yamlhelper import yaml_dump, yaml_parse

_REFUSAL: Final = "OnlyOverTls"


def for_ministack(built: Path) -> Path:
    """Write a copy beside the built template (its paths are relative); return where it is.

    The built template itself stays as it is: somebody may deploy it to AWS next.
    """
    template = yaml_parse(built.read_text())
    # Files of the project, named relatively to where `sam build` has put the template first.
    template.get("Metadata", {}).pop("AWS::ServerlessRepo::Application", None)
    resources: dict[str, Any] = template["Resources"]
    _drop_refusals(resources)
    _say_how_many_at_once(resources, template.get("Parameters", {}))
    for name in [name for name, resource in resources.items() if resource["Type"] == "AWS::Logs::QueryDefinition"]:
        del resources[name]
    for resource in resources.values():
        _watch_one_metric(resource.get("Properties", {}))
    copy = built.with_name("local.yaml")
    copy.write_text(yaml_dump(template))
    return copy


def _watch_one_metric(properties: dict[str, Any]) -> None:
    """Have an alarm of metric math look at its first metric alone: what names the alarm needs it to be there."""
    if "Metrics" in properties:
        stat = next(query["MetricStat"] for query in properties.pop("Metrics") if "MetricStat" in query)
        properties |= stat["Metric"] | {"Statistic": stat["Stat"], "Period": stat["Period"]}


def _say_how_many_at_once(resources: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Put the default number in place of a parameter: with text there, MiniStack reads no queue at all."""
    for resource in resources.values():
        for event in resource["Properties"].get("Events", {}).values():
            scaling = event["Properties"].get("ScalingConfig", {})
            if isinstance(scaling.get("MaximumConcurrency"), dict):
                parameter = parameters[scaling["MaximumConcurrency"]["Ref"]]
                event["Properties"]["ScalingConfig"] = {"MaximumConcurrency": parameter["Default"]}


def _drop_refusals(resources: dict[str, Any]) -> None:
    """Take away the statements that refuse whatever comes without TLS."""
    for name, resource in list(resources.items()):
        document = resource.get("Properties", {}).get("PolicyDocument", {})
        statements = document.get("Statement", [])
        left = [statement for statement in statements if statement.get("Sid") != _REFUSAL]
        if statements and not left:
            del resources[name]  # an empty policy is not a policy
        elif statements:
            document["Statement"] = left
