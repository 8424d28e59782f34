"""Say what is wrong with a deployed stack, in plain words, and what to do: `make doctor STACK=call-recording-dev`.

Everything is only read, with the credentials of the person at the keyboard. No secret is printed. The exit status is 0
if there is no problem, 1 if there is one or something could not be looked at, 2 if there is no such stack.
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
    parser.add_argument("stack", help="the stack's name, such as call-recording-dev")
    parser.add_argument("--region", help="its Region; the one of your shell or profile unless given")
    parser.add_argument("--profile", help="the profile of your AWS credentials")
    asked = parser.parse_args(arguments)
    try:
        deployed = Deployed(asked.stack, boto3.Session(region_name=asked.region, profile_name=asked.profile))
        print(f"{asked.stack} in {deployed.client('cloudformation').meta.region_name}")
        _ = deployed.description
    except (ClientError, BotoCoreError) as error:
        print(f"The stack cannot be read: {error}", file=sys.stderr)
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
    """Give what a check finds; what could not be looked at is a problem, too."""
    try:
        yield from check(deployed)
    except (ClientError, BotoCoreError) as error:
        yield Finding(
            f"Not looked at: {title(check)} {error}",
            "If that is a missing permission, docs/how-to/ask-the-doctor.md lists what you need.",
        )


def title(check: Check) -> str:
    """Return what is all right when the check finds nothing."""
    return (check.__doc__ or check.__name__).splitlines()[0]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


if __name__ == "__main__":
    sys.exit(main())
