"""The body and fields of an API Gateway proxy event, in both payload versions.

This does not use Powertools' event classes: importing one of them imports the whole package, which took
a fifteenth of the webhook's cold start (docs/explanation/adr/0021).
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, NoReturn, Self
from urllib.parse import parse_qsl

from call_recording.errors import FieldError, InvalidRequestError, RequestTooLargeError, UnsupportedMediaTypeError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

BODY: Final = "body"
"""The field name for mistakes of the whole body."""

MOST_BODY_BYTES: Final = 65_536
"""Several times what Twilio sends or accepts; API Gateway itself allows megabytes."""

_MOST_FIELDS: Final = 200


class HttpRequest(NamedTuple):
    """The parts of a proxy event, payload 1.0 or 2.0, with the same names; missing parts are empty.

    `url` is the requested URL, without the query. `headers` have lowercase names, with every
    different value of each (payload 2.0 joins them with commas).
    `query` is the text after the `?` in payload 2.0; payload 1.0 does not have it, only the values
    by name. Source: "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway developer guide.
    """

    method: str
    url: str
    headers: Mapping[str, tuple[str, ...]]
    path_fields: Mapping[str, str]
    query: str | Mapping[str, list[str]]
    body: str
    is_base64: bool

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Return the request in an event for which `is_http` holds."""
        context = event.get("requestContext") or {}
        if event.get("version") == "2.0":
            method, path = (context.get("http") or {}).get("method"), event.get("rawPath")
            query = event.get("rawQueryString") or ""
        else:
            method, path = event.get("httpMethod"), context.get("path")
            query = event.get("multiValueQueryStringParameters") or {}
        return cls(
            method=method or "",
            url=f"https://{context.get('domainName')}{path}",
            headers=_headers(event),
            path_fields=event.get("pathParameters") or {},
            query=query,
            body=event.get("body") or "",
            is_base64=bool(event.get("isBase64Encoded")),
        )

    def header(self, name: str) -> str | None:
        """Return the header's value, or None if it is missing.

        Raises InvalidRequestError if it has different values: none of them may silently win.
        """
        values = self.headers.get(name.lower(), ())
        if len(values) > 1:
            raise InvalidRequestError([FieldError(name, "given more than once")])
        return values[0] if values else None


def is_http(event: Mapping[str, Any]) -> bool:
    """Return whether the event is an API Gateway proxy event, payload 1.0 or 2.0."""
    context = event.get("requestContext")
    return isinstance(context, dict) and ("httpMethod" in event or "http" in context)


def body_bytes(request: HttpRequest) -> bytes:
    """Return the body as the client sent it; HTTP APIs encode form bodies in base64.

    Raises RequestTooLargeError, or InvalidRequestError if it is marked as base64 and is not.
    """
    body = request.body
    if len(body) > 2 * MOST_BODY_BYTES:  # however it is encoded: not worth decoding
        raise RequestTooLargeError(MOST_BODY_BYTES)
    try:
        sent = base64.b64decode(body, validate=True) if request.is_base64 else body.encode()
    except (binascii.Error, ValueError) as error:  # ValueError: a character outside ASCII
        raise _invalid("is marked as base64 but is not") from error
    if len(sent) > MOST_BODY_BYTES:
        raise RequestTooLargeError(MOST_BODY_BYTES)
    return sent


def body_fields(request: HttpRequest) -> list[tuple[str, Any]]:
    """Return the names and values of a JSON object or a form, in order, repetitions included.

    Raises UnsupportedMediaTypeError, RequestTooLargeError, or InvalidRequestError when the body is
    empty, not what its content type says, or not an object.
    """
    content_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type not in {JSON, FORM}:
        raise UnsupportedMediaTypeError(content_type or None)
    try:
        text = body_bytes(request).decode()
    except UnicodeDecodeError as error:
        raise _invalid("is not UTF-8") from error
    if not text.strip():
        raise _invalid("is empty; to start with Twilio's defaults send the JSON body {}")
    if content_type == JSON:
        return _json_fields(text)
    if text.lstrip()[0] in "{[":  # curl sends forms by default, and no field starts with these characters
        raise _invalid(f"looks like JSON; send the header Content-Type: {JSON} with it")
    return form_fields(text)


def form_fields(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a form or a query string, including blank values, nothing trimmed.

    Raises InvalidRequestError if the text is not a form.
    """
    if not text:
        return []
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one too
        raise _invalid("is not a form") from error


def signed_fields(text: bytes) -> list[tuple[str, str]]:
    """Return the parameters of a form or query string that a signature covers: all of them, even unusual ones.

    Raises InvalidRequestError if they are not UTF-8, or too many.
    """
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:  # UnicodeDecodeError is one too
        raise _invalid("cannot be read") from error


def query_fields(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the query's names and values, repetitions included."""
    if not isinstance(request.query, str):
        return [(name, value) for name, values in request.query.items() for value in values]
    try:
        return form_fields(request.query)
    except InvalidRequestError as error:
        raise InvalidRequestError([FieldError("query", "is not a query string")]) from error


def _headers(event: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the different values of each header. Payload 1.0 has the last value in one map, and all in another."""
    several = [(name, value) for name, values in (event.get("multiValueHeaders") or {}).items() for value in values]
    all_of, last_of = _by_name(several), _by_name((event.get("headers") or {}).items())
    return last_of | {name: values for name, values in all_of.items() if len(values) > 1}


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        known = found.get(name.lower(), ())
        found[name.lower()] = known if value in known else (*known, value)
    return found


def _json_fields(text: str) -> list[tuple[str, Any]]:
    def refuse_constant(name: str) -> NoReturn:
        raise _invalid(f"is not JSON: {name} is not a number in JSON")

    try:
        # Pairs, not a dict: otherwise the last of repeated names would silently win.
        value = json.loads(text, object_pairs_hook=_Pairs, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        if _looks_like_a_form(text):
            raise _invalid(f"looks like a form; send the header Content-Type: {FORM} with it") from error
        raise _invalid(f"is not JSON, at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise _invalid("is nested too deeply") from error
    except ValueError as error:  # Python parses no number of more than 4,300 digits
        raise _invalid("has a number that is too long") from error
    if not isinstance(value, _Pairs):
        raise _invalid("is not a JSON object")
    return list(value)


def _looks_like_a_form(text: str) -> bool:
    """Return whether the text is a form that was sent as JSON: `Trim=do-not-trim`."""
    return text[0].isalpha() and "=" in text.partition("&")[0]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, as a list of pairs."""


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(BODY, message)])
