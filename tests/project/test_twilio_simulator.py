"""The simulated Twilio's own routes, which a person with curl makes things happen by."""

from collections.abc import Iterator

import pytest
import requests

from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account
from local.twilio_simulator.server import TwilioServer

ACCOUNT_SID = "AC" + "1" * 32


@pytest.fixture
def twilio() -> Iterator[TwilioServer]:
    server = TwilioServer()
    server.twilio.add_account(Account(ACCOUNT_SID, "first"))
    server.start()
    yield server
    server.close()


def ask(twilio: TwilioServer, method: str, route: str, **options: object) -> requests.Response:
    return requests.request(method, f"{twilio.url}/_simulator/{route}", json=options or None, timeout=5)


def is_accepted(twilio: TwilioServer, token: str) -> bool:
    url = f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings.json"
    return requests.get(url, auth=(ACCOUNT_SID, token), timeout=5).ok


def test_an_account_is_opened_and_can_be_called_in(twilio: TwilioServer) -> None:
    opened = ask(twilio, "POST", "accounts").json()

    call_sid = ask(twilio, "POST", "calls", account_sid=opened["account_sid"]).json()["call_sid"]

    assert twilio.twilio.accounts[opened["account_sid"]].auth_token == opened["auth_token"]
    assert twilio.twilio.calls[call_sid].account_sid == opened["account_sid"]


def test_calls_meet_in_a_conference_that_is_recorded(twilio: TwilioServer) -> None:
    call_sids = [ask(twilio, "POST", "calls").json()["call_sid"] for _ in range(2)]

    told = ask(twilio, "POST", "conferences", call_sids=call_sids).json()

    recording = twilio.twilio.recordings[told["recording_sid"]]
    assert (recording.source, recording.resource()["conference_sid"]) == ("Conference", told["conference_sid"])
    assert ask(twilio, "POST", "conferences", call_sids=["CA" + "2" * 32]).status_code == 404


def test_a_conference_can_go_without_being_recorded(twilio: TwilioServer) -> None:
    call_sid = ask(twilio, "POST", "calls").json()["call_sid"]

    told = ask(twilio, "POST", "conferences", call_sids=[call_sid], is_recorded=False).json()

    assert set(told) == {"conference_sid"}
    assert twilio.twilio.recordings == {}


def test_calls_come_to_a_conference_and_go_until_it_ends(twilio: TwilioServer) -> None:
    first, second = (ask(twilio, "POST", "calls").json()["call_sid"] for _ in range(2))
    sid = ask(twilio, "POST", "conferences", call_sids=[first]).json()["conference_sid"]
    joined = ask(twilio, "POST", f"conferences/{sid}/join", call_sid=second).json()
    left = ask(twilio, "POST", f"conferences/{sid}/leave", call_sid=first).json()
    present = [one.call.sid for one in twilio.twilio.conferences[sid].present]

    ended = ask(twilio, "POST", f"conferences/{sid}/end").json()

    assert joined == left == {"conference_sid": sid, "status": "in-progress"}
    assert present == [second]
    assert ended == {"conference_sid": sid, "status": "completed"}
    assert [one.is_live for one in twilio.twilio.calls.values()] == [True, True]
    for route in ("join", "leave", "end"):
        assert ask(twilio, "POST", f"conferences/{sid}/{route}", call_sid=second).status_code == 404


def test_only_who_is_there_can_join_or_leave(twilio: TwilioServer) -> None:
    first, second = (ask(twilio, "POST", "calls").json()["call_sid"] for _ in range(2))
    sid = ask(twilio, "POST", "conferences", call_sids=[first]).json()["conference_sid"]
    ask(twilio, "POST", f"calls/{second}/hang-up")

    statuses = [
        ask(twilio, "POST", "conferences", call_sids=[first, second]).status_code,
        ask(twilio, "POST", "conferences").status_code,
        ask(twilio, "POST", f"conferences/{sid}/join", call_sid=second).status_code,
        ask(twilio, "POST", f"conferences/{sid}/leave", call_sid=second).status_code,
        ask(twilio, "POST", f"conferences/{sid}/leave").status_code,
        ask(twilio, "POST", f"conferences/{sid}/dance", call_sid=first).status_code,
    ]

    assert statuses == [404] * 6
    assert [one.call.sid for one in twilio.twilio.conferences[sid].present] == [first]


def test_a_recording_is_started_past_the_api_and_calls_back(twilio: TwilioServer) -> None:
    call_sid = ask(twilio, "POST", "calls").json()["call_sid"]
    hook = "http://127.0.0.1:9/#rc=0"

    by_twiml = ask(twilio, "POST", f"calls/{call_sid}/record").json()
    by_dial = ask(twilio, "POST", f"calls/{call_sid}/record", source="DialVerb", callback_url=hook).json()

    sources = {one.sid: (one.source, one.target and one.target.url) for one in twilio.twilio.recordings.values()}
    assert sources == {
        by_twiml["recording_sid"]: ("StartCallRecordingTwiML", None),
        by_dial["recording_sid"]: ("DialVerb", hook),
    }
    assert ask(twilio, "POST", f"calls/{call_sid}/record", source="Conference").status_code == 404
    ask(twilio, "POST", f"calls/{call_sid}/hang-up")
    assert ask(twilio, "POST", f"calls/{call_sid}/record").status_code == 404
    assert ask(twilio, "POST", f"calls/{call_sid}/transfer").status_code == 404


def test_a_call_is_transferred_to_a_new_leg(twilio: TwilioServer) -> None:
    call_sid = ask(twilio, "POST", "calls").json()["call_sid"]
    before = ask(twilio, "POST", "calls", parent_call_sid=call_sid).json()["call_sid"]

    told = ask(twilio, "POST", f"calls/{call_sid}/transfer").json()

    legs = {sid: call.is_live for sid, call in twilio.twilio.calls.items() if call.parent}
    assert legs == {before: False, told["leg_call_sid"]: True}


def test_what_can_be_heard_is_shown_with_each_recording(twilio: TwilioServer) -> None:
    call_sid = ask(twilio, "POST", "calls").json()["call_sid"]
    recording_sid = ask(twilio, "POST", f"calls/{call_sid}/record").json()["recording_sid"]
    path = f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{call_sid}/Recordings/{recording_sid}.json"
    (running,) = ask(twilio, "GET", "recordings").json()

    paused = requests.post(path, data={"Status": "paused"}, auth=(ACCOUNT_SID, "first"), timeout=5).json()
    (shown,) = ask(twilio, "GET", "recordings").json()

    recording = twilio.twilio.recordings[recording_sid]
    assert running["audible"] == [[recording.started_at, None]]
    assert paused["status"] == "paused"
    assert shown["audible"] == [[recording.started_at, recording.paused_at]]


def test_a_secondary_token_is_accepted_beside_the_first_until_it_takes_its_place(twilio: TwilioServer) -> None:
    made = ask(twilio, "POST", f"accounts/{ACCOUNT_SID}/auth-tokens/secondary").json()
    new = made["secondary_auth_token"]
    assert (is_accepted(twilio, "first"), is_accepted(twilio, new)) == (True, True)

    promoted = ask(twilio, "POST", f"accounts/{ACCOUNT_SID}/auth-tokens/promote").json()

    assert promoted == {"account_sid": ACCOUNT_SID, "auth_token": new}
    assert (is_accepted(twilio, "first"), is_accepted(twilio, new)) == (False, True)
    assert twilio.twilio.accounts[ACCOUNT_SID].auth_token == new, "callbacks are signed with it"


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("POST", f"accounts/{ACCOUNT_SID}/auth-tokens/promote"),
        ("POST", f"accounts/AC{'2' * 32}/auth-tokens/secondary"),
        ("POST", f"calls/CA{'2' * 32}/hang-up"),
        ("POST", "recordings"),
        ("GET", "calls"),
        ("DELETE", "recordings"),
    ],
)
def test_what_is_not_there_is_404(twilio: TwilioServer, method: str, route: str) -> None:
    assert ask(twilio, method, route).status_code == 404


def test_faults_come_in_the_order_in_which_they_were_asked_for(twilio: TwilioServer) -> None:
    requests_to_come = [{"answer": 500}, None, {"answer": "cut", "after_acting": True}]

    told = ask(twilio, "POST", "faults", requests=requests_to_come, callbacks=[[], [0, 1]], media=["html"]).json()

    faults = twilio.twilio.faults
    assert list(faults.requests) == [RequestFault(500), None, RequestFault("cut", after_acting=True)]
    assert (list(faults.callbacks), list(faults.media)) == ([(), (0, 1)], ["html"])
    assert told == {"requests": 3, "callbacks": 2, "media": 1}


def test_each_attempt_to_call_back_is_shown_with_its_answer(twilio: TwilioServer) -> None:
    with twilio.locked() as state:
        recording = state.record(
            state.begin_call(ACCOUNT_SID),
            {"RecordingStatusCallback": ["http://127.0.0.1:9/#rc=0"], "RecordingStatusCallbackEvent": ["in-progress"]},
        )

    while not (shown := ask(twilio, "GET", "callbacks").json()):
        pass

    assert shown == [
        {"AccountSid": ACCOUNT_SID, "RecordingSid": recording.sid, "RecordingStatus": "in-progress", "answer": None}
    ]
