"""Read and control recordings: over HTTP, by events, and when a watched pause has not ended in time."""

from dataclasses import asdict
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext

from call_recording import clients, metrics
from call_recording.archive.bucket import LINK_SECONDS, Archive, archived
from call_recording.audit import AuditTrail
from call_recording.bus import Bus
from call_recording.commands.dead_letters import is_redrive, redrive
from call_recording.commands.failures import publish_request_failed, will_never_be_met
from call_recording.commands.intents import TO_CONTROL, Intents, Outcome
from call_recording.commands.triggers import CONTROL_REQUESTED, Command, from_eventbridge, from_http, is_requested
from call_recording.control.controller import Controller
from call_recording.control.request import ControlRequest
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.deadline import Deadline
from call_recording.delete.deleter import Deleter
from call_recording.errors import (
    CallRecordingError,
    FieldError,
    UnknownRouteError,
    UnknownTriggerError,
)
from call_recording.http.request import HttpRequest, is_http, query_fields
from call_recording.problems import http_status, json_response, problem_response, reason
from call_recording.read.page_tokens import PageTokens
from call_recording.read.request import CallList, DayList, MediaRequest, RecordingPath
from call_recording.recordings.reader import RecordingsReader, public
from call_recording.recordings.table import RecordingsTable
from call_recording.settings import RecordingsApiSettings
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import session
from call_recording.twilio.credentials import CredentialStore

logger = Logger(service="recordings-api")
app = APIGatewayRestResolver()

# Kept back from the invocation's time to write the row, note the answer and give it.
_RESERVE_SECONDS = 4.0


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Answer a REST API's proxy event, or act on `Call Recording Control Requested` events and resume timers.

    Events come from EventBridge and EventBridge Scheduler, or again from the dead-letter queue.
    """
    if is_http(event) and "resource" in event:
        # Routed by the API's own resource, which is what IAM policies are about: a custom domain can put
        # a base path before the path, and a decoded slash in a parameter makes another path of it.
        return app.resolve(event | {"path": event["resource"]}, context)
    if is_redrive(event):
        return redrive(event, context, lambda message: act_on_event(message, context))
    act_on_event(event, context)
    return None


# --- over HTTP ------------------------------------------------------------------------------------


@app.get("/recordings/{RecordingSid}")
def get_recording() -> Response[str]:
    """Return one recording, from the table."""
    request = RecordingPath.parse(_address())
    return _json(public(reader().one(request.recording_sid, account_sid=request.account_sid)))


@app.get("/calls/{CallSid}/recordings")
def list_of_call() -> Response[str]:
    """Return a page of a call's recordings, newest first."""
    return _page(*reader().page_of_call(CallList.parse(_address()), page_tokens()))


@app.get("/recordings")
def list_of_day() -> Response[str]:
    """Return a page of the recordings of an account and a day, newest first."""
    wanted = DayList.parse(_address(), default_account_sid=settings().twilio_account_sid)
    return _page(*reader().page_of_day(wanted, page_tokens()))


@app.post("/calls/{CallSid}/recordings/{RecordingSid}")
def control_recording() -> Response[str]:
    """Pause, resume or stop a recording; return Twilio's recording."""
    event = app.current_event.raw_event
    command = from_http(event, parse_control, path_fields=["CallSid", "RecordingSid"])
    outcome = control(command, app.lambda_context)
    return _json(outcome.answer, headers={"Idempotent-Replayed": "true"} if outcome.is_replayed else {})


@app.get("/recordings/{RecordingSid}/media")
def get_media() -> Response[str]:
    """Return a link to the archived audio that lives for minutes; who got it is in the audit trail first."""
    request = MediaRequest.parse(_address())
    row = reader().one(request.recording_sid, account_sid=request.account_sid)
    held = archived(row)
    url = archive().link(held, seconds=LINK_SECONDS)
    entry: dict[str, Any] = {name: row[name] for name in ("recording_sid", "account_sid", "call_sid") if name in row}
    audit_trail().note(
        what="media", reason=request.reason, link_seconds=LINK_SECONDS, key=held["key"], **entry, **_who()
    )
    logger.info("link to audio given", recording_sid=request.recording_sid)
    return _response(json_response(302, {"expires_in_seconds": LINK_SECONDS}, headers={"Location": url}))


@app.delete("/recordings/{RecordingSid}")
def delete_recording() -> Response[str]:
    """Delete a recording; return the receipt."""
    request = RecordingPath.parse(_address())
    who = _who()
    audit_trail().note(what="deletion-asked-for", recording_sid=request.recording_sid, **who)
    receipt = deleter().delete(
        request.recording_sid,
        account_sid=request.account_sid,
        asked_by=who["caller"],
        deadline=Deadline.of(app.lambda_context, reserve_seconds=_RESERVE_SECONDS),
    )
    audit_trail().note(what="deletion", **receipt, **who)
    logger.info("recording deleted", recording_sid=request.recording_sid)
    return _json(receipt)


@app.not_found
def unknown_route(_: NotFoundError) -> Response[str]:
    """Answer what the API does not route here."""
    return _problem(UnknownRouteError())


@app.exception_handler(CallRecordingError)  # type: ignore[untyped-decorator]
def refuse(error: CallRecordingError) -> Response[str]:
    """Answer an error with its problem document."""
    return _problem(error)


def _problem(error: CallRecordingError) -> Response[str]:
    log = logger.exception if http_status(error) >= 500 else logger.warning
    log("request refused", reason=reason(error), twilio_code=getattr(error, "code", None))
    return _response(problem_response(error))


def _address() -> list[tuple[str, str]]:
    """Return the fields that the path and the query name."""
    http = HttpRequest.from_event(app.current_event.raw_event)
    return [*http.path_fields.items(), *query_fields(http)]


def _who() -> dict[str, str]:
    """Return who signed the request (an IAM user's or role session's ARN), from where, and its id."""
    context = app.current_event.raw_event["requestContext"]
    identity = context.get("identity") or {}
    return {
        "caller": str(identity.get("userArn") or identity.get("caller") or "unknown"),
        "source_ip": str(identity.get("sourceIp") or "unknown"),
        "request_id": str(context.get("requestId") or "unknown"),
    }


def _page(rows: list[dict[str, Any]], next_page_token: str | None) -> Response[str]:
    return _json({"recordings": [public(row) for row in rows], "next_page_token": next_page_token})


def _json(body: object, *, headers: dict[str, str] | None = None) -> Response[str]:
    return _response(json_response(200, body, headers=headers))


def _response(answer: dict[str, Any]) -> Response[str]:
    return Response(status_code=answer["statusCode"], headers=answer["headers"], body=answer["body"])


# --- by events ------------------------------------------------------------------------------------


def act_on_event(event: dict[str, Any], context: LambdaContext) -> None:
    """Control the recording, or look after a pause; publish a failure that can never work, raise others."""
    if timer := ResumeTimer.of_event(event):
        logger.set_correlation_id(timer.call_sid)
        logger.append_keys(account_sid=timer.account_sid, call_sid=timer.call_sid)
        deadline = Deadline.of(context, reserve_seconds=_RESERVE_SECONDS)
        if controller(context.invoked_function_arn).on_timer(timer, deadline=deadline):
            metrics.RECORDING_STILL_PAUSED.add()
        return
    if not is_requested(event, CONTROL_REQUESTED):
        raise UnknownTriggerError
    try:
        control(from_eventbridge(event, parse_control), context)
    except CallRecordingError as error:
        logger.warning("recording not changed", reason=reason(error), twilio_code=getattr(error, "code", None))
        if not will_never_be_met(error):
            raise
        publish_request_failed(bus(), event=event, error=error)


def parse_control(fields: list[tuple[str, Any]], errors: list[FieldError]) -> ControlRequest:
    """Return the request that the fields make; the stack's account unless they name another."""
    return ControlRequest.parse(fields, default_account_sid=settings().twilio_account_sid, errors=errors)


def control(command: Command[ControlRequest], context: LambdaContext) -> Outcome:
    """Change the recording once for the command's key; without a key, once for this delivery."""
    request = command.request
    logger.set_correlation_id(request.call_sid)
    logger.append_keys(account_sid=request.account_sid, call_sid=request.call_sid, requested_by=command.requested_by)
    deadline = Deadline.of(context, reserve_seconds=_RESERVE_SECONDS)

    def work(_: object = None) -> dict[str, Any]:
        return controller(context.invoked_function_arn).control(request, deadline=deadline, sent_at=command.sent_at)

    try:
        if command.key is None:
            outcome = Outcome(work())
        else:
            outcome = intents().once(command.key, asdict(request), work, context=context)
    except CallRecordingError as error:
        metrics.CONTROL_REQUESTS.add(trigger=command.requested_by, outcome=reason(error))
        raise
    done = "replayed" if outcome.is_replayed else request.status
    metrics.CONTROL_REQUESTS.add(trigger=command.requested_by, outcome=done)
    logger.info("recording changed", recording_sid=outcome.answer["sid"], status=outcome.answer["status"])
    return outcome


# --- what it all needs ------------------------------------------------------------------------------


@cache
def settings() -> RecordingsApiSettings:
    """Return the function's environment, read once."""
    return RecordingsApiSettings()


@cache
def bus() -> Bus:
    """Return the bus that failures and forgotten pauses are told on."""
    return Bus(clients.events(), settings().event_bus_name)


@cache
def credentials() -> CredentialStore:
    """Return the store of credentials; it lives as long as the execution environment."""
    return CredentialStore(clients.secrets_manager(), settings().twilio_secret_prefix)


@cache
def intents() -> Intents:
    """Return the memory of what was asked for before."""
    return Intents(clients.dynamodb(), settings().idempotency_table, TO_CONTROL)


@cache
def page_tokens() -> PageTokens:
    """Return what makes and reads page tokens."""
    return PageTokens(clients.secrets_manager(), settings().page_token_secret)


@cache
def archive() -> Archive:
    """Return the bucket that keeps audio."""
    return Archive(clients.s3(), settings().archive_bucket)


@cache
def audit_trail() -> AuditTrail:
    """Return where it is written who got audio or deleted it."""
    return AuditTrail(clients.logs(), settings().audit_log_group)


@cache
def recordings() -> RecordingsTable:
    """Return the table."""
    return RecordingsTable(clients.dynamodb(), settings().recordings_table, settings().row_retention_days)


@cache
def reader() -> RecordingsReader:
    """Return what reads the table for callers."""
    return RecordingsReader(recordings())


@cache
def controller(function_arn: str) -> Controller:
    """Return what changes recordings; timers invoke the function (or alias) that set them."""
    env = settings()
    return Controller(
        accounts=Accounts(clients.dynamodb(), env.idempotency_table, env.twilio_account_sid),
        credentials=credentials(),
        recordings=recordings(),
        reader=reader(),
        session=session(env.twilio_api_url),
        twilio_api_url=env.twilio_api_url,
        timers=ResumeTimers(
            clients.scheduler(),
            env.resume_timer_group,
            env.resume_timer_prefix,
            env.resume_timer_role_arn,
            env.resume_timer_dead_letter_queue_arn,
            function_arn,
        ),
        bus=bus(),
    )


@cache
def deleter() -> Deleter:
    """Return what deletes recordings."""
    return Deleter(
        credentials=credentials(),
        recordings=recordings(),
        reader=reader(),
        session=session(settings().twilio_api_url),
        twilio_api_url=settings().twilio_api_url,
        default_account_sid=settings().twilio_account_sid,
        archive=archive(),
    )
