"""Whether Twilio accepts this stack's requests, and whether the stack accepts Twilio's callbacks."""

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from botocore.exceptions import ClientError

from call_recording import sids
from call_recording.errors import MalformedSecretError
from call_recording.twilio.credentials import Credentials, parse
from operations.doctor.deployed import Deployed
from operations.doctor.findings import Finding, advice

REGIONS: Final = ("https://api.twilio.com", "https://api.dublin.ie1.twilio.com", "https://api.sydney.au1.twilio.com")
"""The API hosts of Twilio's regions.

Source: www.twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region
"""

RULES: Final = "https://webhooks.twilio.com/v1/Webhooks/Rules"
"""Webhooks rules. Source: twilio-python's `rest/webhooks/v1/rule.py`; Twilio calls them a beta."""

_SECONDS: Final = (5, 15)
_STORE: Final = "Store it: docs/how-to/store-twilio-credentials.md."


def secrets_are_whole(deployed: Deployed) -> Iterator[Finding]:
    """Each account's secret is there, is the JSON that the functions read, and can be decrypted by them."""
    for account_sid, name in _secrets(deployed).items():
        try:
            credentials(deployed, account_sid)
        except MalformedSecretError as error:
            what = f"The secret {name} is malformed: {error.why}."
            yield Finding(what, "Replace it: docs/how-to/operate/rotate-credentials.md.")
        except LookupError:
            yield Finding(f"The secret {name} does not exist: nothing can be recorded for that account.", _STORE)
            continue
        key = deployed.client("secretsmanager").describe_secret(SecretId=name).get("KmsKeyId", "")
        ours = deployed.parameters.get("KmsKeyArn", "")
        if key and not key.endswith("alias/aws/secretsmanager") and (not ours or key not in (ours, _id_of(ours))):
            yield Finding(
                f"The secret {name} is encrypted with a key that the functions cannot use.",
                "Encrypt it with the default key of Secrets Manager, or with the key in KmsKeyArn.",
            )


def credentials_are_accepted(deployed: Deployed) -> Iterator[Finding]:
    """Twilio accepts the API key and the auth tokens, in the stack's region."""
    api_url = deployed.parameters["TwilioApiUrl"]
    for account_sid, name in _secrets(deployed).items():
        found = _readable(deployed, account_sid)
        if found is None:
            continue
        tokens = [("auth_token", (account_sid, found.auth_token))]
        if found.auth_token_secondary:
            tokens.append(("auth_token_secondary", (account_sid, found.auth_token_secondary)))
        keys = [("api_key_sid", found.basic_auths[0])] if found.api_key_sid else []
        for member, auth in [*keys, *tokens]:
            status, code = ask(api_url, account_sid, auth)
            if status == 200:
                continue
            told = f"{member} of {name} ({'no answer' if status is None else f'HTTP {status}, code {code}'})"
            if status is None:
                yield Finding(
                    f"Twilio at {api_url} did not answer about {told}.",
                    "Check TwilioApiUrl, this machine's network, and status.twilio.com.",
                )
            elif elsewhere := accepting_region(api_url, account_sid, auth):
                yield Finding(
                    f"Twilio refuses {told} at {api_url}, and accepts it at {elsewhere}: it belongs to another region.",
                    f"Deploy with TwilioApiUrl={elsewhere}, or store the credentials of the intended region.",
                )
            elif member == "auth_token_secondary":
                yield advice(
                    f"Twilio refuses {told}.",
                    "During a rotation one of the two tokens may not be valid. Otherwise remove it.",
                )
            else:
                yield Finding(
                    f"Twilio refuses {told}.",
                    "Replace it: docs/how-to/operate/rotate-credentials.md. Code 20005 means that the account is "
                    "suspended; 20006, 20008 and 70051 mean that the key has no permission.",
                )


def audio_is_at_twilio(deployed: Deployed) -> Iterator[Finding]:
    """No recent recording is in the account's own storage, where it cannot be archived.

    Twilio's API does not show the setting itself, only where each recording is stored.
    """
    if deployed.parameters.get("ArchiveRecordings") != "true":
        return
    api_url = deployed.parameters["TwilioApiUrl"]
    for account_sid in _secrets(deployed):
        found = _readable(deployed, account_sid)
        recent = _recent(api_url, account_sid, found.basic_auths[0]) if found else []
        hosts = {urlsplit(recording.get("media_url") or api_url).hostname or "" for recording in recent}
        ours = urlsplit(api_url).hostname
        if any(host != ours and not host.endswith(".twilio.com") for host in hosts):
            yield Finding(
                f"Account {account_sid} stores its recordings in its own S3 bucket: Twilio has no audio to "
                "archive, and each recording ends as a dead letter.",
                "Disable external storage of voice recordings in the Twilio Console, or deploy with "
                "ArchiveRecordings=false.",
            )


def no_rule_changes_callbacks(deployed: Deployed) -> Iterator[Finding]:
    """No Webhooks rule of Twilio applies to this stack's webhook.

    A rule replaces the retries that the callback URL asks for, and can make Twilio sign callbacks with a shared key.
    """
    if not _is_twilio(deployed.parameters["TwilioApiUrl"]):
        return
    webhook = deployed.outputs["WebhookUrl"]
    for account_sid, name in _secrets(deployed).items():
        found = _readable(deployed, account_sid)
        rules = _rules(found.basic_auths[0]) if found else []
        if rules is None:
            yield advice(
                f"Twilio does not show the Webhooks rules of account {account_sid} to these credentials.",
                f"Check in the Twilio Console whether a rule applies to {webhook}.",
            )
        for rule in rules or []:
            if rule.get("value") == webhook or (rule.get("prefix") and webhook.startswith(rule["prefix"])):
                yield Finding(
                    f"The Webhooks rule {rule.get('id')} of account {account_sid} applies to {webhook}. It "
                    "replaces the retries that each start asks for.",
                    f"Exclude the webhook from the rule. If you need the rule and it signs with a shared key, {name} "
                    "must have that key under webhook_shared_keys.",
                )


CHECKS: Final = (secrets_are_whole, credentials_are_accepted, audio_is_at_twilio, no_rule_changes_callbacks)


def credentials(deployed: Deployed, account_sid: str) -> Credentials:
    """Return the account's credentials as the functions would read them.

    Raises LookupError where there is no secret, MalformedSecretError, and botocore's ClientError.
    """
    name = deployed.parameters["TwilioSecretPrefix"] + account_sid
    try:
        text = deployed.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString", "")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise LookupError(name) from None
        raise
    try:
        secret = json.loads(text)
    except ValueError:
        raise MalformedSecretError(account_sid, "it is not JSON") from None
    return parse(account_sid, secret)


def _readable(deployed: Deployed, account_sid: str) -> Credentials | None:
    """Return the credentials, or None if another check reports why there are none."""
    try:
        return credentials(deployed, account_sid)
    except (LookupError, MalformedSecretError):
        return None


def _secrets(deployed: Deployed) -> dict[str, str]:
    """Return the names of the secrets by account: the stack's own, and every other one under the prefix."""
    prefix = deployed.parameters["TwilioSecretPrefix"]
    stored = deployed.every(
        "secretsmanager", "list_secrets", "SecretList", Filters=[{"Key": "name", "Values": [prefix]}]
    )
    names = [each["Name"] for each in stored]
    others = [name.removeprefix(prefix) for name in sorted(names) if name.startswith(prefix)]
    own = deployed.parameters["TwilioAccountSid"]
    return {sid: prefix + sid for sid in dict.fromkeys([own, *others]) if sids.is_sid(sid, sids.ACCOUNT)}


def _id_of(key_arn: str) -> str:
    return key_arn.rpartition("/")[2]


def _recordings(api_url: str, account_sid: str, auth: tuple[str, str]) -> requests.Response:
    # The same list that the reconciler reads: an API key may have no permission for others.
    url = f"{api_url}/2010-04-01/Accounts/{account_sid}/Recordings.json"
    return requests.get(url, params={"PageSize": "20"}, auth=auth, timeout=_SECONDS, allow_redirects=False)


def ask(api_url: str, account_sid: str, auth: tuple[str, str]) -> tuple[int | None, int | None]:
    """Return the status of Twilio's answer and Twilio's code in it; None if there was no answer."""
    try:
        response = _recordings(api_url, account_sid, auth)
    except requests.RequestException:
        return None, None
    try:
        code = response.json().get("code")
    except (ValueError, AttributeError):
        code = None
    return response.status_code, code


def accepting_region(api_url: str, account_sid: str, auth: tuple[str, str]) -> str | None:
    """Return Twilio's region, other than this, that accepts the credentials. They are sent only to Twilio."""
    if not _is_twilio(api_url):
        return None
    others = [url for url in REGIONS if url != api_url]
    return next((url for url in others if ask(url, account_sid, auth)[0] == 200), None)


def _recent(api_url: str, account_sid: str, auth: tuple[str, str]) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = _recordings(api_url, account_sid, auth).json().get("recordings", [])
    except (requests.RequestException, ValueError):
        return []  # which the check of the credentials reports
    return found


def _rules(auth: tuple[str, str]) -> list[dict[str, Any]] | None:
    """Return the account's Webhooks rules, or None if Twilio does not show them."""
    try:
        response = requests.get(RULES, params={"pageSize": "50"}, auth=auth, timeout=_SECONDS, allow_redirects=False)
        body = response.json()
        found: list[dict[str, Any]] = body[body["meta"]["key"]]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return None
    return found if response.status_code == 200 else None


def _is_twilio(api_url: str) -> bool:
    parts = urlsplit(api_url)
    return parts.scheme == "https" and (parts.hostname or "").endswith(".twilio.com")
