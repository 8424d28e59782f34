"""A recording that was asked for on one leg of a call, and is the other leg's for Twilio, is found by both."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording.bus import STILL_PAUSED
from call_recording.callbacks.facts import callback_facts
from call_recording.recordings.row import attributes
from call_recording.recordings.table import RecordingsTable
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.server import TwilioServer
from tests.conftest import TIMER_GROUP, Bus, Context

Ask = Callable[..., dict[str, Any]]
Api = Callable[..., dict[str, Any]]

PARENT = "CA" + "9" * 32
OF_CALL = "list-of-call-rest-api.json"


@pytest.fixture
def recording_sid(ask: Ask, table: RecordingsTable) -> str:
    """A recording that was asked for on the child leg, of which Twilio then called back with the parent's SID."""
    sid: str = ask(key="key-1")["json"]["sid"]
    told = {"RecordingSid": sid, "AccountSid": ACCOUNT_SID, "CallSid": PARENT, "RecordingStatus": "in-progress"}
    table.record(callback_facts(told.items()))
    return sid


def found(api: Api, call_sid: str, **query: str) -> list[tuple[str, str, str | None]]:
    listed = api(OF_CALL, path={"CallSid": call_sid}, query=query)["json"]["recordings"]
    return [(row["recording_sid"], row["call_sid"], row.get("requested_call_sid")) for row in listed]


def test_both_calls_list_it(api: Api, recording_sid: str) -> None:
    expected = [(recording_sid, PARENT, CALL_SID)]

    assert found(api, CALL_SID) == expected
    assert found(api, PARENT) == expected
    assert found(api, CALL_SID, AccountSid="AC" + "f" * 32) == []
    assert api("get-rest-api.json", path={"RecordingSid": recording_sid})["json"]["requested_call_sid"] == CALL_SID


def test_a_call_lists_its_own_and_those_that_were_asked_for_on_it_page_by_page(
    ask: Ask, api: Api, recording_sid: str
) -> None:
    own = [ask()["json"]["sid"] for _ in range(2)]
    pages: list[list[str]] = []
    more: dict[str, str] = {}

    while True:
        answer = api(OF_CALL, path={"CallSid": CALL_SID}, query={"PageSize": "1"} | more)["json"]
        pages.append([row["recording_sid"] for row in answer["recordings"]])
        if answer["next_page_token"] is None:
            break
        more = {"PageToken": answer["next_page_token"]}

    assert [len(page) for page in pages] == [1, 1, 1]
    assert {sid for page in pages for sid in page} == {*own, recording_sid}
    assert pages[-1] == [recording_sid], "it is another call's for Twilio"


def test_a_recording_of_the_call_that_was_asked_for_is_listed_once(ask: Ask, api: Api) -> None:
    sid = ask()["json"]["sid"]

    assert found(api, CALL_SID) == [(sid, CALL_SID, CALL_SID)]


def test_the_table_s_reader_finds_it_newest_first(ask: Ask, table: RecordingsTable, recording_sid: str) -> None:
    newer = ask()["json"]["sid"]
    table.client.update_item(
        TableName=table.name,
        Key={"recording_sid": {"S": newer}},
        UpdateExpression="SET start_time = :later",
        ExpressionAttributeValues={":later": {"S": "2026-11-23T00:00:00Z"}},
    )

    for call_sid, expected in ((CALL_SID, [newer, recording_sid]), (PARENT, [recording_sid])):
        for is_enough in (False, True):
            all_of_it = table.reader.all_of_call(call_sid, account_sid=ACCOUNT_SID, is_enough=lambda: is_enough)  # noqa: B023
            assert [row["recording_sid"] for row in all_of_it] == expected
            assert all("start_time" not in row for row in all_of_it), "nobody wanted it"


def test_a_start_whose_note_was_lost_finds_the_row_that_it_wrote(
    ask: Ask, twilio: TwilioServer, table: RecordingsTable, recording_sid: str
) -> None:
    """Twilio lists the recording under the other leg alone by then, and somebody began another one on this."""
    with twilio.locked() as simulated:
        simulated.recordings[recording_sid].call = simulated.begin_call(ACCOUNT_SID, call_sid=PARENT)
        simulated.faults.requests.append(RequestFault("cut"))
    set_attributes(table, recording_sid, intent="http#key-2")

    answer = ask(key="key-2")

    assert (answer["statusCode"], answer["json"]["sid"]) == (201, recording_sid)
    assert len(twilio.twilio.recordings) == 1


def set_attributes(table: RecordingsTable, recording_sid: str, **texts: str) -> None:
    table.client.put_item(TableName=table.name, Item=attributes(table.reader.one(recording_sid) | texts))


def test_a_watched_pause_by_the_leg_that_was_asked_for_is_looked_after(
    recordings_api: ModuleType, api: Api, bus: Bus, table: RecordingsTable, recording_sid: str
) -> None:
    wanted = {"Status": "paused", "ResumeWithinSeconds": 60}
    path = {"CallSid": CALL_SID, "RecordingSid": "Twilio.CURRENT"}
    assert api("control-rest-api.json", wanted, path=path)["statusCode"] == 200
    # The simulator answers with the leg that it was asked for, and Twilio with the other.
    set_attributes(table, recording_sid, call_sid=PARENT, requested_other_call_sid=CALL_SID, reference="room-17")

    scheduler = boto3.client("scheduler")
    (schedule,) = scheduler.list_schedules(GroupName=TIMER_GROUP)["Schedules"]
    timer = scheduler.get_schedule(GroupName=TIMER_GROUP, Name=schedule["Name"])["Target"]["Input"]
    recordings_api.handler(json.loads(timer), Context())

    (told,) = bus.events(STILL_PAUSED)
    assert (told["recording_sid"], told["status"], told["reference"]) == (recording_sid, "paused", "room-17")
