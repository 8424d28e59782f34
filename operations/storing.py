"""Store the auth token of a Twilio account, after Twilio has accepted it: `make secret ACCOUNT=AC…`.

You type it at a hidden prompt, so it appears in no shell history, file or process list.
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
    """Prompt for the token, store it, and return the exit status: 1 if nothing was stored."""
    parser = argparse.ArgumentParser(prog="make secret ACCOUNT=AC…", description=__doc__)
    parser.add_argument("account", help="the Account SID")
    parser.add_argument("--prefix", default="twilio/", help="the value of TwilioSecretPrefix")
    parser.add_argument("--api-url", default="https://api.twilio.com", help="the value of TwilioApiUrl")
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
    """Return why Twilio does not accept the token, or nothing if it does."""
    try:
        auth = (account_sid, parse(account_sid, secret).auth_token)
    except MalformedSecretError as error:
        return f"That is not an auth token: {error.why}."
    status, code = ask(api_url, account_sid, auth)
    if status == 200:
        return ""
    if status is None:
        return f"Twilio at {api_url} did not answer."
    region = accepting_region(api_url, account_sid, auth)
    hint = f" It belongs to {region}: deploy with TwilioApiUrl={region}, and give API_URL={region}." if region else ""
    return f"Twilio refuses that token at {api_url} (HTTP {status}, code {code}).{hint}"


def _not_stored(name: str, secret: dict[str, str]) -> str:
    """Store the secret; return why that failed, or nothing."""
    try:
        boto3.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(secret))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceExistsException":
            return f"{name} already exists. To change it: docs/how-to/operate/rotate-credentials.md."
        return f"Secrets Manager refused: {error}."
    except BotoCoreError as error:
        return f"Secrets Manager did not answer: {error}."
    return ""


def _refuse(why: str) -> int:
    print(f"{why} Nothing was stored.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
