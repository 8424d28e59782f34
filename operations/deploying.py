"""Build and deploy, after checking every value against the template: `make deploy ACCOUNT=AC… ENV=dev`.

`sam deploy --guided` saves your values before CloudFormation validates them, and every default too, so that a later
version's defaults never take effect. This saves nothing. The environment's values in samconfig.toml apply unless you
override them here; what neither sets stays as the stack has it.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from samcli.yamlhelper import yaml_parse

from call_recording.http.fields import did_you_mean

PROJECT: Final = Path(__file__).parent.parent
ACCOUNT: Final = "TwilioAccountSid"


def main(arguments: list[str] | None = None) -> int:
    """Check the arguments, deploy, and return the exit status: 2 if a value is invalid."""
    parser = argparse.ArgumentParser(prog="make deploy ACCOUNT=AC…", description=__doc__)
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help="template parameters")
    parser.add_argument("--account", default="", help="your Twilio Account SID; required the first time")
    parser.add_argument("--env", default="dev", help="an environment of samconfig.toml: dev or prod")
    asked = parser.parse_args(arguments)
    told = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    environments = {name: each for name, each in told.items() if isinstance(each, dict) and "deploy" in each}
    if asked.env not in environments:
        return _refuse([f"samconfig.toml has no environment {asked.env}{did_you_mean(asked.env, environments)}"])
    settings = environments[asked.env]["deploy"]["parameters"]
    values = [*settings.get("parameter_overrides", []), *asked.values]
    if asked.account:
        values.append(f"{ACCOUNT}={asked.account}")
    given = dict(value.partition("=")[::2] for value in values)
    known = yaml_parse((PROJECT / "template.yaml").read_text())["Parameters"]
    mistakes = wrong_values(known, given)
    if ACCOUNT not in given and not mistakes and not _is_deployed(settings["stack_name"]):
        mistakes = [f"{ACCOUNT} is needed for the first deployment: make deploy ACCOUNT=AC…"]
    if not (settings.get("region") or boto3.Session().region_name):
        mistakes.append("no Region is set; export AWS_REGION=…")
    if mistakes:
        return _refuse(mistakes)
    overrides = [f"{name}={value}" for name, value in given.items()]
    for command in (
        ["sam", "build"],
        ["sam", "deploy", "--config-env", asked.env, "--parameter-overrides", *overrides],
    ):
        done = subprocess.run(command, cwd=PROJECT, check=False)  # noqa: S603 (SAM, with values that were checked)
        if done.returncode:
            return done.returncode
    print(f"\nNext: make secret ACCOUNT=AC…   then: make doctor STACK={settings['stack_name']}")
    return 0


def wrong_values(known: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the parameters' values, according to the template."""
    mistakes = []
    for name, value in given.items():
        if name not in known:
            mistakes.append(f"the template has no parameter {name}{did_you_mean(name, known)}")
        elif must := _must(known[name], value):
            mistakes.append(f"{name}={value}: {must}")
    return mistakes


def _must(parameter: Mapping[str, Any], value: str) -> str:
    """Return which rule the value breaks, or nothing."""
    allowed = [str(each) for each in parameter.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"must be one of {', '.join(allowed)}{did_you_mean(value, allowed)}"
    if parameter["Type"] == "Number":
        least, most = parameter.get("MinValue"), parameter.get("MaxValue")
        is_number = re.fullmatch(r"-?[0-9]+", value) is not None
        if not is_number or (least is not None and int(value) < least) or (most is not None and int(value) > most):
            bounds = [f"{word} {bound}" for word, bound in (("from", least), ("to", most)) if bound is not None]
            return " ".join(["must be a whole number", *bounds])
    pattern = parameter.get("AllowedPattern", "")
    items = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
    if not all(re.search(pattern, item) for item in items):
        return str(parameter.get("ConstraintDescription", f"must match {pattern}"))
    return ""


def _is_deployed(stack_name: str) -> bool:
    try:
        boto3.client("cloudformation").describe_stacks(StackName=stack_name)
    except (ClientError, BotoCoreError):
        return False
    return True


def _refuse(mistakes: list[str]) -> int:
    print(
        "Nothing was deployed and nothing saved:", *(f"- {mistake}" for mistake in mistakes), sep="\n", file=sys.stderr
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
