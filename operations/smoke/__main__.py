"""Record one real call end to end, on a stack of its own that is removed afterwards: `scripts/smoke-aws --help`.

You need AWS credentials that can deploy the template, and a Twilio account with a number that can place calls. The test
asks before it starts, and says what it costs. Whatever happens, Ctrl-C included, it removes what it created: its stack,
table, buckets, log groups, secret and bus, whose names start with call-recording-smoke-. Its report contains neither
tokens nor phone numbers.
"""

import argparse
import getpass
import os
import re
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from call_recording import sids
from operations.doctor.__main__ import CHECKS
from operations.doctor.__main__ import report as examine
from operations.doctor.twilio import ask
from operations.smoke.phone import Account, Phone
from operations.smoke.recording import Send, record
from operations.smoke.report import NotAsExpectedError, Report
from operations.smoke.throw_away import PREFIX, ThrowAway

_PLAN = """
This creates, in AWS account {aws_account}, Region {region}:
  - the stack {name}, with everything in template.yaml
  - the secret {name}/{account_sid}, with the auth token
  - the event bus {name}
and places one call of at most two minutes from that Twilio account, from {caller} to {called}.
Somebody must answer it. The whole test takes about 15 minutes.

It costs a call, a minute of recording and some cents at AWS: usually less than half a dollar in total.
At the end it removes everything that it created, whatever happens. It writes the report to {path}.
"""


def main(arguments: list[str] | None = None) -> int:
    """Announce the test, ask, run it and clean up; return 0 if everything worked and nothing is left behind."""
    asked = _parser().parse_args(arguments)
    if mistakes := _mistakes(asked):
        print(*mistakes, sep="\n", file=sys.stderr)
        return 2
    session = boto3.Session(region_name=asked.region)
    if not session.region_name:
        print("No Region is set: use --region, or set AWS_REGION.", file=sys.stderr)
        return 2
    name = f"{PREFIX}{secrets.token_hex(4)}"
    plan: dict[str, Any] = {"name": name, "account_sid": asked.account, "region": session.region_name}
    plan |= {"caller": asked.caller, "called": asked.called, "path": asked.report}
    if asked.dry_run:
        print(_PLAN.format(**plan, aws_account="(not asked)"), "Nothing was done: --dry-run.", sep="\n")
        return 0
    plan["aws_account"] = session.client("sts").get_caller_identity()["Account"]
    print(_PLAN.format(**plan))
    token = os.environ.get("TWILIO_AUTH_TOKEN") or getpass.getpass(f"Auth token of {asked.account} (not shown): ")
    status, code = ask(asked.api_url, asked.account, (asked.account, token))
    if status != 200:
        print(f"Twilio refuses that token (HTTP {status}, code {code}). Nothing was done.", file=sys.stderr)
        return 1
    if input(f"Type {name} to continue: ").strip() != name:
        print("Nothing was done.")
        return 1
    hidden = {token: "auth token", asked.caller: "caller", asked.called: "called", asked.account: "Account SID"}
    report = Report("One real call, recorded", hidden=hidden)
    account = Account(asked.account, token, asked.api_url)
    phone = Phone(account, caller=asked.caller, called=asked.called)
    return run(ThrowAway(name, account, session), phone, report, path=asked.report)


def run(
    throw_away: ThrowAway, phone: Phone, report: Report, *, path: Path, exercise: Callable[..., None] = record
) -> int:
    """Run the test and clean up; return the exit status."""
    throw_away.refuse_if_there()
    call_sid = ""
    former = {kind: signal.signal(kind, signal.default_int_handler) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        with report.step("Deploy a temporary stack"):
            outputs = throw_away.make()
        with report.step("Ask the doctor") as told:
            # A new account's low quota is a problem for the doctor, but not for one call.
            told.append("problems; see its output" if examine(CHECKS, throw_away.deployed()) else "no problem")
        with report.step("Place a call, and wait for an answer"):
            call_sid = phone.place()
            phone.wait_until_answered(call_sid)
        exercise(signed(outputs["ControlApiUrl"], throw_away.session), phone, call_sid, report, talk_seconds=8)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (whatever it is: the report has it, and all is removed)
        report.stop(error)
    finally:
        # A second Ctrl-C would leave resources behind, which cost money unnoticed.
        for kind in former:
            signal.signal(kind, signal.SIG_IGN)
        _clean_up(throw_away, phone, call_sid, report)
        for kind, handler in former.items():
            signal.signal(kind, handler)
        report.write(path)
    print(f"{'Everything worked' if report.is_good else 'NOT everything worked'}: {path}")
    return 0 if report.is_good else 1


def _clean_up(throw_away: ThrowAway, phone: Phone, call_sid: str, report: Report) -> None:
    try:
        if call_sid:
            with report.step("The call has ended, and Twilio has no recording of it"):
                phone.hang_up(call_sid)
                phone.delete_recordings(call_sid)
    except Exception as error:  # noqa: BLE001 (the call ends by itself after two minutes; the stack does not)
        print(report.without_what_is_hidden(f"The call or its recording still exists: {error}"), file=sys.stderr)
    try:
        with report.step("Remove everything that was created"):
            throw_away.remove()
            if throw_away.left_behind:
                raise NotAsExpectedError("left behind: " + "; ".join(throw_away.left_behind))
    except NotAsExpectedError as error:
        print(f"{error}\nRemove it by hand: docs/how-to/operate/uninstall.md", file=sys.stderr)


def signed(api_url: str, session: boto3.Session) -> Send:
    """Return a sender of requests to ControlApi, signed with the session's credentials (AWS Signature Version 4)."""

    def send(method: str, path: str, **asked: Any) -> requests.Response:
        request = requests.Request(method, api_url + path, **asked).prepare()
        to_sign = AWSRequest(method, request.url, data=request.body or b"", headers=dict(request.headers))
        credentials: Any = session.get_credentials()
        SigV4Auth(credentials, "execute-api", session.region_name).add_auth(to_sign)
        request.headers.update({name: str(value) for name, value in to_sign.headers.items()})
        with requests.Session() as sender:
            # Does not follow the link to audio: S3 rejects requests with two signatures.
            return sender.send(request, timeout=(5, 35), allow_redirects=False)

    return send


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/smoke-aws", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--account", required=True, help="your Twilio Account SID")
    parser.add_argument("--from", dest="caller", required=True, help="a number of that account, such as +15005550006")
    parser.add_argument("--to", dest="called", required=True, help="the number of a phone that somebody will answer")
    parser.add_argument("--region", help="an AWS Region; default: that of your shell or profile")
    parser.add_argument("--api-url", default="https://api.twilio.com", help="Twilio's API, in your account's region")
    parser.add_argument("--report", type=Path, default=Path("smoke-aws.md"), help="path of the report")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return parser


def _mistakes(asked: argparse.Namespace) -> list[str]:
    found = []
    if not sids.is_sid(asked.account, sids.ACCOUNT):
        found.append("--account must be a SID: AC and 32 hexadecimal digits")
    for option, number in (("--from", asked.caller), ("--to", asked.called)):
        if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
            found.append(f"{option} must be a number in international form, such as +15005550006")
    host = urlsplit(asked.api_url)
    if host.scheme != "https" or not (host.hostname or "").endswith(".twilio.com"):
        found.append("--api-url must be Twilio's, because it receives the auth token")
    return found


if __name__ == "__main__":
    sys.exit(main())
