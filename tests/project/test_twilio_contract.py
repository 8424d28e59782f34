"""Our description of Twilio holds what is sent, and the client understands whatever it lets Twilio answer."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from urllib3 import HTTPResponse

from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError, TwilioUnavailableError
from call_recording.recordings.facts import Facts
from call_recording.twilio.api import RecordingResource, TwilioAccount
from call_recording.twilio.calls import Calls
from call_recording.twilio.credentials import Credentials, CredentialStore
from local.twilio_simulator.twilio import Answer, Request
from tests.twilio_contract import (
    Contract,
    Operation,
    answer_errors,
    document,
    operation_of,
    operations,
    request_of,
    resolved,
)

ACCOUNT, CALL, RECORDING = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
CONFERENCE = "CF" + "1" * 32
ROOT: Final = f"/2010-04-01/Accounts/{ACCOUNT}"
BASIC: Final = {"authorization": "Basic " + b64encode(b"AC:token").decode()}
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
SOON: Final = Deadline(20)
NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Store(CredentialStore):
    """Credentials that need no Secrets Manager, and never change."""

    def __init__(self) -> None:
        self.credentials = Credentials(ACCOUNT, "token")

    def get(self, _account_sid: str) -> Credentials:
        return self.credentials

    def to_send(self, account_sid: str) -> Credentials:
        return self.get(account_sid)

    def refresh(self, _account_sid: str) -> Credentials | None:
        return None


class Scripted(requests.Session):
    """A network that gives one answer, and keeps what it was asked."""

    def __init__(self, status: int = 500, body: bytes = b"") -> None:
        super().__init__()
        self.status, self.body = status, b"" if status == requests.codes.no_content else body
        self.sent: list[Request] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        body = request.body or b""
        sent = request_of(
            str(request.method),
            str(request.url),
            {name: str(value) for name, value in request.headers.items()},
            body.encode() if isinstance(body, str) else bytes(body),
        )
        self.sent.append(sent)
        response = requests.Response()
        response.status_code, response.url = self.status, str(request.url)
        response.raw = HTTPResponse(BytesIO(self.body), status=self.status, preload_content=False)
        return response


def account(network: requests.Session) -> TwilioAccount:
    return TwilioAccount(network, "https://api.twilio.com", Store(), ACCOUNT)


def _read_media(twilio: TwilioAccount) -> None:
    with twilio.media(RECORDING, suffix="wav", channels=1, deadline=SOON) as media:
        list(media.pieces(1000))


def _list_account(twilio: TwilioAccount) -> list[RecordingResource]:
    listed, page = twilio.list_recordings(created_after=NOON, created_before=NOON, page=None, deadline=SOON)
    assert page is None or isinstance(page, str)
    return listed


def _no_recordings(_: object) -> list[RecordingResource]:
    return []


def _all_pages(read: Callable[[], object]) -> list[RecordingResource]:
    """Read a list; one answer for every page makes a list without an end, which is given up."""
    try:
        read()
    except TwilioUnavailableError as error:
        if "pages" not in str(error):
            raise
    return []


METHODS: dict[str, Callable[[TwilioAccount], Any]] = {
    "create": lambda twilio: [twilio.create_call_recording(CALL, [("Trim", "do-not-trim")], deadline=SOON)],
    "list-of-call": lambda twilio: twilio.list_call_recordings(CALL, deadline=SOON),
    "update": lambda twilio: [twilio.update_call_recording(CALL, RECORDING, [("Status", "paused")], deadline=SOON)],
    "list-of-account": _list_account,
    "list-of-conference": lambda twilio: twilio.list_conference_recordings(CONFERENCE, deadline=SOON),
    "update-of-conference": lambda twilio: [
        twilio.update_conference_recording(CONFERENCE, RECORDING, [("Status", "paused")], deadline=SOON)
    ],
    "fetch-call": lambda twilio: _no_recordings(Calls(twilio, SOON).fetch(CALL)),
    "list-calls": lambda twilio: _all_pages(lambda: Calls(twilio, SOON).dialled_by(CALL)),
    "list-conferences": lambda twilio: _all_pages(lambda: Calls(twilio, SOON).conferences_in_progress(50)),
    "list-participants": lambda twilio: _all_pages(lambda: Calls(twilio, SOON).participants(CONFERENCE)),
    "fetch": lambda twilio: [twilio.fetch_recording(RECORDING, deadline=SOON)],
    "delete": lambda twilio: twilio.delete_recording(RECORDING, deadline=SOON),
    "media": _read_media,
}
"""How the client sends each operation."""

NOT_SENT: Final = {"fetch-conference", "fetch-participant"}
"""What is described, and the simulator answers, but the client does not send."""


def test_the_description_is_openapi() -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document())] == []


def test_the_client_sends_each_operation_and_no_other() -> None:
    sent: dict[str, str | None] = {}
    for name, send in METHODS.items():
        network = Scripted()
        with pytest.raises(CallRecordingError):
            send(account(network))
        contract = Contract()
        for request in network.sent:
            contract.observe(request, None)
            found = operation_of(request)
            sent[name] = found and found.operation_id
        assert contract.broken == []

    described = {operation.operation_id for operation in operations()}
    assert sent == {name: name for name in described - NOT_SENT}
    assert described >= NOT_SENT


BROKEN = {
    "not described": Request("PUT", f"{ROOT}/Calls/{CALL}/Recordings.json", headers=BASIC),
    "no parameter Colour": Request("GET", f"{ROOT}/Recordings.json", "Colour=red", BASIC),
    "PageSize": Request("GET", f"{ROOT}/Recordings.json", "PageSize=1001", BASIC),
    "AccountSid": Request("GET", "/2010-04-01/Accounts/AC1/Recordings.json", headers=BASIC),
    "without Basic": Request("GET", f"{ROOT}/Recordings.json"),
    "no body": Request("DELETE", f"{ROOT}/Recordings/{RECORDING}.json", headers=BASIC, body=b"a=b"),
    "no form": Request("POST", f"{ROOT}/Calls/{CALL}/Recordings.json", headers=BASIC, body=b"Trim=do-not-trim"),
    "Additional properties": Request("POST", f"{ROOT}/Calls/{CALL}/Recordings.json", "", BASIC | FORM, b"Trimm=x"),
    "is not one of": Request("POST", f"{ROOT}/Calls/{CALL}/Recordings.json", "", BASIC | FORM, b"Trim=x"),
    "repeats": Request("POST", f"{ROOT}/Calls/{CALL}/Recordings.json", "", BASIC | FORM, b"Trim=a&Trim=a"),
    "Status": Request("POST", f"{ROOT}/Calls/{CALL}/Recordings/Twilio.CURRENT.json", headers=BASIC),
    "list-calls: ParentCallSid": Request("GET", f"{ROOT}/Calls.json", "ParentCallSid=CA1", BASIC),
    "list-conferences: Status": Request("GET", f"{ROOT}/Conferences.json", "Status=over", BASIC),
    "fetch-participant: CallSid": Request("GET", f"{ROOT}/Conferences/{CONFERENCE}/Participants/me.json", "", BASIC),
    "list-of-conference: ConferenceSid": Request("GET", f"{ROOT}/Conferences/CF1/Recordings.json", "", BASIC),
    '"stopped" is not one of': Request(
        "POST", f"{ROOT}/Conferences/{CONFERENCE}/Recordings/{RECORDING}.json", "", BASIC | FORM, b"Status=stopped"
    ),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_a_request_that_is_not_described_is_noticed(sentence: str) -> None:
    contract = Contract()

    contract.observe(BROKEN[sentence], None)

    assert any(sentence in broken for broken in contract.broken), contract.broken


ODD_ANSWERS = {
    "sid": Answer(200, b'{"recordings": [{"sid": "RE1", "account_sid": "AC1", "status": "completed"}]}'),
    "recordings": Answer(200, b"{}"),
    "not answered 302": Answer(302),
    "is no text/html": Answer(503, b"<html>", "text/html"),
    "code": Answer(404, b"{}"),
}


@pytest.mark.parametrize("sentence", ODD_ANSWERS)
def test_an_answer_that_is_not_described_is_noticed(sentence: str) -> None:
    contract = Contract()

    contract.observe(Request("GET", f"{ROOT}/Recordings.json", headers=BASIC), ODD_ANSWERS[sentence])

    assert any(sentence in broken for broken in contract.broken), contract.broken


OF_CONFERENCE: Final = f"{ROOT}/Conferences/{CONFERENCE}"
ODD_ANSWERS_ABOUT_PEOPLE = {
    f"{ROOT}/Calls.json": {"calls": [{"sid": CALL, "account_sid": ACCOUNT}]},
    f"{ROOT}/Calls/{CALL}.json": {"sid": CALL, "account_sid": ACCOUNT, "status": None},
    f"{ROOT}/Conferences.json": {"calls": []},
    f"{OF_CONFERENCE}.json": {"sid": CALL, "account_sid": ACCOUNT, "status": "in-progress"},
    f"{OF_CONFERENCE}/Participants.json": {"participants": [{"sid": CALL}]},
    f"{OF_CONFERENCE}/Participants/{CALL}.json": {"call_sid": CALL},
    f"{OF_CONFERENCE}/Recordings.json": {"recordings": [{"sid": RECORDING}]},
}


@pytest.mark.parametrize("path", ODD_ANSWERS_ABOUT_PEOPLE)
def test_an_odd_answer_about_calls_and_conferences_is_noticed(path: str) -> None:
    contract = Contract()

    contract.observe(
        Request("GET", path, headers=BASIC), Answer(200, json.dumps(ODD_ANSWERS_ABOUT_PEOPLE[path]).encode())
    )

    assert contract.broken


# --- answers at random ---------------------------------------------------------------------------

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
WORDS: Final = st.sampled_from(
    ["", "0", "-1", "null", "completed", "Sun, 22 Nov 2026 07:33:00 +0000", "2026-11-22T07:33:00Z", "?Page=1&a"]
)


def values(described: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a schema of the description lets through; objects have fields of which it says nothing, too."""
    schema: dict[str, Any] = dict(resolved(described))
    properties = dict(schema.get("properties", {}))
    required = set(schema.get("required", ()))
    for part in map(resolved, schema.get("allOf", ())):
        properties = {**part.get("properties", {}), **properties}
        required |= set(part.get("required", ()))
    if isinstance(schema.get("type"), list):
        return st.one_of([values({**schema, "type": kind}) for kind in schema["type"]])
    match schema["type"]:
        case "object":
            others = st.dictionaries(st.text(max_size=8), JSON, max_size=2)
            held = st.fixed_dictionaries(
                {name: values(properties[name]) for name in required},
                optional={name: values(inner) for name, inner in properties.items() if name not in required},
            )
            return st.builds(lambda more, known: {**more, **known}, others, held)
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return (st.text(max_size=40) | WORDS).filter(lambda text: len(text) >= schema.get("minLength", 0))
    scalars = {
        "boolean": st.booleans(),
        "integer": st.integers(),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "null": st.none(),
    }
    return scalars[schema["type"]]


STATUSES: Final = {"4XX": (400, 401, 403, 404, 409, 429), "5XX": (500, 502, 503)}
ANSWERS: Final = [
    pytest.param(operation, status, content["application/json"]["schema"], id=f"{operation.operation_id} {status}")
    for operation in operations()
    if operation.operation_id in METHODS
    for status, response in operation.definition["responses"].items()
    if "application/json" in (content := resolved(response).get("content", {}))
]
often = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def facts_of(recording: RecordingResource) -> None:
    """Read a recording in every way in which the application does."""
    for read in (Facts.from_recording, Facts.from_fetched, Facts.from_updated):
        facts = read(recording)
        assert (facts.recording_sid, facts.account_sid) == (recording["sid"], recording["account_sid"])
        assert facts.status


@pytest.mark.parametrize(("operation", "status", "schema"), ANSWERS)
@given(data=st.data())
@often
def test_whatever_twilio_may_answer_is_understood_or_named(
    operation: Operation, status: str, schema: Mapping[str, Any], data: st.DataObject
) -> None:
    answer = data.draw(values(schema))
    number = data.draw(st.sampled_from(STATUSES[status] if status in STATUSES else (int(status),)))
    send = METHODS[operation.operation_id]

    twilio = account(Scripted(number, json.dumps(answer).encode()))

    if number >= 400:
        with pytest.raises(CallRecordingError):
            send(twilio)
        return
    assert list(answer_errors(operation, Answer(number, json.dumps(answer).encode()))) == []
    for recording in send(twilio):
        facts_of(recording)


def test_a_next_page_that_is_no_address_is_an_error_with_a_name() -> None:
    answer = {"recordings": [], "next_page_uri": "//["}

    with pytest.raises(TwilioUnavailableError, match="next page"):
        METHODS["list-of-account"](account(Scripted(200, json.dumps(answer).encode())))


@pytest.mark.parametrize("name", METHODS)
@given(status=st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 429, 500, 503]), answer=JSON)
@often
def test_whatever_else_comes_is_an_error_with_a_name(name: str, status: int, answer: Any) -> None:
    twilio = account(Scripted(status, json.dumps(answer).encode()))

    try:
        METHODS[name](twilio)
    except CallRecordingError:
        return
    assert name in {"delete", "media"} or answer.get("recordings") == []
