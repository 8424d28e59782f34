"""Check a deployed stack, and say what is wrong and what to do: `make doctor STACK=call-recording-dev`.

It only reads, with your own AWS credentials, and prints no secret. The exit status is 0
if there is no problem, 1 if there is one or a check could not run, 2 if there is no such stack.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from operations.doctor import alerts, aws, twilio
from operations.doctor.deployed import Deployed
from operations.doctor.findings import Check, Finding

CHECKS: Final[tuple[Check, ...]] = (*aws.CHECKS, *twilio.CHECKS, *alerts.CHECKS)


def main(arguments: list[str] | None = None) -> int:
    """Look at the stack that the arguments name, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make doctor STACK=…", description=__doc__)
    parser.add_argument("stack", help="the stack's name, for example call-recording-dev")
    parser.add_argument("--region", help="its Region; default: that of your shell or profile")
    parser.add_argument("--profile", help="the profile for your AWS credentials")
    asked = parser.parse_args(arguments)
    try:
        deployed = Deployed(asked.stack, boto3.Session(region_name=asked.region, profile_name=asked.profile))
        print(f"{asked.stack} in {deployed.client('cloudformation').meta.region_name}")
        _ = deployed.description
    except (ClientError, BotoCoreError) as error:
        print(f"Cannot read the stack: {error}", file=sys.stderr)
        return 2
    return report(CHECKS, deployed)


def report(checks: Iterable[Check], deployed: Deployed) -> int:
    """Make each check, print it with what it found, and return the exit status."""
    problems = hints = 0
    for check in checks:
        found = list(examine(check, deployed))
        problems += sum(finding.is_problem for finding in found)
        hints += sum(not finding.is_problem for finding in found)
        if not found:
            print(f"  ok       {title(check)}")
        for finding in found:
            print(f"  {'PROBLEM' if finding.is_problem else 'advice '}  {finding.what}\n           → {finding.to_do}")
    print(f"{_counted(problems, 'problem')}, {_counted(hints, 'piece')} of advice")
    return 1 if problems else 0


def examine(check: Check, deployed: Deployed) -> Iterable[Finding]:
    """Yield what a check finds; a check that cannot run is a problem, too."""
    try:
        yield from check(deployed)
    except (ClientError, BotoCoreError) as error:
        yield Finding(
            f"Could not check: {title(check)} {error}",
            "If a permission is missing, see the list in docs/how-to/ask-the-doctor.md.",
        )


def title(check: Check) -> str:
    """Return what is true if the check finds nothing."""
    return (check.__doc__ or check.__name__).splitlines()[0]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


if __name__ == "__main__":
    sys.exit(main())
