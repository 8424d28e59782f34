"""`docs/reference/openapi.yaml` says what the code and the template do: no more, no less, nothing else."""

import base64
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from copy import replace
from dataclasses import asdict
from datetime import datetime
from itertools import permutations
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from jsonschema_rs import Draft202012Validator, ValidationError
from samcli.yamlhelper import yaml_parse
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from call_recording import errors
from call_recording.archive.bucket import LINK_SECONDS, Stored, object_key
from call_recording.callbacks.facts import _KNOWN as CALLBACK_PARAMETERS
from call_recording.callbacks.facts import _OPTIONAL as OPTIONAL_PARAMETERS
from call_recording.callbacks.facts import _REQUIRED as REQUIRED_PARAMETERS
from call_recording.callbacks.facts import callback_facts
from call_recording.commands.pauses import PAUSED, RUNNING
from call_recording.commands.triggers import _KEY, KEY_HEADER, from_http
from call_recording.control import request as control_request
from call_recording.control.request import _READERS as CONTROL_READERS
from call_recording.control.request import ALL, ControlRequest
from call_recording.delete.deleter import GONE_BEFORE, NEVER_THERE, REMOVED
from call_recording.errors import CallRecordingError, FieldError, InvalidRequestError
from call_recording.http.request import FORM, JSON, HttpRequest, body_bytes, body_fields, form_fields
from call_recording.http.responses import json_response, problem_response
from call_recording.pause_all.everything import NOT_COVERED
from call_recording.pause_all.request import _READERS as ALL_READERS
from call_recording.pause_all.request import AllRequest
from call_recording.pause_all.scope import MOST_TO_LOOK_THROUGH
from call_recording.problems import _ANSWERS, reason
from call_recording.read import request as read_request
from call_recording.read.request import _LONGEST_TOKEN, CallList, DayList, MediaRequest, RecordingPath
from call_recording.read.request import _READERS as READ_READERS
from call_recording.recordings.facts import BY_EVENTBRIDGE, BY_HTTP, BY_TWILIO, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import PUBLIC, Row, public
from call_recording.recordings.statuses import ORDER
from call_recording.start import request as start_request
from call_recording.start.request import _READERS as START_READERS
from call_recording.start.request import RETRY_FRAGMENT, StartRequest
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID, WEBHOOK_URL
from local.stack import PROJECT
from local.twilio_simulator.model import Call, Recording

FILE = PROJECT / "docs/reference/openapi.yaml"
RECORDING_SID = "RE0123456789abcdef0123456789abcdef"
SECOND_SID, THIRD_SID = "RE123456789abcdef0123456789abcdef0", "RE23456789abcdef0123456789abcdef01"
GROUP = "pause-019ea0c2-4f60-7c3a-9d2e-5b8f1a6c3e07"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
PROBLEM = "application/problem+json"
URN = "urn:problem:call-recording:"

# Problems that no HTTP caller ever gets, and why.
ONLY_IN_EVENTS = {
    "archive-conflict": "only the function that archives stores audio",
    "being-deleted": "only the function that archives waits for a deletion",
    "media-not-ready": "only the function that archives asks Twilio for audio",
    "no-audio": "only the function that archives asks Twilio for audio",
    "no-time-left": "only the function that archives passes audio on",
    "too-old": "only an event has a time at which it was sent",
    "wrong-media": "only the function that archives looks into audio",
}

Document = dict[str, Any]
Sample = Callable[[str], dict[str, Any]]


def resolved(document: Document, node: Any) -> Any:
    """Return the node, or what it refers to."""
    while isinstance(node, dict) and "$ref" in node:
        node = at(document, node["$ref"])
    return node


def at(document: Document, reference: str) -> Any:
    root, *path = reference.split("/")
    assert root == "#", reference
    node: Any = document
    for part in path:
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def load() -> Document:
    loaded: Document = json.loads(json.dumps(yaml_parse(FILE.read_text())))
    return loaded


@pytest.fixture(scope="module")
def document() -> Document:
    return load()


@pytest.fixture(scope="module")
def schemas(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"]
    return found


@pytest.fixture(scope="module")
def examples(document: Document) -> dict[str, Any]:
    return {name: example["value"] for name, example in document["components"]["examples"].items()}


class Operation:
    """An operation with its references resolved."""

    def __init__(self, document: Document, method: str, path: str) -> None:
        item = document["paths"][path]
        described = item[method]
        self.id: str = described["operationId"]
        self.security: list[dict[str, Any]] = described.get("security", document["security"])
        self.servers: list[dict[str, Any]] = item.get("servers", document["servers"])
        parameters = [*item.get("parameters", []), *described.get("parameters", [])]
        self.parameters: list[dict[str, Any]] = [resolved(document, parameter) for parameter in parameters]
        self.bodies: dict[str, Any] = described.get("requestBody", {}).get("content", {})
        self.responses: dict[str, Any] = {
            status: resolved(document, response) for status, response in described["responses"].items()
        }

    def names(self, place: str) -> set[str]:
        return {parameter["name"] for parameter in self.parameters if parameter["in"] == place}

    def problems(self) -> dict[str, set[str]]:
        """Return the names of the problems by status."""
        return {
            status: {kind.removeprefix(URN) for kind in content["schema"]["properties"]["type"]["enum"]}
            for status, response in self.responses.items()
            if (content := response.get("content", {}).get(PROBLEM))
        }


def operations_of(document: Document) -> dict[tuple[str, str], Operation]:
    return {
        (method, path): Operation(document, method, path)
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS
    }


@pytest.fixture(scope="module")
def operations(document: Document) -> dict[str, Operation]:
    return {operation.id: operation for operation in operations_of(document).values()}


def validator(document: Document, schema: Any) -> Draft202012Validator:
    """Return what validates by a schema that may refer to others of the document."""
    whole = {"components": document["components"], "allOf": [schema]}
    return Draft202012Validator(whole, validate_formats=True)


# --- the document itself ----------------------------------------------------------------------------


def test_it_is_a_document_of_openapi_3_1(document: Document) -> None:
    OPENAPI_31_VALIDATOR.validate(document)

    assert document["openapi"] == "3.1.0"


def test_every_schema_is_json_schema(document: Document, schemas: dict[str, Any]) -> None:
    parameters = [parameter for op in operations_of(document).values() for parameter in op.parameters]

    for schema in [*schemas.values(), *(parameter["schema"] for parameter in parameters)]:
        validator(document, schema)  # raises for a keyword's wrong value, and for a pattern that is none


def test_every_reference_leads_somewhere_and_nothing_is_left_over(document: Document) -> None:
    used = set(references(document))
    named = {
        f"#/components/{kind}/{name}"
        for kind, components in document["components"].items()
        for name in components
        if kind != "securitySchemes"
    }

    for reference in used:
        at(document, reference)
    assert named <= used


def test_every_tag_and_security_scheme_that_is_used_is_described(document: Document) -> None:
    described = [item[method] for item in document["paths"].values() for method in METHODS & item.keys()]
    schemes = {name for op in operations_of(document).values() for scheme in op.security for name in scheme}

    assert {tag for operation in described for tag in operation["tags"]} == {tag["name"] for tag in document["tags"]}
    assert schemes == document["components"]["securitySchemes"].keys()


def test_it_has_the_project_s_version_and_licence(document: Document) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    assert document["info"]["version"] == project["version"]
    assert document["info"]["license"]["identifier"] == project["license"]


# --- routes -----------------------------------------------------------------------------------------


def control_routes(template: dict[str, Any]) -> set[tuple[str, str]]:
    events = [
        event
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
        for event in resource["Properties"].get("Events", {}).values()
    ]
    of_api = [event["Properties"] for event in events if event["Type"] == "Api"]
    return {(p["Method"].lower(), p["Path"]) for p in of_api if p["RestApiId"] == {"Ref": "ControlApi"}}


def webhook_routes(template: dict[str, Any]) -> set[tuple[str, str]]:
    routes = [r for r in template["Resources"].values() if r["Type"] == "AWS::ApiGatewayV2::Route"]
    keys = [route["Properties"]["RouteKey"].split(" ") for route in routes]
    return {(method.lower(), path) for method, path in keys}


def test_its_routes_are_the_template_s(document: Document, template: dict[str, Any]) -> None:
    assert operations_of(document).keys() == control_routes(template) | webhook_routes(template)


def test_callers_sign_with_iam_and_twilio_with_its_signature(document: Document, template: dict[str, Any]) -> None:
    stage = template["Resources"]["ControlApi"]["Properties"]["StageName"]
    webhook = webhook_routes(template)

    for route, operation in operations_of(document).items():
        scheme, ending = ("twilioSignature", "amazonaws.com") if route in webhook else ("sigv4", f"/{stage}")
        assert operation.security == [{scheme: []}], route
        assert all(server["url"].endswith(ending) for server in operation.servers), route


def test_the_parameters_of_a_path_are_those_in_its_address(document: Document) -> None:
    for (_, path), operation in operations_of(document).items():
        in_address = {part[1:-1] for part in path.split("/") if part.startswith("{")}

        assert operation.names("path") == in_address, path


def test_every_link_gives_parameters_that_its_operation_has(operations: dict[str, Operation]) -> None:
    links = [
        link
        for operation in operations.values()
        for response in operation.responses.values()
        for link in response.get("links", {}).values()
    ]

    assert links
    for link in links:
        target = operations[link["operationId"]]
        assert link["parameters"].keys() == target.names("path"), link["operationId"]


# --- what requests may say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "field", "values"),
    [
        ("StartRequest", "RecordingChannels", start_request.RECORDING_CHANNELS),
        ("StartRequest", "RecordingStatusCallbackMethod", start_request.CALLBACK_METHODS),
        ("StartRequest", "RecordingTrack", start_request.RECORDING_TRACKS),
        ("StartRequest", "Trim", start_request.TRIMS),
        ("ControlRequest", "Status", control_request.CONTROL_STATUSES),
        ("ControlRequest", "PauseBehavior", control_request.PAUSE_BEHAVIORS),
        ("ControlAllRequest", "RecordingSid", (ALL,)),
        ("ControlAllRequest", "Status", (control_request.PAUSED, control_request.RESUMED)),
        ("ControlAllRequest", "PauseBehavior", control_request.PAUSE_BEHAVIORS),
    ],
)
def test_the_values_of_a_field_are_those_that_are_read(
    schemas: dict[str, Any], schema: str, field: str, values: tuple[str, ...]
) -> None:
    assert schemas[schema]["properties"][field]["enum"] == list(values)


def test_callback_events_are_a_list_or_a_text_of_those_that_are_read(schemas: dict[str, Any]) -> None:
    events = start_request.CALLBACK_EVENTS
    several, text = schemas["StartRequest"]["properties"]["RecordingStatusCallbackEvent"]["anyOf"]

    assert several["items"]["enum"] == list(events)
    assert set(text["enum"]) == {
        " ".join(chosen) for count in range(1, len(events) + 1) for chosen in permutations(events, count)
    }


@pytest.mark.parametrize(
    ("operation", "readers"),
    [
        ("startRecording", {"StartRequest": START_READERS}),
        ("controlRecording", {"ControlRequest": CONTROL_READERS, "ControlAllRequest": ALL_READERS}),
    ],
)
def test_a_body_has_the_fields_that_are_read_in_json_and_in_a_form(
    operations: dict[str, Operation], schemas: dict[str, Any], operation: str, readers: dict[str, dict[str, Any]]
) -> None:
    bodies = operations[operation].bodies

    assert bodies.keys() == {JSON, FORM}
    assert list(references(bodies[JSON]["schema"])) == [f"#/components/schemas/{name}" for name in readers]
    forms = [
        resolved({"components": {"schemas": schemas}}, {"$ref": name}) for name in references(bodies[FORM]["schema"])
    ]
    assert [form["allOf"][0] for form in forms] == [{"$ref": f"#/components/schemas/{name}"} for name in readers]
    for name, fields in readers.items():
        assert schemas[name]["properties"].keys() == fields.keys()
        assert schemas[name]["additionalProperties"] is False


ODD_VALUES = [
    *(None, True, False, 0, 1, 60, -1, 1.5, 86_400, 86_401, {}, {"a": 1}, [], [1], ["completed", "completed"]),
    *(["completed"], ["absent", "in-progress"], ["Completed"], ["completed absent"], "completed absent"),
    *("completed  absent", "completed completed", "absent completed in-progress", "completed ", ",", "", " ", "x"),
    *("mono", "dual", "MONO", "mono\n", "inbound", "outbound", "both", "trim-silence", "do-not-trim", "GET", "POST"),
    *("get", "paused", "in-progress", "stopped", "completed", "absent", "skip", "silence", "Twilio.CURRENT"),
    *("TwilioxCURRENT", ACCOUNT_SID, CALL_SID, RECORDING_SID, CALL_SID.lower(), f"{CALL_SID}0", CALL_SID[:-1]),
    *(f"CA{'A' * 32}", f"CA{'g' * 32}", f"{RECORDING_SID}\n", "https://example.com", "HTTP://EXAMPLE.COM/a?b=c#d"),
    *("https://user:password@example.com/x", "https://example.com:65535", "https://example.com:65536"),
    *("https://example.com:0/", "https://", "https:///x", "//example.com", "ftp://example.com", "example.com"),
    *("https://exa mple.com", "https://example.com/\n", " https://example.com", "https://example.com/é x"),
    *("https://example.com/%", "https://example.com/?a=%4g", "https://example.com/#%", "https://exa%6dple.com/"),
    *("https://example.com/é", "https://exämple.com/", "https://a..b/", "https://.example.com", "https://-a.com"),
    *("https://a@b@example.com/", "https://user:%zz@example.com/", "https://example.com/#a#b", "https://a/b|c"),
    *("https://example.com/%7Bx%7D?a=%20&b#rc=2&rp=5xx", f"https://example.com/{'a' * 3_981}", f"http://{'a' * 64}.b"),
    *(10, 11, "a.b:c-d_e", "a" * 128, "a" * 129),
    *("ALL", "all", "none", "None", f"CF{'a' * 32}", f"CF{'a' * 31}", f"CF{'a' * 32}\n"),
]


def is_read(parse: Callable[[], object]) -> bool:
    try:
        parse()
    except InvalidRequestError:
        return False
    return True


@pytest.mark.parametrize("field", START_READERS)
def test_a_field_of_a_start_takes_what_is_read_and_refuses_what_is_not(document: Document, field: str) -> None:
    by_schema = validator(document, {"$ref": "#/components/schemas/StartRequest"})

    for value in ODD_VALUES:
        fields = {"CallSid": CALL_SID, field: value}
        expected = is_read(lambda fields=fields: StartRequest.parse(fields.items(), default_account_sid=ACCOUNT_SID))  # type: ignore[misc]
        assert by_schema.is_valid({field: value}) is expected, value


CONTROLS: dict[str, tuple[type[ControlRequest | AllRequest], str, dict[str, Any]]] = {
    "ControlRequest": (ControlRequest, RECORDING_SID, CONTROL_READERS),
    "ControlAllRequest": (AllRequest, ALL, ALL_READERS),
}


@pytest.mark.parametrize(("schema", "field"), [(schema, field) for schema in CONTROLS for field in CONTROLS[schema][2]])
def test_a_field_of_a_control_takes_what_is_read_and_refuses_what_is_not(
    document: Document, schema: str, field: str
) -> None:
    by_schema = validator(document, {"$ref": f"#/components/schemas/{schema}"})
    kind, recording_sid, _ = CONTROLS[schema]
    others = {} if field == "Status" else {"Status": "paused", "ResumeWithinSeconds": 60}

    for value in ODD_VALUES:
        given = {**others, field: value}
        fields = {"CallSid": CALL_SID, "RecordingSid": recording_sid, **given}
        expected = is_read(lambda fields=fields: kind.parse(fields.items(), default_account_sid=ACCOUNT_SID))  # type: ignore[misc]
        assert by_schema.is_valid(given) is expected, value


@pytest.mark.parametrize("schema", CONTROLS)
def test_what_goes_only_with_a_pause_does_so_by_the_schema_too(document: Document, schema: str) -> None:
    by_schema = validator(document, {"$ref": f"#/components/schemas/{schema}"})
    kind, recording_sid, readers = CONTROLS[schema]
    optional = {"PauseBehavior": "skip", "ResumeWithinSeconds": 60, "AutoResume": True, "ConferenceSid": "none"}
    optional = {name: value for name, value in optional.items() if name in readers}
    verdicts = set()

    for status in (None, *control_request.CONTROL_STATUSES):
        for chosen in (set(names) for count in range(len(optional) + 1) for names in permutations(optional, count)):
            given = {name: value for name, value in optional.items() if name in chosen}
            given |= {"Status": status} if status else {}
            fields = {"CallSid": CALL_SID, "RecordingSid": recording_sid, **given}
            expected = is_read(lambda fields=fields: kind.parse(fields.items(), default_account_sid=ACCOUNT_SID))  # type: ignore[misc]
            assert by_schema.is_valid(given) is expected, given
            verdicts.add(expected)

    assert verdicts == {True, False}


def test_a_start_without_fields_is_a_json_body_and_no_form(document: Document, sample: Sample) -> None:
    bodies = operations_of(document)["post", "/calls/{CallSid}/recordings"].bodies

    for content_type, body in ((JSON, "{}"), (FORM, "")):
        event = sample("start-rest-api.json") | {"headers": {"Content-Type": content_type}, "body": body}
        expected = is_read(lambda event=event: body_fields(HttpRequest.from_event(event)))  # type: ignore[misc]
        assert validator(document, bodies[content_type]["schema"]).is_valid({}) is expected, content_type


def test_sizes_and_times_have_the_bounds_that_are_checked(
    document: Document, operations: dict[str, Operation], schemas: dict[str, Any]
) -> None:
    page_size = document["components"]["parameters"]["PageSize"]["schema"]
    token = document["components"]["parameters"]["PageToken"]["schema"]
    pauses = [schemas[name]["properties"]["ResumeWithinSeconds"] for name in CONTROLS]
    wait = schemas["StartRequest"]["properties"]["WaitSeconds"]
    (reason_given,) = [p["schema"] for p in operations["getMedia"].parameters if p["name"] == "Reason"]

    assert (page_size["minimum"], page_size["maximum"]) == (1, read_request.LARGEST_PAGE)
    assert page_size["default"] == read_request.DEFAULT_PAGE_SIZE
    assert (token["minLength"], token["maxLength"]) == (1, _LONGEST_TOKEN)
    assert {(p["minimum"], p["maximum"]) for p in pauses} == {(1, control_request.LONGEST_PAUSE_SECONDS)}
    assert (wait["minimum"], wait["maximum"]) == (0, start_request.LONGEST_WAIT_SECONDS)
    assert (reason_given["minLength"], reason_given["maxLength"]) == (1, read_request.LONGEST_REASON)
    (expires_in,) = [p["schema"] for p in operations["getMedia"].parameters if p["name"] == "ExpiresIn"]
    for link in (expires_in, schemas["Link"]["properties"]["expires_in_seconds"]):
        bounds = (link["minimum"], link["maximum"])
        assert bounds == (read_request.SHORTEST_LINK_SECONDS, read_request.LONGEST_LINK_SECONDS)
    assert expires_in["default"] == LINK_SECONDS
    assert schemas["RecordingList"]["properties"]["recordings"]["maxItems"] == read_request.LARGEST_PAGE


@pytest.mark.parametrize(("field", "texts"), [("ResumeWithinSeconds", ["60"]), ("AutoResume", ["true", "false"])])
def test_numbers_and_truths_are_read_as_text_too_as_a_form_writes_them(field: str, texts: list[str]) -> None:
    for text in texts:
        fields = {"CallSid": CALL_SID, "RecordingSid": RECORDING_SID, "Status": "paused", "ResumeWithinSeconds": "1"}

        request = ControlRequest.parse((fields | {field: text}).items(), default_account_sid=ACCOUNT_SID)

        assert {"ResumeWithinSeconds": request.resume_within_seconds, "AutoResume": request.auto_resume}[
            field
        ] == json.loads(text)


EVERY_NAME = {*START_READERS, *CONTROL_READERS, *ALL_READERS, *READ_READERS, "Unknown"}


@pytest.mark.parametrize(
    ("operation", "parse"),
    [
        ("getRecording", RecordingPath.parse),
        ("getMedia", MediaRequest.parse),
        ("deleteRecording", RecordingPath.parse),
        ("listCallRecordings", CallList.parse),
        ("listRecordings", lambda fields: DayList.parse(fields, default_account_sid=ACCOUNT_SID)),
    ],
)
def test_a_read_takes_the_parameters_that_are_read(
    operations: dict[str, Operation], operation: str, parse: Callable[[list[tuple[str, Any]]], object]
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        parse([(name, None) for name in EVERY_NAME])

    unknown = {error.field for error in refusal.value.errors if error.message.startswith("unknown field")}
    assert operations[operation].names("path") | operations[operation].names("query") == EVERY_NAME - unknown


@pytest.mark.parametrize(
    ("operation", "event"), [("startRecording", "start-rest-api.json"), ("controlRecording", "control-rest-api.json")]
)
def test_a_post_takes_the_query_and_the_key_that_are_read(
    operations: dict[str, Operation], sample: Sample, operation: str, event: str
) -> None:
    found: list[FieldError] = []
    asked = sample(event) | {"multiValueQueryStringParameters": {name: ["x"] for name in EVERY_NAME}}

    from_http(asked, lambda _, errors: found.extend(errors), path_fields=[])

    unknown = {error.field for error in found if error.message.startswith("unknown in the query")}
    assert operations[operation].names("query") == EVERY_NAME - unknown
    (key,) = [parameter for parameter in operations[operation].parameters if parameter["in"] == "header"]
    assert (key["name"], key["schema"]["pattern"]) == (KEY_HEADER, f"^{_KEY.pattern}$")
    assert not key.get("required")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("Date", ["2026-11-22", "2000-01-01", "1999-12-31", "2026-02-30", "20261122", "2026-W47-7", "", "today"]),
        ("From", ["1999-12-31", "2026-02-30", "20261122", "2026-W47-7", "", "today", "2999-11-22"]),
        ("ConferenceSid", [f"CF{'a' * 32}", CALL_SID, ""]),
        (
            "Reference",
            ["room-17", "x" * 128, "x" * 129, "", " ", "+14155550123", "a@b", "4155550123", "(415) 555-0123"],
        ),
        ("Reference", ["Phone 415-555-0123", "f47ac10b-58cc-4372-a567-012345678901", "ä 苦情", "a\nb", "123456"]),
        ("Status", [*ORDER, "a", "Completed", "complete", "completed,absent", ""]),
        ("PageToken", ["x", "", "x" * 2048, "x" * 2049]),
        ("AccountSid", [ACCOUNT_SID, CALL_SID, ""]),
    ],
)
def test_a_day_s_list_takes_the_values_that_are_read(
    document: Document, operations: dict[str, Operation], field: str, values: list[str]
) -> None:
    (parameter,) = [p for p in operations["listRecordings"].parameters if p["name"] == field]
    by_schema = validator(document, parameter["schema"])

    for value in values:
        expected = is_read(lambda value=value: DayList.parse([(field, value)], default_account_sid=ACCOUNT_SID))  # type: ignore[misc]
        assert by_schema.is_valid(value) is expected, value


@pytest.mark.parametrize(
    "value",
    [
        *("Complaint 4711", " ", "", "x" * read_request.LONGEST_REASON, "x" * (read_request.LONGEST_REASON + 1)),
        *("😀" * read_request.LONGEST_REASON, "Beschwerde für §4711, 苦情", "line\nbreak", "line\n", "tab\t", "\x00"),
        *("no\u00a0break", "soft\u00adhyphen", "zero\u200bwidth", "right\u202eleft", "line\u2028break", "\ue000"),
    ],
)
def test_a_reason_is_what_is_read(document: Document, operations: dict[str, Operation], value: str) -> None:
    (parameter,) = [p for p in operations["getMedia"].parameters if p["name"] == "Reason"]

    expected = is_read(lambda: MediaRequest.parse([("RecordingSid", RECORDING_SID), ("Reason", value)]))

    assert validator(document, parameter["schema"]).is_valid(value) is expected
    assert not parameter.get("required")


def test_what_is_printable_is_said_in_a_way_that_every_reader_of_patterns_knows(
    operations: dict[str, Operation], schemas: dict[str, Any]
) -> None:
    """Character classes such as `\\p{L}` are not of JSON Schema's dialect; neither is what lies beyond 65,535."""
    (reason_given,) = [p["schema"] for p in operations["getMedia"].parameters if p["name"] == "Reason"]
    assigned = [c for c in map(chr, range(0x10000)) if unicodedata.category(c) not in {"Cn", "Cs"}]

    assert schemas["Reference"]["pattern"] == reason_given["pattern"]
    assert [c for c in assigned if c.isprintable()] == [c for c in assigned if re.search(reason_given["pattern"], c)]


# --- callbacks --------------------------------------------------------------------------------------


def test_a_callback_has_the_parameters_that_are_read_in_a_form_and_in_a_query(
    operations: dict[str, Operation], schemas: dict[str, Any]
) -> None:
    form, query = schemas["Callback"], operations["receiveCallbackByQuery"]

    assert form["properties"].keys() == query.names("query") == CALLBACK_PARAMETERS
    assert set(form["required"]) == REQUIRED_PARAMETERS.keys()
    assert {p["name"] for p in query.parameters if p.get("required")} == REQUIRED_PARAMETERS.keys()
    assert operations["receiveCallback"].bodies.keys() == {FORM}


def can_be_read(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


def test_a_callback_s_parameter_takes_what_is_read_and_refuses_what_is_not(document: Document) -> None:
    values = ["", "0", "42", "-1", "1234567890", "1.5", "both", "Word-9_x", "9x", "two words", "https://example.com/x"]
    values += ["http://example.com/x"]
    values += ["in-progress", "Completed", "a" * 33, ACCOUNT_SID, CALL_SID, RECORDING_SID, f"{CALL_SID}\n", "ftp://x"]
    patterned = {n: s for n, s in document["components"]["schemas"]["Callback"]["properties"].items() if "pattern" in s}

    assert patterned.keys() == CALLBACK_PARAMETERS - {"RecordingStartTime", "EncryptionDetails"}
    for name, schema in patterned.items():
        for value in values:
            if name in REQUIRED_PARAMETERS:
                expected = REQUIRED_PARAMETERS[name](value)
            else:
                expected = not value or can_be_read(OPTIONAL_PARAMETERS[name][1], value)
            assert validator(document, schema).is_valid(value) is expected, (name, value)


# --- problems ---------------------------------------------------------------------------------------


def gateway_problems(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the problem documents that ControlApi's gateway words itself."""
    answers = template["Resources"]["ControlApi"]["Properties"]["GatewayResponses"].values()
    texts = [text for answer in answers for text in answer["ResponseTemplates"].values()]
    return [json.loads(text.replace("$context.error.messageString", '""')) for text in texts]


def known_problems(template: dict[str, Any]) -> set[tuple[int, str, str]]:
    """Return status, name and title of every problem that there is."""
    by_gateway = {(p["status"], p["type"].removeprefix(URN), p["title"]) for p in gateway_problems(template)}
    return set(_ANSWERS.values()) | by_gateway


def test_the_types_of_problems_are_the_table_s_and_the_gateway_s(
    schemas: dict[str, Any], template: dict[str, Any]
) -> None:
    names = {name for _, name, _ in known_problems(template)}

    assert names >= ONLY_IN_EVENTS.keys()
    assert schemas["Problem"]["properties"]["type"]["enum"] == sorted(URN + n for n in names - ONLY_IN_EVENTS.keys())


def test_every_problem_of_an_operation_exists_with_that_status(
    operations: dict[str, Operation], template: dict[str, Any]
) -> None:
    known = {(status, name) for status, name, _ in known_problems(template)}

    for operation in operations.values():
        for status, names in operation.problems().items():
            assert {(int(status), name) for name in names} <= known, (operation.id, status)


def test_every_problem_is_documented_where_it_occurs(operations: dict[str, Operation], schemas: dict[str, Any]) -> None:
    documented = {name for op in operations.values() for names in op.problems().values() for name in names}

    assert {URN + name for name in documented} == set(schemas["Problem"]["properties"]["type"]["enum"])


def test_what_the_gateway_can_refuse_of_every_request_stands_at_every_operation(
    document: Document, template: dict[str, Any]
) -> None:
    of_gateway = {(p["status"], p["type"].removeprefix(URN)) for p in gateway_problems(template)}
    always = {(403, "access-denied"), (403, "unsigned"), (429, "throttled"), (500, "internal"), (504, "timed-out")}
    always |= {(502, "internal")}

    assert always <= of_gateway
    for route, operation in operations_of(document).items():
        found = {(int(status), name) for status, names in operation.problems().items() for name in names}
        if route in control_routes(template):
            assert always <= found, route
            assert ((413, "too-large") in found) is (route[0] == "post"), route
        else:
            assert not always & found, route


def test_a_problem_s_response_says_its_status_and_shows_each_of_its_types(
    document: Document, operations: dict[str, Operation]
) -> None:
    for operation in operations.values():
        for status, names in operation.problems().items():
            content = operation.responses[status]["content"][PROBLEM]
            shown = [resolved(document, example)["value"]["type"] for example in content["examples"].values()]

            assert content["schema"]["properties"]["status"] == {"const": int(status)}, (operation.id, status)
            assert sorted(shown) == sorted(URN + name for name in names), (operation.id, status)


def test_retry_after_is_documented_where_it_is_sent(operations: dict[str, Operation]) -> None:
    for operation in operations.values():
        for status, names in operation.problems().items():
            is_sent = status in {"429", "503"} or "request-in-progress" in names
            assert ("Retry-After" in operation.responses[status].get("headers", {})) is is_sent, (operation.id, status)


def twilio(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}


def in_part(error: CallRecordingError, **lists: list[dict[str, str]]) -> CallRecordingError:
    """Return the error with what it says of single recordings."""
    for name, items in lists.items():
        assert hasattr(error, name), name
        setattr(error, name, items)
    return error


DONE = [{"sid": RECORDING_SID, "was": RUNNING}]


def not_done(why: str) -> list[dict[str, str]]:
    return [{"sid": SECOND_SID, "reason": why}]


SAMPLE_ERRORS: list[CallRecordingError] = [
    errors.ArchiveLockedError("key"),
    errors.ArchiveUnavailableError("key"),
    errors.AuditUnavailableError(),
    errors.CallNotInProgressError(http_status=400, **twilio(21220, "Requested resource is not eligible for recording")),
    errors.CallPausedError(GROUP),
    errors.ControlledSinceError(RECORDING_SID),
    errors.CredentialsRefusedError(http_status=401, **twilio(20003, "Authenticate")),
    errors.CredentialsUnavailableError(ACCOUNT_SID),
    errors.ForeignAccountError(RECORDING_SID),
    errors.IdempotencyKeyReusedError(),
    InvalidRequestError([FieldError("CallSid", "must be a SID: CA and 32 hexadecimal digits")]),
    errors.MalformedSecretError(ACCOUNT_SID, "auth_token is missing"),
    errors.MergeContentionError(RECORDING_SID),
    errors.MissingSettingsError(["RECORDINGS_TABLE"]),
    errors.NotAParticipantError(),
    errors.NotArchivedError(RECORDING_SID, "deleted"),
    errors.StoredElsewhereError(RECORDING_SID),
    errors.OutcomeLostError(),
    errors.PageTokenKeyUnavailableError(),
    errors.PauseEndedError(),
    in_part(errors.PauseOutOfTimeError(), paused=DONE, unresolved=not_done("not-actionable")),
    in_part(errors.PauseUnprovenError(), paused=DONE, unresolved=not_done("twilio-unavailable")),
    errors.NotActionableError(http_status=400, **twilio(16114, "Recording is not in an actionable state")),
    errors.NothingRecordsError(
        http_status=404, **twilio(20404, "") | {"message": "the call has no recording that runs or is paused"}
    ),
    errors.RateLimitedError(retry_after_seconds=None, **twilio(20429, "Too Many Requests")),
    errors.RecordingClaimedError(RECORDING_SID),
    errors.RecordingNotFinishedError(RECORDING_SID),
    errors.RecordingNotFoundError(RECORDING_SID),
    errors.RequestInProgressError(),
    in_part(errors.ResumeUnprovenError(), still_paused=not_done("twilio-timed-out"), resumed=[{"sid": RECORDING_SID}]),
    errors.RowsUnavailableError(),
    in_part(errors.ScopeUnprovenError(MOST_TO_LOOK_THROUGH), paused=DONE),
    errors.SeveralActiveRecordingsError(
        http_status=400, **twilio(16108, "More than one recording is active on this call")
    ).naming([RECORDING_SID, "RE123456789abcdef0123456789abcdef0"]),
    errors.StateUnavailableError(),
    in_part(
        errors.StillPausedError(),
        still_paused=not_done("refused-by-twilio"),
        resumed=[{"sid": RECORDING_SID}],
        left_paused=[{"sid": THIRD_SID}],
    ),
    in_part(errors.StillRecordingError(), still_recording=not_done("call-not-in-progress"), paused=DONE),
    errors.TableUnavailableError(RECORDING_SID),
    errors.TimerNotSetError(),
    errors.TwilioNotFoundError(
        http_status=404, **twilio(20404, f"The requested resource /Calls/{CALL_SID} was not found")
    ),
    errors.TwilioRefusedError(http_status=400, **twilio(20001, "Invalid parameter")),
    errors.TwilioTimedOutError("Twilio did not answer in time"),
    errors.TwilioUnreachableError("no connection to Twilio"),
    errors.UnknownAccountError(ACCOUNT_SID),
    errors.UnknownRouteError(),
    errors.UnprovenCallbackError("the signature does not match"),
    errors.UnstorableFactsError(RECORDING_SID),
    errors.UnsupportedMediaTypeError("text/plain"),
]


@pytest.mark.parametrize("error", SAMPLE_ERRORS, ids=reason)
def test_the_example_of_a_problem_is_what_the_code_answers(examples: dict[str, Any], error: CallRecordingError) -> None:
    assert examples[reason(error)] == json.loads(problem_response(error)["body"])


def test_every_example_of_a_problem_is_the_code_s_or_the_gateway_s(
    examples: dict[str, Any], template: dict[str, Any]
) -> None:
    problems = {name: value for name, value in examples.items() if "title" in value}
    rest = [value for name, value in problems.items() if name not in {reason(error) for error in SAMPLE_ERRORS}]

    assert rest
    for value in rest:
        assert value in gateway_problems(template) or value | {"detail": ""} in gateway_problems(template), value[
            "type"
        ]


def test_what_is_said_of_single_recordings_has_the_code_s_words(schemas: dict[str, Any]) -> None:
    assert schemas["PausedRecording"]["properties"]["was"]["enum"] == [RUNNING, PAUSED]
    assert schemas["PausedAll"]["properties"]["not_covered"]["items"]["enum"] == list(NOT_COVERED)


def test_a_problem_has_the_members_that_are_sent(schemas: dict[str, Any]) -> None:
    sent = [json.loads(problem_response(error)["body"]).keys() for error in SAMPLE_ERRORS]

    assert schemas["Problem"]["properties"].keys() == set().union(*sent)
    assert schemas["Problem"]["properties"]["audio"]["enum"] == list(errors.NotArchivedError.sentences)
    assert set(schemas["Problem"]["required"]) == set.intersection(*map(set, sent))


# --- rows and receipts ------------------------------------------------------------------------------


def seen_at(moment: str, facts: Facts) -> Facts:
    return replace(facts, seen_at=moment)


@pytest.fixture
def completed(examples: dict[str, Any], sample: Sample) -> Row:
    """The row of the example's recording, once Twilio's sample callback has come."""
    callback = form_fields(body_bytes(HttpRequest.from_event(sample("callback-post-completed.json"))).decode())
    started = Facts.from_recording(RecordingResource(examples["started"], api_url="https://api.twilio.com")).asked_for(
        by=BY_HTTP, callback_url=f"{WEBHOOK_URL}#{RETRY_FRAGMENT}", intent="http#key"
    )
    row = merge(None, seen_at("2026-11-22T07:33:00.412Z", started), retention_days=400)
    return merge(row, seen_at("2026-11-22T07:33:44.901Z", callback_facts(callback)), retention_days=400)


@pytest.fixture
def archived(completed: Row, examples: dict[str, Any]) -> Row:
    """The same row, once its audio is in the archive."""
    return merge(completed, Facts.about(completed, archive=examples["archived"]["archive"]), retention_days=400)


def test_a_row_has_the_attributes_that_are_public(schemas: dict[str, Any]) -> None:
    assert list(schemas["Recording"]["properties"]) == list(PUBLIC)


def test_a_row_requires_what_even_the_barest_has(document: Document, schemas: dict[str, Any]) -> None:
    barest = public(merge(None, Facts.gone(RECORDING_SID, ACCOUNT_SID), retention_days=400))

    assert set(schemas["Recording"]["required"]) == barest.keys()
    validator(document, schemas["Recording"]).validate(barest)


def proof(s3_checksum: str, **more: Any) -> dict[str, Any]:
    stored = Stored("bucket", "key", "null", 1, "0" * 64, s3_checksum)
    told = {"content_type": "audio/mpeg", "channels": 1, "archived_at": "2026-11-22T07:33:49.310Z"}
    return asdict(stored) | told | more


def test_a_row_that_says_everything_fits(document: Document, schemas: dict[str, Any]) -> None:
    resource = Recording(RECORDING_SID, Call(CALL_SID, ACCOUNT_SID), 1, "both", "do-not-trim", 1.0, None).resource()
    resource |= {"conference_sid": "CF", "duration": "1", "error_code": 16102, "price": "-0.00250"}
    resource |= {"price_unit": "USD"}
    resource |= {"encryption_details": {"encryption_public_key_sid": "CR"}, "status": "completed"}
    resource |= {"media_url": "https://audio.s3.amazonaws.com/RE1.wav"}
    facts = Facts.from_recording(RecordingResource(resource, api_url="https://api.twilio.com"))
    facts = facts.asked_for(
        by=BY_EVENTBRIDGE,
        callback_url=WEBHOOK_URL,
        intent="eventbridge#1",
        call_sid=f"CA{'9' * 32}",
        reference="room-17",
    )
    noted = {"archive": proof("x-1", duration_milliseconds=0), "deleted_at_twilio": "2026-11-22T07:33:50.000Z"}
    row = merge(None, replace(facts, metadata={"Later": "known"}, noted=noted), retention_days=400)

    validator(document, schemas["Recording"]).validate(public(row))
    assert public(row).keys() == schemas["Recording"]["properties"].keys() - {"deletion"}


def test_the_example_of_a_row_is_what_the_sample_callback_makes(examples: dict[str, Any], completed: Row) -> None:
    assert examples["completed"] == public(completed)
    assert examples["last-page"]["recordings"] == [public(completed)]


def test_the_proof_of_archived_audio_is_the_event_s(schemas: dict[str, Any]) -> None:
    event = json.loads((PROJECT / "events" / "schemas" / "CallRecordingArchived.json").read_text())
    told = event["properties"]["detail"]["properties"]["archive"]

    assert undescribed(schemas["Archived"]) == undescribed(told)
    assert set(schemas["Archived"]["required"]) == proof("x").keys()
    assert schemas["Archived"]["properties"].keys() == proof("x", duration_milliseconds=0).keys()


def undescribed(schema: dict[str, Any]) -> dict[str, Any]:
    bare = {name: value for name, value in schema.items() if name != "description"}
    if "properties" in bare:
        bare["properties"] = {name: undescribed(inner) for name, inner in bare["properties"].items()}
    return bare


def test_the_example_of_archived_audio_is_a_proof_of_the_row_s(examples: dict[str, Any], archived: Row) -> None:
    told = examples["archived"]["archive"]

    assert examples["archived"] == public(archived)
    assert told["key"] == object_key(archived, "wav")
    assert base64.b64decode(told["s3_checksum"]).hex() == told["sha256"]
    assert told["channels"] == archived["channels"]
    assert told["duration_milliseconds"] == archived["duration_seconds"] * 1000


def test_the_example_of_a_link_leads_to_archived_audio(
    operations: dict[str, Operation], examples: dict[str, Any]
) -> None:
    told, headers = examples["archived"]["archive"], operations["getMedia"].responses["302"]["headers"]
    link = urlsplit(headers["Location"]["example"])
    query = parse_qs(link.query)

    assert (link.hostname, link.path) == (f"{told['bucket']}.s3.us-east-1.amazonaws.com", f"/{told['key']}")
    assert (query["versionId"], query["X-Amz-Expires"]) == ([told["version_id"]], [str(LINK_SECONDS)])
    assert examples["link"] == {"expires_in_seconds": LINK_SECONDS}


def test_a_link_s_headers_are_always_there_and_say_that_it_is_not_stored(operations: dict[str, Operation]) -> None:
    headers = operations["getMedia"].responses["302"]["headers"]
    sent = json_response(302, {}, headers={"Location": "https://example.com"})["headers"]

    assert headers.keys() == sent.keys() - {"Content-Type"}
    assert all(header["required"] for header in headers.values())
    assert headers["Cache-Control"]["schema"]["const"] == sent["Cache-Control"]


def test_the_example_of_a_tombstone_is_what_a_deletion_leaves(examples: dict[str, Any], archived: Row) -> None:
    receipt = examples["receipt"]
    gone = seen_at(receipt["deleted_at"], Facts.gone(RECORDING_SID, ACCOUNT_SID, deletion=receipt))

    assert examples["deleted"] == public(merge(archived, gone, retention_days=400))


def test_who_asked_and_what_was_removed_are_words_of_the_code(schemas: dict[str, Any]) -> None:
    removed = schemas["Deletion"]["properties"]["removed"]["properties"]

    assert set(schemas["Recording"]["properties"]["requested_by"]["enum"]) == {BY_HTTP, BY_EVENTBRIDGE, BY_TWILIO}
    assert set(removed["twilio"]["enum"]) == {REMOVED, GONE_BEFORE, NEVER_THERE}
    assert set(removed["archive"]["enum"]) == {REMOVED, GONE_BEFORE, NEVER_THERE}


# --- examples ---------------------------------------------------------------------------------------


def described_examples(document: Document, node: Any, where: str = "#") -> Iterator[tuple[str, Any, Any]]:
    """Yield every example: where it stands, the schema it stands beside, and its value."""
    if isinstance(node, list):
        for number, value in enumerate(node):
            yield from described_examples(document, value, f"{where}/{number}")
    if not isinstance(node, dict):
        return
    if "schema" in node:
        if "example" in node:
            yield f"{where}/example", node["schema"], node["example"]
        for name, example in node.get("examples", {}).items():
            yield f"{where}/examples/{name}", node["schema"], resolved(document, example)["value"]
    for name, value in node.items():
        if name not in {"example", "examples"}:
            yield from described_examples(document, value, f"{where}/{name}")


EXAMPLES = list(described_examples(load(), {key: load()[key] for key in ("paths", "components")}))


@pytest.mark.parametrize(("where", "schema", "value"), EXAMPLES, ids=[where for where, _, _ in EXAMPLES])
def test_every_example_is_valid(document: Document, where: str, schema: Any, value: Any) -> None:
    try:
        validator(document, schema).validate(value)
    except ValidationError as error:
        pytest.fail(f"{where}: {error.message}")


def test_every_body_and_every_answer_that_we_word_has_an_example(operations: dict[str, Operation]) -> None:
    bodies = [body for operation in operations.values() for body in operation.bodies.values()]
    answers = [
        content
        for operation in operations.values()
        for response in operation.responses.values()
        for content in response.get("content", {}).values()
        if content["schema"] != {"$ref": "#/components/schemas/GatewayMessage"}
    ]

    assert all(content.get("examples") for content in [*bodies, *answers])


@pytest.mark.parametrize(
    ("operation", "example", "event"),
    [("startRecording", "both-sides", "start-rest-api.json"), ("controlRecording", "pause", "control-rest-api.json")],
)
def test_the_first_example_of_a_request_is_the_sample_event_s(
    operations: dict[str, Operation], sample: Sample, operation: str, example: str, event: str
) -> None:
    for body in operations[operation].bodies.values():
        assert body["examples"][example]["value"] == json.loads(sample(event)["body"])


def test_the_example_of_a_callback_is_the_sample_event_s(operations: dict[str, Operation], sample: Sample) -> None:
    posted = form_fields(body_bytes(HttpRequest.from_event(sample("callback-post-completed.json"))).decode())
    queried = form_fields(sample("callback-get-completed.json")["rawQueryString"])
    parameters = operations["receiveCallbackByQuery"].parameters

    assert operations["receiveCallback"].bodies[FORM]["examples"]["completed"]["value"] == dict(posted)
    assert {p["name"]: p["example"] for p in parameters if "example" in p} == dict(queried)


def test_the_examples_of_addresses_are_the_sample_events(operations: dict[str, Operation], sample: Sample) -> None:
    for operation, event in {
        "startRecording": "start-rest-api.json",
        "listCallRecordings": "list-of-call-rest-api.json",
        "controlRecording": "control-rest-api.json",
        "getRecording": "get-rest-api.json",
        "getMedia": "media-rest-api.json",
        "deleteRecording": "delete-rest-api.json",
        "listRecordings": "list-of-day-rest-api.json",
    }.items():
        asked = sample(event)
        shown = {p["name"]: str(p.get("example")) for p in operations[operation].parameters}
        given = (asked["pathParameters"] or {}) | (asked["queryStringParameters"] or {})
        assert shown | given == shown, operation


def test_the_example_of_twilio_s_recording_is_what_twilio_answers(examples: dict[str, Any]) -> None:
    begin = datetime.fromisoformat("2026-11-22T07:33:00Z").timestamp()
    recording = Recording(RECORDING_SID, Call(CALL_SID, ACCOUNT_SID), 2, "both", "do-not-trim", begin, None)

    assert examples["started"] == recording.resource(status="in-progress")
    recording.updated_at = begin + 20
    assert examples["paused"] == recording.resource(status="paused")
