"""The template as SAM reads it, and as SAM translates it."""

import logging
from copy import deepcopy
from functools import cache
from typing import Any

import boto3
from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.stack import PROJECT

Resources = dict[str, dict[str, Any]]


def parsed() -> dict[str, Any]:
    """Return the template with its anchors and merge keys expanded."""
    return deepcopy(_parsed())


@cache
def _parsed() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse((PROJECT / "template.yaml").read_text())
    return template


def translated(*, layer: str = "layer", **parameters: str) -> Resources:
    """Return the resources that SAM makes of the template."""
    made: Resources = translated_template(layer=layer, **parameters)["Resources"]
    return made


def translated_template(*, layer: str = "layer", **parameters: str) -> dict[str, Any]:
    """Return what SAM makes of the template."""
    # It says of features that nobody asked for that they are not there.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    template = parsed()
    resources: Resources = template["Resources"]
    for resource in resources.values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://artifacts/function"
    resources["SharedLayer"]["Properties"]["ContentUri"] = f"s3://artifacts/{layer}"
    translator = Translator(
        managed_policy_map={}, sam_parser=Parser(), boto_session=boto3.Session(region_name="eu-west-1")
    )
    made: dict[str, Any] = translator.translate(template, parameters)
    return made
