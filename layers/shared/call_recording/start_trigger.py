"""How each trigger words a request to start: API Gateway proxy events, and `Call Recording Requested`."""

from collections.abc import Mapping
from typing import Any, Final

from call_recording.errors import FieldError, InvalidRequestError
from call_recording.http_request import body_fields, http_event, query_fields
from call_recording.start_request import StartRequest

REQUESTED: Final = "Call Recording Requested"

# The one parameter that is a list: forms repeat a field for each element, as Twilio's SDKs do.
_LIST_FIELD: Final = "RecordingStatusCallbackEvent"


def is_eventbridge(event: Mapping[str, Any]) -> bool:
    """Tell whether the event is a `Call Recording Requested` event, from whatever source."""
    return event.get("detail-type") == REQUESTED


def from_http(event: dict[str, Any], *, default_account_sid: str) -> StartRequest:
    """Return the request in an API Gateway proxy event, payload 1.0 or 2.0.

    The CallSid comes from the path; a body may repeat it (or name it, on an API without that path
    parameter) but not contradict it. The AccountSid may stand in the body or in the query.

    Raises InvalidRequestError or UnsupportedMediaTypeError.
    """
    http = http_event(event)
    fields: list[tuple[str, Any]] = []
    errors: list[FieldError] = []
    try:
        fields = _with_lists(body_fields(http))
    except InvalidRequestError as error:
        errors += error.errors
    try:
        query = query_fields(http)
    except InvalidRequestError as error:
        query = []
        errors += error.errors
    errors += [FieldError(name, "unknown in the query") for name in dict(query) if name != "AccountSid"]
    elsewhere = [(name, value) for name, value in query if name == "AccountSid"]
    if (call_sid := (http.path_parameters or {}).get("CallSid")) is not None:
        elsewhere.append(("CallSid", call_sid))

    for name, value in elsewhere:
        held = [other for other_name, other in fields if other_name == name]
        if not held:
            fields.append((name, value))
        elif value not in held:
            errors.append(FieldError(name, "differs between the address and the body"))
    return StartRequest.parse(fields, default_account_sid=default_account_sid, errors=errors)


def from_eventbridge(event: Mapping[str, Any], *, default_account_sid: str) -> StartRequest:
    """Return the request in a `Call Recording Requested` event's detail.

    Raises InvalidRequestError.
    """
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise InvalidRequestError([FieldError("detail", "must be an object")])
    return StartRequest.parse(detail.items(), default_account_sid=default_account_sid)


def _with_lists(fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the fields with repeated elements of the list parameter joined into one list."""
    events = [value for name, value in fields if name == _LIST_FIELD]
    if len(events) < 2 or not all(isinstance(event, str) for event in events):
        return fields
    return [(name, value) for name, value in fields if name != _LIST_FIELD] + [(_LIST_FIELD, events)]
