"""Receive Twilio's signed recording status callbacks and write what they say to the table."""

import json
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from twilio.request_validator import RequestValidator

from call_recording import clients, metrics
from call_recording.callbacks.facts import callback_account_sid, callback_facts
from call_recording.commands.dead_letters import is_redrive, redrive
from call_recording.errors import (
    CallRecordingError,
    CredentialsUnavailableError,
    InvalidRequestError,
    MalformedSecretError,
    RequestTooLargeError,
    UnknownAccountError,
    UnprovenCallbackError,
    UnreadableCallbackError,
    UnstorableFactsError,
)
from call_recording.http.request import HttpRequest, body_bytes, signed_fields
from call_recording.problems import http_status, problem_response, reason
from call_recording.recordings.statuses import is_known
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import CallbackSettings
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.credentials import Credentials, CredentialStore

logger = Logger(service="recording-status")

# Anybody can name accounts here; what that may cost in Secrets Manager is bounded.
_MOST_UNKNOWN_ACCOUNTS = 20

Fields = list[tuple[str, str]]


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return 204 once the callback's facts are in the table, 202 once an unreadable one is kept, else a problem.

    Callbacks come from WebhookApi, or again from the dead-letter queue, which only this function fills.
    """
    if is_redrive(event):
        return redrive(event, context, lambda message: record([tuple(field) for field in message["fields"]]))
    try:
        fields = proven_fields(HttpRequest.from_event(event))
        try:
            record(fields)
        except (UnreadableCallbackError, UnstorableFactsError) as error:
            keep(fields)
            metrics.UNREADABLE_CALLBACKS.add()
            logger.exception("callback kept in the dead-letter queue", reason=type(error).__name__)
            return {"statusCode": 202}
    except CallRecordingError as error:
        log = logger.exception if http_status(error) >= 500 else logger.warning
        if isinstance(error, UnprovenCallbackError | RequestTooLargeError):
            metrics.REFUSED_SIGNATURES.add()
        log("callback refused", reason=reason(error), why=getattr(error, "why", None))
        return problem_response(error)
    return {"statusCode": 204}


def record(fields: Fields) -> None:
    """Merge a proven callback into its row."""
    facts = callback_facts(fields)
    logger.set_correlation_id(facts.told.get("call_sid"))
    logger.append_keys(account_sid=facts.account_sid, recording_sid=facts.recording_sid, status=facts.status)
    accounts().note(facts.account_sid)
    recordings().record(facts)
    metrics.CALLBACKS.add(status=facts.status if is_known(facts.status) else "other")
    logger.info("callback recorded")


def proven_fields(http: HttpRequest) -> Fields:
    """Return the callback's parameters, once Twilio's signature over exactly them is verified.

    The secret is that of the account the callback names: subaccounts sign with their own token, and
    another account's valid signature proves nothing. A callback that names no account can still be
    Twilio's; it is then held against the stack's own account.

    Raises UnprovenCallbackError for everything that is not proven: it fails closed. Raises
    RequestTooLargeError for a body that is not even looked at, and CredentialsUnavailableError when
    the tokens could not be read, so that Twilio tries again.
    """
    query = http.query if isinstance(http.query, str) else ""  # payload 1.0 is not ours, and proves nothing
    signature = http.headers.get("x-twilio-signature", "")
    if not signature or not signature.isascii():
        raise UnprovenCallbackError("no signature, or one that cannot be Twilio's")
    try:
        form = signed_fields(body_bytes(http)) if http.method == "POST" else []
        fields = form if http.method == "POST" else signed_fields(query.encode())
    except InvalidRequestError as error:
        raise UnprovenCallbackError("the parameters cannot be read, so no signature can hold for them") from error
    account_sid = callback_account_sid(fields) or settings().twilio_account_sid

    urls, signed = signed_urls(http.url, query), _Signed(form)

    def is_signed(by: Credentials) -> bool:
        return any(
            RequestValidator(token).validate(url, signed, signature) for token in by.signing_tokens for url in urls
        )

    try:
        held = credentials().get(account_sid)
        if is_signed(held):
            return fields
        # The tokens may have been rotated since we read them.
        fresh = credentials().refresh(account_sid)
    except UnknownAccountError as error:
        raise UnprovenCallbackError("no credentials are stored for the account") from error
    except MalformedSecretError as error:
        raise CredentialsUnavailableError(account_sid) from error
    if fresh is None or not is_signed(fresh):
        raise UnprovenCallbackError("the signature does not match")
    return fields


def signed_urls(called: str, query: str) -> list[str]:
    """Return the addresses that Twilio can have signed: the one that it is told now, and the one that was called.

    They differ for calls that began before the webhook moved to another address. The second is no
    choice of the sender's: API Gateway names itself, and answers to no name that is not its own.
    """
    return [f"{url}?{query}" if query else url for url in dict.fromkeys([settings().webhook_url, called])]


class _Signed(dict[str, list[str]]):
    """Form parameters as Twilio's validator reads them: every value of a repeated name."""

    def __init__(self, form: Fields) -> None:
        super().__init__()
        for name, value in form:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]


def keep(fields: Fields) -> None:
    """Put a proven callback that we could not use into the dead-letter queue: it stays proven there."""
    message = json.dumps({"fields": fields})
    clients.sqs().send_message(QueueUrl=settings().callback_dead_letter_queue_url, MessageBody=message)


@cache
def settings() -> CallbackSettings:
    """Return the function's environment, read once."""
    return CallbackSettings()


@cache
def accounts() -> Accounts:
    """Return the list of accounts that this stack has met."""
    return Accounts(clients.dynamodb(), settings().idempotency_table, settings().twilio_account_sid)


@cache
def credentials() -> CredentialStore:
    """Return the store of signing tokens; it lives as long as the execution environment."""
    env = settings()
    return CredentialStore(
        clients.secrets_manager(),
        env.twilio_secret_prefix,
        most_unknown=_MOST_UNKNOWN_ACCOUNTS,
        known_account_sids={env.twilio_account_sid},
    )


@cache
def recordings() -> RecordingsTable:
    """Return the table; its client lives as long as the execution environment."""
    return RecordingsTable(clients.dynamodb(), settings().recordings_table, settings().row_retention_days)
