"""Start a recording on a live call, requested over HTTP or by an EventBridge event."""

import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from call_recording import clients, clock, init_phase, logs, metrics
from call_recording.commands import triggers
from call_recording.commands.dead_letters import is_redrive, redrive, undelivered
from call_recording.commands.intents import Intent, Intents, Outcome
from call_recording.deadline import Deadline
from call_recording.errors import (
    OURS,
    CallRecordingError,
    FieldError,
    IdempotencyKeyReusedError,
    RequestInProgressError,
    UnknownAccountError,
    UnknownTriggerError,
)
from call_recording.http.request import is_http
from call_recording.http.responses import json_response, problem_response
from call_recording.problems import cause, http_status, reason
from call_recording.recordings.facts import BY_EVENTBRIDGE, BY_HTTP
from call_recording.settings import StartSettings
from call_recording.start.request import StartRequest
from call_recording.start.starter import Starter

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="start-recording", json_serializer=logs.serialize)

_NO_GAP = (IdempotencyKeyReusedError, RequestInProgressError)  # another delivery of the request has it, or will have it

# Time reserved to write the row, save the answer and return it.
_RESERVE_SECONDS = 4.0


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    """Answer an API Gateway proxy event (1.0 or 2.0), or act on `Call Recording Requested` events.

    Events come from EventBridge, or again from the dead-letter queue.
    """
    if is_http(event):
        return answer_http(event, context)
    if is_redrive(event):
        return redrive(event, context, lambda message: act_on_event(undelivered(message), context))
    act_on_event(event, context)
    return None


def answer_http(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Return `201` with Twilio's recording, or a problem document."""
    logger.append_keys(**triggers.named_sids(event))
    try:
        outcome = start(triggers.from_http(event, parse, path_fields=["CallSid"]), context)
    except CallRecordingError as error:
        log = logger.exception if http_status(error) >= 500 else logger.warning
        log("recording not started", reason=reason(error), twilio_code=getattr(error, "code", None))
        metrics.START_REQUESTS.add(trigger=BY_HTTP, outcome=reason(error))
        _add_to_gap(error)
        return problem_response(error)
    except Exception:
        metrics.add_to_gap("internal", OURS)
        raise
    replayed = {"Idempotent-Replayed": "true"} if outcome.is_replayed else {}
    return json_response(201, outcome.answer, headers=replayed)


def act_on_event(event: dict[str, Any], context: "LambdaContext") -> None:
    """Start the recording; publish a failure event if the failure is final, and raise if a retry may succeed."""
    if not triggers.is_requested(event, triggers.START_REQUESTED):
        raise UnknownTriggerError
    logger.append_keys(**triggers.named_sids(event))
    try:
        failure = start(triggers.from_eventbridge(event, parse), context).failure
    except CallRecordingError as error:
        logger.warning("recording not started", reason=reason(error), twilio_code=getattr(error, "code", None))
        metrics.START_REQUESTS.add(trigger=BY_EVENTBRIDGE, outcome=reason(error))
        failure = _failures().failure_of(error)
        _add_to_gap(error)
    if failure:
        bus = _failures().Bus(clients.events(), settings().event_bus_name)
        _failures().publish_request_failed(bus, event=event, failure=failure)


def _add_to_gap(error: CallRecordingError) -> None:
    if not isinstance(error, _NO_GAP):
        # A caller can name any account; but if the stack's own account has no secret, that is our failure.
        is_own = isinstance(error, UnknownAccountError) and error.account_sid == settings().twilio_account_sid
        metrics.add_to_gap(reason(error), OURS if is_own else cause(error))


def _failures() -> Any:
    # Imported here to shorten cold starts: hardly any start fails.
    from call_recording.commands import failures  # noqa: PLC0415

    return failures


def parse(fields: list[tuple[str, Any]], errors: list[FieldError]) -> StartRequest:
    """Return the request that the fields make; the stack's account unless they name another."""
    return StartRequest.parse(fields, default_account_sid=settings().twilio_account_sid, errors=errors)


def start(command: triggers.Command[StartRequest], context: "LambdaContext") -> Outcome:
    """Start the recording once for the command's key; without a key, once for this delivery."""
    request = command.request
    logger.set_correlation_id(request.call_sid)
    logger.append_keys(account_sid=request.account_sid, call_sid=request.call_sid, requested_by=command.requested_by)
    deadline = Deadline.of(context, reserve_seconds=_RESERVE_SECONDS)

    def work(intent: Intent) -> dict[str, Any]:
        return starter().start(
            request, intent=intent, requested_by=command.requested_by, deadline=deadline, sent_at=command.sent_at
        )

    if command.key is None:
        outcome = Outcome(work(Intent(f"{command.requested_by}#{uuid.uuid4()}", clock.now())))
    else:
        remembers = command.remembers_failures
        outcome = intents().once(command.key, request.said(), work, context=context, remembers_failures=remembers)
    metrics.START_REQUESTS.add(trigger=command.requested_by, outcome="replayed" if outcome.is_replayed else "started")
    if not outcome.failure:
        logger.info("recording started", recording_sid=outcome.answer["sid"], is_replayed=outcome.is_replayed)
    starter().twilio.credentials.renew(deadline=deadline)
    return outcome


@cache
def settings() -> StartSettings:
    """Return the function's environment, read once."""
    return StartSettings()


@cache
def intents() -> Intents:
    """Return the record of earlier requests."""
    return Intents(clients.dynamodb(), settings().idempotency_table)


@init_phase.early
@cache
def starter() -> Starter:
    """Return the starter of recordings; its clients live as long as the execution environment."""
    return Starter.connect(settings())
