"""Receive Twilio's signed recording status callbacks and write them to the table."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from twilio.request_validator import RequestValidator

from call_recording import clients, init_phase, logs, metrics
from call_recording.callbacks.facts import callback_facts, is_of_something_else, named_sids
from call_recording.callbacks.proof import Fields, Proof
from call_recording.commands.dead_letters import is_redrive, redrive
from call_recording.errors import (
    CallRecordingError,
    RequestTooLargeError,
    UnprovenCallbackError,
    UnreadableCallbackError,
    UnstorableFactsError,
)
from call_recording.http.request import HttpRequest
from call_recording.recordings.statuses import is_known
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import CallbackSettings
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.credentials import CredentialStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="recording-status", json_serializer=logs.serialize)

# Anybody can name accounts here, so the number of requests to Secrets Manager is limited.
_MOST_UNKNOWN_ACCOUNTS = 20


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Return 204 if the callback is in the table, 202 if it is unreadable and in the dead-letter queue, else a problem.

    Other signed requests of Twilio also get a 204, and are discarded.

    Callbacks come from WebhookApi, or again from the dead-letter queue, which only this function fills.
    """
    if is_redrive(event):
        return redrive(event, context, lambda message: record([tuple(field) for field in message["fields"]]))
    try:
        fields = proof().proven_fields(HttpRequest.from_event(event))
        try:
            record(fields)
        except (UnreadableCallbackError, UnstorableFactsError) as error:
            keep(fields)
            metrics.UNREADABLE_CALLBACKS.add()
            logger.append_keys(**named_sids(fields))
            logger.exception("callback sent to the dead-letter queue", reason=type(error).__name__)
            return {"statusCode": 202}
    except CallRecordingError as error:
        return refuse(error)
    return {"statusCode": 204}


def record(fields: Fields) -> None:
    """Merge a verified callback into its row, if it is about a recording."""
    if is_of_something_else(fields):
        metrics.OTHER_REQUESTS.add()
        logger.info("not a recording status callback; discarded")
        return
    facts = callback_facts(fields)
    logger.set_correlation_id(facts.told.get("call_sid") or facts.told.get("conference_sid"))
    logger.append_keys(account_sid=facts.account_sid, recording_sid=facts.recording_sid, status=facts.status)
    accounts().note(facts.account_sid)
    recordings().record(facts)
    metrics.CALLBACKS.add(status=facts.status if is_known(facts.status) else metrics.OTHER)
    logger.info("callback recorded")


def refuse(error: CallRecordingError) -> dict[str, Any]:
    """Return the answer to a callback that is not verified, or cannot be written at the moment."""
    # Imported here to shorten cold starts: Twilio's callbacks are hardly ever refused.
    from call_recording.http.responses import problem_response  # noqa: PLC0415
    from call_recording.problems import http_status, reason  # noqa: PLC0415

    log = logger.exception if http_status(error) >= 500 else logger.warning
    if isinstance(error, UnprovenCallbackError | RequestTooLargeError):
        metrics.REFUSED_SIGNATURES.add()
    known = {name: value for name in ("why", "account_sid") if (value := getattr(error, name, None))}
    log("callback refused", reason=reason(error), **known)
    return problem_response(error)


def keep(fields: Fields) -> None:
    """Send a verified callback that could not be used to the dead-letter queue, where it counts as verified."""
    message = json.dumps({"fields": fields})
    clients.sqs().send_message(QueueUrl=settings().callback_dead_letter_queue_url, MessageBody=message)


@cache
def settings() -> CallbackSettings:
    """Return the function's environment, read once."""
    return CallbackSettings()


@cache
def accounts() -> Accounts:
    """Return the list of accounts that this stack has used."""
    return Accounts.connect(settings())


@init_phase.early
@cache
def proof() -> Proof:
    """Return the verifier of callbacks; its auth tokens live as long as the execution environment."""
    env = settings()
    credentials = CredentialStore(
        clients.secrets_manager(),
        env.twilio_secret_prefix,
        most_unknown=_MOST_UNKNOWN_ACCOUNTS,
        accounts=accounts(),
    )
    return Proof(credentials, RequestValidator, env.webhook_url, env.twilio_account_sid)


@init_phase.early
@cache
def recordings() -> RecordingsTable:
    """Return the table; its client lives as long as the execution environment."""
    return RecordingsTable.connect(settings())
