"""Store the auth token of a Twilio account, once Twilio has accepted it: `make secret ACCOUNT=AC…`.

It is asked for without being shown, and stands in no shell's history, file or list of processes.
"""

import argparse
import getpass
import json
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from call_recording import sids
from call_recording.errors import MalformedSecretError
from call_recording.twilio.credentials import parse
from operations.doctor.twilio import accepting_region, ask


def main(arguments: list[str] | None = None) -> int:
    """Ask for the token, store it, and return the exit status: 1 if nothing was stored."""
    parser = argparse.ArgumentParser(prog="make secret ACCOUNT=AC…", description=__doc__)
    parser.add_argument("account", help="the Account SID")
    parser.add_argument("--prefix", default="twilio/", help="what TwilioSecretPrefix is set to")
    parser.add_argument("--api-url", default="https://api.twilio.com", help="what TwilioApiUrl is set to")
    asked = parser.parse_args(arguments)
    if not sids.is_sid(asked.account, sids.ACCOUNT):
        return _refuse("The account must be a SID: AC and 32 hexadecimal digits.")
    secret = {"auth_token": getpass.getpass(f"Auth token of {asked.account} (not shown): ").strip()}
    why_not = _no_token(asked.api_url, asked.account, secret) or _not_stored(asked.prefix + asked.account, secret)
    if why_not:
        return _refuse(why_not)
    print(f"Stored as {asked.prefix}{asked.account}. Twilio accepts it.")
    return 0


def _no_token(api_url: str, account_sid: str, secret: dict[str, str]) -> str:
    """Return why Twilio does not take the token, or nothing if it does."""
    try:
        auth = (account_sid, parse(account_sid, secret).auth_token)
    except MalformedSecretError as error:
        return f"That is no auth token: {error.why}."
    status, code = ask(api_url, account_sid, auth)
    if status == 200:
        return ""
    if status is None:
        return f"Twilio could not be asked at {api_url}."
    region = accepting_region(api_url, account_sid, auth)
    hint = f" It is one for {region}: deploy with TwilioApiUrl={region}, and give API_URL={region}." if region else ""
    return f"Twilio refuses that token at {api_url} (HTTP {status}, code {code}).{hint}"


def _not_stored(name: str, secret: dict[str, str]) -> str:
    """Store the secret; return why that did not work, or nothing."""
    try:
        boto3.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(secret))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceExistsException":
            return f"{name} is there already. To change it: docs/how-to/operate/rotate-credentials.md."
        return f"Secrets Manager refuses: {error}."
    except BotoCoreError as error:
        return f"Secrets Manager cannot be asked: {error}."
    return ""


def _refuse(why: str) -> int:
    print(f"{why} Nothing was stored.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
