"""The routes of ControlApi: each one parses, calls and answers."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from by_events import control, parse_control
from call_recording.archive.bucket import LINK_SECONDS, archived
from call_recording.commands.triggers import from_http
from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError, UnknownRouteError
from call_recording.http.request import HttpRequest, query_fields
from call_recording.http.responses import json_response, problem_response
from call_recording.problems import http_status, reason
from call_recording.read.request import CallList, DayList, MediaRequest, RecordingPath
from call_recording.recordings.row import public
from wiring import RESERVE_SECONDS, archive, audit_trail, deleter, pages, reader, settings

logger = Logger(service="recordings-api", child=True)
app = APIGatewayRestResolver()


@app.get("/recordings/{RecordingSid}")
def get_recording() -> Response[str]:
    """Return one recording, from the table."""
    request = RecordingPath.parse(_address())
    return _json(public(reader().one(request.recording_sid, account_sid=request.account_sid)))


@app.get("/calls/{CallSid}/recordings")
def list_of_call() -> Response[str]:
    """Return a page of a call's recordings, newest first."""
    return _page(*pages().of_call(CallList.parse(_address())))


@app.get("/recordings")
def list_of_day() -> Response[str]:
    """Return a page of the recordings of an account and a day, newest first."""
    wanted = DayList.parse(_address(), default_account_sid=settings().twilio_account_sid)
    return _page(*pages().of_day(wanted))


@app.post("/calls/{CallSid}/recordings/{RecordingSid}")
def control_recording() -> Response[str]:
    """Pause, resume or stop a recording; return Twilio's recording."""
    command = from_http(app.current_event.raw_event, parse_control, path_fields=["CallSid", "RecordingSid"])
    outcome = control(command, app.lambda_context)
    return _json(outcome.answer, headers={"Idempotent-Replayed": "true"} if outcome.is_replayed else {})


@app.get("/recordings/{RecordingSid}/media")
def get_media() -> Response[str]:
    """Return a link to the archived audio, valid for minutes, after recording the access in the audit trail."""
    request = MediaRequest.parse(_address())
    row = reader().one(request.recording_sid, account_sid=request.account_sid)
    held = archived(row, archives=settings().archive_recordings == "true")
    seconds = request.expires_in_seconds or LINK_SECONDS
    url = archive().link(request.recording_sid, held, seconds=seconds)
    entry: dict[str, Any] = {name: row[name] for name in ("recording_sid", "account_sid", "call_sid") if name in row}
    audit_trail().note(what="media", reason=request.reason, link_seconds=seconds, key=held["key"], **entry, **_who())
    logger.info("link to audio created")
    return _response(json_response(302, {"expires_in_seconds": seconds}, headers={"Location": url}))


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
        deadline=Deadline.of(app.lambda_context, reserve_seconds=RESERVE_SECONDS),
    )
    audit_trail().note(what="deletion", **receipt, **who)
    logger.info("recording deleted")
    return _json(receipt)


@app.not_found
def unknown_route(_: NotFoundError) -> Response[str]:
    """Answer a request for an unknown route."""
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
    """Return the fields of the path and the query."""
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
