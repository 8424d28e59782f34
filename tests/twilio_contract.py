"""Whether requests to Twilio, and its answers, are as `local/twilio_simulator/openapi.yaml` says."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from jsonschema_rs import Draft202012Validator
from samcli.yamlhelper import yaml_parse

from local.stack import PROJECT
from local.twilio_simulator.twilio import Answer, Request

FILE: Final = PROJECT / "local/twilio_simulator/openapi.yaml"
_FORM: Final = "application/x-www-form-urlencoded"
_METHODS: Final = ("get", "post", "delete")


class Operation(NamedTuple):
    """A request that the application may send, and what it may be answered."""

    operation_id: str
    method: str
    path: re.Pattern[str]
    definition: Mapping[str, Any]
    parameters: Mapping[tuple[str, str], Mapping[str, Any]]
    """By where they are and their name."""


class Contract:
    """Notes what is sent and answered, as `Twilio.observe`; `broken` says what the description does not have."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def observe(self, request: Request, answer: Answer | None) -> None:
        """Hold a request, and its answer if it got one, against the description."""
        operation = operation_of(request)
        if operation is None:
            self.broken.append(f"{request.method} {request.path} is not described")
            return
        self.broken += request_errors(operation, request)
        if answer is not None:
            self.broken += answer_errors(operation, answer)

    def observe_answer(self, request: Request, answer: Answer | None) -> None:
        """Hold an answer alone against the description: what others send than the application is not described."""
        if answer and (operation := operation_of(request)):
            self.broken += answer_errors(operation, answer)


@cache
def document() -> dict[str, Any]:
    """Return the description."""
    loaded: dict[str, Any] = yaml_parse(FILE.read_text())
    return loaded


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a reference stands for."""
    found: Any = schema
    while "$ref" in found:
        names, found = found["$ref"].removeprefix("#/").split("/"), document()
        for name in names:
            found = found[name]
    return dict(found)


@cache
def operations() -> list[Operation]:
    """Return every operation of the description."""
    found = []
    for template, item in document()["paths"].items():
        for method in _METHODS:
            if method in item:
                given = map(resolved, [*item.get("parameters", []), *item[method].get("parameters", [])])
                parameters = {(parameter["in"], parameter["name"]): parameter["schema"] for parameter in given}
                pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+?)", re.escape(template))
                found.append(
                    Operation(
                        item[method]["operationId"], method.upper(), re.compile(pattern), item[method], parameters
                    )
                )
    return found


def operation_of(request: Request) -> Operation | None:
    """Return which operation a request is; the first that fits, so `.json` is no suffix of audio."""
    for operation in operations():
        if request.method == operation.method and operation.path.fullmatch(request.path):
            return operation
    return None


def request_errors(operation: Operation, request: Request) -> Iterator[str]:
    """Give what of a request is not described."""
    match = operation.path.fullmatch(request.path)
    assert match is not None
    given = [("path", name, text) for name, text in match.groupdict().items()]
    given += [("query", name, text) for name, text in parse_qsl(request.query, keep_blank_values=True)]
    for place, name, text in given:
        schema = operation.parameters.get((place, name))
        if schema is None:
            yield f"{operation.operation_id} has no parameter {name}"
        else:
            yield from _errors(_read(text, schema), schema, f"{operation.operation_id}: {name}")
    if not request.headers.get("authorization", "").startswith("Basic "):
        yield f"{operation.operation_id} comes without Basic credentials"
    body = operation.definition.get("requestBody")
    if body is None:
        if request.body:
            yield f"{operation.operation_id} has no body"
        return
    # A form with nothing in it has no content type.
    if request.body and request.headers.get("content-type") != _FORM:
        yield f"{operation.operation_id} is no form"
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        yield f"{operation.operation_id} repeats a field"
    yield from _errors(dict(pairs), body["content"][_FORM]["schema"], operation.operation_id)


def answer_errors(operation: Operation, answer: Answer) -> Iterator[str]:
    """Give what of an answer is not described."""
    response = response_of(operation, answer.status)
    if response is None:
        yield f"{operation.operation_id} is not answered {answer.status}"
        return
    content = resolved(response).get("content", {})
    if not content:
        if answer.body:
            yield f"{operation.operation_id}: {answer.status} has no body"
    elif answer.content_type not in content:
        # Audio may be called anything; what it is, its bytes tell.
        if operation.operation_id != "media":
            yield f"{operation.operation_id}: {answer.status} is no {answer.content_type}"
    elif "schema" in content[answer.content_type]:
        where = f"{operation.operation_id}: {answer.status}"
        yield from _errors(answer.json(), content[answer.content_type]["schema"], where)


def response_of(operation: Operation, status: int) -> Mapping[str, Any] | None:
    """Return how an answer of that status is described; `4XX` stands for all that are not named."""
    responses = operation.definition["responses"]
    found: Mapping[str, Any] | None = responses.get(str(status), responses.get(f"{status // 100}XX"))
    return found


def request_of(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request:
    """Return a request as the simulator gets it."""
    parts = urlsplit(url)
    return Request(method, parts.path, parts.query, {name.lower(): text for name, text in headers.items()}, body)


def _read(text: str, schema: Mapping[str, Any]) -> str | int:
    return int(text) if resolved(schema).get("type") == "integer" and text.isdecimal() else text


def _errors(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    for error in _validator(json.dumps(schema)).iter_errors(value):
        yield f"{where}: {'.'.join(map(str, error.instance_path))} {error.message}"


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema) | {"components": document()["components"]})
