"""Pausing everything that hears a call: a 200 that proves that nothing records, and a resume that undoes no more."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from call_recording.recordings.facts import Facts
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.model import Call, Conference, Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Time

Api = Callable[..., dict[str, Any]]
PAUSE, RESUME = {"Status": "paused"}, {"Status": "in-progress"}
NO_CONFERENCE = {"ConferenceSid": "none"}


@pytest.fixture
def pause(api: Api) -> Api:
    def send(call_sid: str = CALL_SID, *, key: str | None = None, **more: Any) -> dict[str, Any]:
        return api("control-rest-api.json", PAUSE | more, key=key, path={"CallSid": call_sid, "RecordingSid": "ALL"})

    return send


@pytest.fixture
def resume(api: Api) -> Api:
    def send(call_sid: str = CALL_SID, **more: Any) -> dict[str, Any]:
        return api("control-rest-api.json", RESUME | more, path={"CallSid": call_sid, "RecordingSid": "ALL"})

    return send


def record(twilio: TwilioServer, call_sid: str = CALL_SID, *, source: str = "StartCallRecordingAPI") -> Recording:
    with twilio.locked() as simulated:
        return simulated.record(simulated.calls[call_sid], source=source)


def with_row(twilio: TwilioServer, table: RecordingsTable, recording: Recording) -> Recording:
    resource = recording.resource(status="in-progress")
    table.record(Facts.from_recording(RecordingResource(resource, api_url=twilio.url)))
    return recording


def dial(twilio: TwilioServer, parent: str = CALL_SID) -> Call:
    with twilio.locked() as simulated:
        return simulated.begin_call(ACCOUNT_SID, parent_call_sid=parent)


def meet(twilio: TwilioServer, *call_sids: str) -> Conference:
    with twilio.locked() as simulated:
        return simulated.begin_conference([simulated.calls[sid] for sid in call_sids])


def sids(items: list[dict[str, str]]) -> set[str]:
    return {item["sid"] for item in items}


def test_smoke(pause: Api, resume: Api, twilio: TwilioServer, table: RecordingsTable, time: Time) -> None:
    one, two = with_row(twilio, table, record(twilio)), record(twilio, source="RecordVerb")
    twilio.twilio.requests.clear()
    answer = pause()
    print(json.dumps(answer["json"], indent=1))
    print([(r.method, r.path[-60:], r.query) for r in twilio.twilio.requests])
    print(json.dumps(resume()["json"], indent=1))
    assert one.status == two.status == "in-progress"
    assert 0
