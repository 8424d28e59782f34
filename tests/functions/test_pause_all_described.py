"""What is answered and done about `ALL` is what the API's description and the sample events say."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from samcli.yamlhelper import yaml_parse

from call_recording.bus import STARTED_WHILE_PAUSED, STILL_PAUSED
from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID, NEXT_RECORDING_SID
from local.stack import PROJECT
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Bus, Context

Api = Callable[..., dict[str, Any]]
Ask = Callable[..., dict[str, Any]]
Sample = Callable[[str], dict[str, Any]]

CONTROL = "control-all-rest-api.json"
COSTS = PROJECT / "docs/reference/costs.md"
PAUSE, RESUME = {"Status": "paused"}, {"Status": "in-progress"}
ALONE = PAUSE | {"ConferenceSid": "none"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(yaml_parse((PROJECT / "docs/reference/openapi.yaml").read_text())))
    return loaded


@pytest.fixture
def described(document: dict[str, Any], api: Api) -> Api:
    """Return a function that asks for `ALL`, and gives an answer that the API's description has."""
    responses = document["paths"]["/calls/{CallSid}/recordings/{RecordingSid}"]["post"]["responses"]

    def send(body: object = None) -> dict[str, Any]:
        answer = api(CONTROL, body)
        response = responses[str(answer["statusCode"])]
        if "$ref" in response:
            response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        (content,) = response["content"].values()
        whole = {"components": document["components"], "allOf": [content["schema"]]}
        Draft202012Validator(whole, validate_formats=True).validate(answer["json"])
        return answer

    return send


@pytest.fixture
def recording(twilio: TwilioServer, table: RecordingsTable) -> Recording:
    """A recording that runs on the call, and has its row."""
    with twilio.locked() as simulated:
        recording = simulated.record(simulated.calls[CALL_SID])
    resource = recording.resource(status="in-progress")
    table.record(Facts.from_recording(RecordingResource(resource, api_url=twilio.url)))
    return recording


def named(answer: dict[str, Any]) -> str:
    return str(answer["json"].get("type", "")).rpartition(":")[2]


def test_the_sample_request_pauses_everything_and_a_resume_undoes_it(described: Api, recording: Recording) -> None:
    paused = described()
    again = described()
    resumed = described(RESUME)
    nothing = described(RESUME)

    assert [answer["statusCode"] for answer in (paused, again, resumed, nothing)] == [200] * 4
    assert paused["json"]["paused"] == again["json"]["paused"] == [{"sid": recording.sid, "was": "in-progress"}]
    assert (again["json"]["group"], resumed["json"]["group"]) == (paused["json"]["group"],) * 2
    assert resumed["json"]["resumed"] == [{"sid": recording.sid}]
    assert nothing["json"] == {"group": None, "resumed": [], "left_paused": []}
    assert recording.status == "in-progress"


def test_where_nothing_is_active_the_answer_is_as_described(described: Api) -> None:
    answer = described(ALONE)

    assert (answer["statusCode"], answer["json"]["paused"]) == (200, [])
    assert answer["json"]["scope"] == {"calls": [CALL_SID], "conferences": [], "asserted": True}


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        (RequestFault(400, code=20001), 409, "still-recording"),
        (RequestFault(500), 503, "pause-unproven"),
        (RequestFault(429), 504, "pause-timed-out"),
    ],
)
def test_what_twilio_does_not_pause_is_answered_as_described(
    described: Api,
    twilio: TwilioServer,
    recording: Recording,
    monkeypatch: pytest.MonkeyPatch,
    fault: RequestFault,
    status: int,
    name: str,
) -> None:
    def for_each_change() -> RequestFault | None:
        return fault if twilio.twilio.requests[-1].method == "POST" else None

    monkeypatch.setattr(twilio.twilio.faults, "next_for_request", for_each_change)

    answer = described(ALONE)

    assert (answer["statusCode"], named(answer)) == (status, name)
    told = answer["json"]["still_recording"] + answer["json"]["unresolved"]
    assert [one["sid"] for one in told] == [recording.sid]
    assert recording.status == "in-progress"


def test_a_conference_that_the_call_is_not_in_and_too_many_of_them_are_answered_as_described(
    described: Api, twilio: TwilioServer
) -> None:
    with twilio.locked() as simulated:
        others = [simulated.begin_call(ACCOUNT_SID) for _ in range(102)]
        met = [simulated.begin_conference(others[first : first + 2]) for first in range(0, 102, 2)]

    elsewhere = described(PAUSE | {"ConferenceSid": met[0].sid})
    too_many = described(PAUSE)

    assert (elsewhere["statusCode"], named(elsewhere)) == (422, "not-a-participant")
    assert (too_many["statusCode"], named(too_many)) == (409, "scope-unproven")


def test_stopped_does_not_go_with_all(described: Api) -> None:
    answer = described({"Status": "stopped"})

    assert (answer["statusCode"], answer["json"]["errors"][0]["field"]) == (400, "Status")


def test_a_start_where_everything_is_paused_is_answered_as_described(
    described: Api, ask: Ask, document: dict[str, Any]
) -> None:
    group = described(ALONE)["json"]["group"]

    answer = ask({}, key="call-1")
    described(RESUME)
    afterwards = ask({}, key="call-1")

    example = document["components"]["examples"]["call-paused"]["value"]
    assert answer["statusCode"] == 409
    assert answer["json"] == example | {"group": group}
    assert afterwards["statusCode"] == 201


def test_the_sample_event_pauses_everything(recordings_api: ModuleType, sample: Sample, recording: Recording) -> None:
    recordings_api.handler(sample("control-all-eventbridge.json"), Context())

    assert recording.status == "paused"


def test_the_sample_of_a_new_recording_is_looked_after(
    recordings_api: ModuleType, sample: Sample, described: Api, twilio: TwilioServer, table: RecordingsTable, bus: Bus
) -> None:
    group = described(ALONE)["json"]["group"]
    with twilio.locked() as simulated:
        late = simulated.record(simulated.calls[CALL_SID], source="RecordVerb")
        simulated.recordings[NEXT_RECORDING_SID] = late
        late.sid = NEXT_RECORDING_SID
    resource = RecordingResource(late.resource(status="in-progress"), api_url=twilio.url)
    table.record(Facts.from_recording(resource))

    recordings_api.handler(sample("new-while-paused-eventbridge.json"), Context())

    (told,) = bus.events(STARTED_WHILE_PAUSED)
    assert (told["group"], told["recording_sid"], told["paused"]) == (group, NEXT_RECORDING_SID, True)
    assert late.status == "paused"


def test_a_made_up_event_pauses_nothing_outside_of_what_is_paused(
    recordings_api: ModuleType, sample: Sample, described: Api, twilio: TwilioServer, table: RecordingsTable, bus: Bus
) -> None:
    described(ALONE)
    with twilio.locked() as simulated:
        elsewhere = simulated.record(simulated.begin_call(ACCOUNT_SID))
    resource = RecordingResource(elsewhere.resource(status="in-progress"), api_url=twilio.url)
    table.record(Facts.from_recording(resource))

    for sid in (elsewhere.sid, NEXT_RECORDING_SID):
        event = sample("new-while-paused-eventbridge.json")
        event["detail"] |= {"recording_sid": sid, "call_sid": CALL_SID, "status": "in-progress"}
        recordings_api.handler(event, Context())

    assert elsewhere.status == "in-progress"
    assert bus.events(STARTED_WHILE_PAUSED) == []


def among(twilio: TwilioServer, conferences: int) -> str:
    """Let the call meet two others in a conference that is recorded, among so many; return its SID."""
    with twilio.locked() as simulated:
        others = [simulated.begin_call(ACCOUNT_SID) for _ in range(2 * conferences)]
        met = simulated.begin_conference([simulated.calls[CALL_SID], *others[:2]])
        simulated.record_conference(met)
        for first in range(2, 2 * conferences, 2):
            simulated.begin_conference(others[first : first + 2])
    return met.sid


@pytest.mark.parametrize(
    ("what", "conferences", "more"),
    [
        ("one recording with a row, `ConferenceSid: none`", 0, {"ConferenceSid": "none"}),
        ("the same, and its conference is looked for among none", 0, {}),
        ("three calls in a conference that is recorded too, `ConferenceSid` given", 1, {"ConferenceSid": None}),
        ("the same, looked for among 1 conference", 1, {}),
        ("the same, looked for among 50 conferences", 50, {}),
    ],
)
def test_twilio_is_asked_as_often_as_the_costs_say(
    described: Api, twilio: TwilioServer, recording: Recording, what: str, conferences: int, more: dict[str, Any]
) -> None:
    met = among(twilio, conferences) if conferences else ""
    (row,) = [line for line in COSTS.read_text().splitlines() if line.startswith(f"| {what} |")]
    twilio.twilio.requests.clear()

    answer = described(PAUSE | {name: value or met for name, value in more.items()})

    assert answer["statusCode"] == 200
    assert {one["sid"] for one in answer["json"]["paused"]} > {recording.sid} or not conferences
    assert len(twilio.twilio.requests) == int(row.strip("| ").rpartition(" ")[2])


def test_the_sample_timer_of_a_pause_that_nobody_knows_tells_nothing(
    recordings_api: ModuleType, sample: Sample, bus: Bus
) -> None:
    recordings_api.handler(sample("resume-timer-all.json"), Context())

    assert bus.events(STILL_PAUSED) == []
