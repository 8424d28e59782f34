"""The formats of requests: API Gateway proxy events, and events on the bus."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from call_recording import sids
from call_recording.errors import FieldError, InvalidRequestError
from call_recording.http.fields import did_you_mean
from call_recording.http.request import HttpRequest, body_fields, query_fields
from call_recording.recordings.facts import BY_EVENTBRIDGE, BY_HTTP

START_REQUESTED: Final = "Call Recording Requested"
CONTROL_REQUESTED: Final = "Call Recording Control Requested"

KEY_HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_UNKNOWN_IN_QUERY: Final = "unknown in the query; only AccountSid is allowed there, everything else belongs in the body"

# The only parameter that is a list: in forms, the field is repeated for each element, as in Twilio's SDKs.
_LIST_FIELD: Final = "RecordingStatusCallbackEvent"

_SIDS: Final = {
    "CallSid": ("call_sid", sids.CALL),
    "AccountSid": ("account_sid", sids.ACCOUNT),
    "RecordingSid": ("recording_sid", sids.RECORDING),
}

type Parse[R] = Callable[[list[tuple[str, Any]], list[FieldError]], R]
"""Parses fields into a request, given the mistakes found so far, or raises InvalidRequestError."""


def is_requested(event: Mapping[str, Any], detail_type: str) -> bool:
    """Return whether the event has that detail type, from any source."""
    return event.get("detail-type") == detail_type


def named_sids(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the SIDs in an event's path or detail by our names, even if the event is otherwise invalid."""
    named = event.get("pathParameters") or event.get("detail")
    given = named if isinstance(named, dict) else {}
    return {
        ours: given[name]
        for name, (ours, prefix) in _SIDS.items()
        if name in given and sids.is_sid(given[name], prefix)
    }


class Command[R](NamedTuple):
    """A valid request with its source, its idempotency key, and when it was sent.

    Without a `key` every delivery is a separate request. `sent_at` is None if a caller waits
    for the answer, because then the request cannot be old.
    """

    request: R
    requested_by: str
    key: str | None
    sent_at: datetime | None = None

    @property
    def remembers_failures(self) -> bool:
        """Whether a permanent failure is final: an event that was reported as failed must not succeed later.

        Callers over HTTP may retry.
        """
        return self.requested_by == BY_EVENTBRIDGE


def from_http[R](event: dict[str, Any], parse: Parse[R], *, path_fields: Collection[str]) -> Command[R]:
    """Return the command in an API Gateway proxy event, payload 1.0 or 2.0.

    The SIDs in `path_fields` come from the path; a body may repeat them (or contain them, on an API
    without such path parameters) but not contradict them. The AccountSid may be in the body or in
    the query. The header `Idempotency-Key` is optional.

    Raises InvalidRequestError or UnsupportedMediaTypeError.
    """
    http = HttpRequest.from_event(event)
    fields: list[tuple[str, Any]] = []
    query: list[tuple[str, str]] = []
    errors: list[FieldError] = []
    try:
        fields = _with_lists(body_fields(http))
    except InvalidRequestError as error:
        errors += error.errors
    try:
        query = query_fields(http)
    except InvalidRequestError as error:
        errors += error.errors
    errors += [FieldError(name, _UNKNOWN_IN_QUERY) for name in dict(query) if name != "AccountSid"]
    elsewhere = [(name, value) for name, value in query if name == "AccountSid"]
    elsewhere += [(name, http.path_fields[name]) for name in path_fields if name in http.path_fields]
    in_body = [name for name, _ in fields]
    for name, value in elsewhere:
        if name not in in_body:
            fields.append((name, value))
        elif (name, value) not in fields:
            errors.append(FieldError(name, "differs between the address and the body"))

    key = None
    try:
        key = http.header(KEY_HEADER)
    except InvalidRequestError as error:
        errors += error.errors
    if key is None:
        errors += _mistyped_keys(http.headers)
    elif not _KEY.fullmatch(key):
        errors.append(FieldError(KEY_HEADER, "must be 1 to 255 visible ASCII characters, without spaces"))
    return Command(parse(fields, errors), BY_HTTP, f"{BY_HTTP}#{key}" if key else None)


def from_eventbridge[R](event: Mapping[str, Any], parse: Parse[R]) -> Command[R]:
    """Return the command in an event from the bus; the event's `id` is its key.

    Raises InvalidRequestError.
    """
    errors: list[FieldError] = []
    event_id, sent_at = event.get("id"), _time(event.get("time"))
    if not isinstance(event_id, str) or not event_id:
        errors.append(FieldError("id", "required"))
    if sent_at is None:
        errors.append(FieldError("time", "must be an ISO 8601 time"))
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise InvalidRequestError([*errors, FieldError("detail", "must be an object")])
    return Command(parse(list(detail.items()), errors), BY_EVENTBRIDGE, f"{BY_EVENTBRIDGE}#{event_id}", sent_at)


def _mistyped_keys(headers: Collection[str]) -> list[FieldError]:
    """Return the headers that look like a mistyped key: if they were ignored, a retry could record twice."""
    alike = [name for name in headers if ("idem" in name or "potency" in name) and name != KEY_HEADER.lower()]
    hints = [(name, did_you_mean(name, [KEY_HEADER])) for name in alike]
    return [FieldError(name, f"unknown header{hint}") for name, hint in hints if hint]


def _time(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _with_lists(fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the fields with repeated elements of the list parameter joined into one list."""
    events = [value for name, value in fields if name == _LIST_FIELD]
    if len(events) < 2 or not all(isinstance(event, str) for event in events):
        return fields
    return [(name, value) for name, value in fields if name != _LIST_FIELD] + [(_LIST_FIELD, events)]
