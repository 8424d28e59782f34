"""Calls, conferences and who takes part in them, as the simulated Twilio shows them to whoever asks."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Call, Conference
from local.twilio_simulator.twilio import Answer, Request, Twilio
from tests.project.conftest import Now, basic
from tests.twilio_contract import Contract, operation_of

ACCOUNT, OTHER, CALL = "AC" + "1" * 32, "AC" + "2" * 32, "CA" + "1" * 32
ROOT = f"/2010-04-01/Accounts/{ACCOUNT}"


@pytest.fixture
def twilio(now: Now) -> Iterator[Twilio]:
    """Give a Twilio with a call, whose answers are as our description has them."""
    made, contract = Twilio(clock=lambda: now.seconds, base_url="https://api.twilio.com"), Contract()
    made.observe = contract.observe_answer
    for account_sid in (ACCOUNT, OTHER):
        made.add_account(Account(account_sid, "token"))
    made.begin_call(ACCOUNT, call_sid=CALL)
    yield made
    assert contract.broken == []


@pytest.fixture
def call(twilio: Twilio) -> Call:
    return twilio.calls[CALL]


@pytest.fixture
def conference(twilio: Twilio, call: Call) -> Conference:
    return twilio.begin_conference([call, twilio.begin_call(ACCOUNT)])


def get(twilio: Twilio, path: str, query: str = "", *, user: str = ACCOUNT) -> Answer:
    return twilio.handle(Request("GET", path, query, basic(user)))


def refusal(answer: Answer) -> tuple[int, int]:
    assert answer.json()["status"] == answer.status
    return answer.status, answer.json()["code"]


def listed(twilio: Twilio, name: str, query: str = "") -> list[str]:
    """Follow a list to its end; return the SIDs."""
    path, key = f"{ROOT}/{name}.json", name.rpartition("/")[2].lower()
    found: list[dict[str, Any]] = []
    while True:
        page = get(twilio, path, query).json()
        found += page[key]
        if page["next_page_uri"] is None:
            return [str(one.get("sid", one.get("call_sid"))) for one in found]
        path, query = urlsplit(page["next_page_uri"]).path, urlsplit(page["next_page_uri"]).query


def participants(twilio: Twilio, conference: Conference) -> set[str]:
    return set(listed(twilio, f"Conferences/{conference.sid}/Participants"))


def test_a_call_that_goes_on_has_neither_end_nor_length(twilio: Twilio, now: Now) -> None:
    now.seconds += 10

    shown = get(twilio, f"{ROOT}/Calls/{CALL}.json").json()

    assert (shown["status"], shown["end_time"], shown["duration"]) == ("in-progress", None, None)
    assert (shown["direction"], shown["parent_call_sid"]) == ("inbound", None)
    assert (shown["from"], shown["to"]) == (None, None)
    assert shown["start_time"] == "Sun, 22 Nov 2026 07:33:00 +0000"
    assert shown["uri"] == f"{ROOT}/Calls/{CALL}.json"
    assert shown["subresource_uris"]["recordings"] == f"{ROOT}/Calls/{CALL}/Recordings.json"


def test_a_call_that_is_over_says_when_it_ended_and_how_long_it_was(twilio: Twilio, now: Now) -> None:
    now.seconds += 10
    twilio.hang_up(CALL)
    now.seconds += 10

    shown = get(twilio, f"{ROOT}/Calls/{CALL}.json").json()

    assert (shown["status"], shown["duration"]) == ("completed", "10")
    assert shown["end_time"] == shown["date_updated"] == "Sun, 22 Nov 2026 07:33:10 +0000"


def test_a_call_rings_until_it_can_be_recorded(twilio: Twilio, now: Now) -> None:
    late = twilio.begin_call(ACCOUNT, in_progress_after_seconds=3)
    ringing = get(twilio, f"{ROOT}/Calls/{late.sid}.json").json()
    now.seconds += 3
    answered = get(twilio, f"{ROOT}/Calls/{late.sid}.json").json()

    assert (ringing["status"], ringing["start_time"]) == ("ringing", None)
    assert (answered["status"], answered["start_time"]) == ("in-progress", "Sun, 22 Nov 2026 07:33:03 +0000")


def test_the_legs_of_a_call_are_listed_by_their_parent_and_status(twilio: Twilio) -> None:
    first = twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    twilio.hang_up(first.sid)
    second = twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    twilio.begin_call(ACCOUNT, parent_call_sid=second.sid)

    shown = get(twilio, f"{ROOT}/Calls/{second.sid}.json").json()

    assert (shown["parent_call_sid"], shown["direction"]) == (CALL, "outbound-dial")
    assert listed(twilio, "Calls", f"ParentCallSid={CALL}") == [second.sid, first.sid]
    assert listed(twilio, "Calls", f"ParentCallSid={CALL}&Status=in-progress") == [second.sid]
    assert listed(twilio, "Calls", "Status=completed") == [first.sid]
    assert listed(twilio, "Calls", f"ParentCallSid={first.sid}") == []
    assert len(listed(twilio, "Calls")) == 4


def test_a_page_of_legs_stays_where_it_is_when_legs_come_and_go(twilio: Twilio) -> None:
    legs = [twilio.begin_call(ACCOUNT, parent_call_sid=CALL).sid for _ in range(4)]
    query = f"ParentCallSid={CALL}&Status=in-progress&PageSize=2"
    first = get(twilio, f"{ROOT}/Calls.json", query).json()

    twilio.begin_call(ACCOUNT, parent_call_sid=CALL)
    twilio.hang_up(legs[2])  # it was the last one on the page
    following = urlsplit(first["next_page_uri"])
    second = get(twilio, following.path, following.query).json()

    assert [one["sid"] for one in first["calls"]] == [legs[3], legs[2]]
    assert [one["sid"] for one in second["calls"]] == [legs[1], legs[0]]
    assert (second["next_page_uri"], second["page_size"], second["start"], second["end"]) == (None, 2, 2, 3)


def test_fifty_are_on_a_page_where_nothing_else_is_said(twilio: Twilio) -> None:
    for _ in range(50):
        twilio.begin_conference([twilio.begin_call(ACCOUNT)])
    full = get(twilio, f"{ROOT}/Conferences.json").json()
    twilio.begin_conference([twilio.begin_call(ACCOUNT)])

    assert (len(full["conferences"]), full["next_page_uri"]) == (50, None)
    assert len(get(twilio, f"{ROOT}/Conferences.json").json()["conferences"]) == 50
    assert len(listed(twilio, "Conferences")) == 51


@pytest.mark.parametrize("query", ["PageSize=1001", "PageSize=x", "PageToken=PAx", "Status=over"])
@pytest.mark.parametrize("name", ["Calls", "Conferences"])
def test_a_list_that_cannot_be_is_refused(twilio: Twilio, name: str, query: str) -> None:
    assert refusal(get(twilio, f"{ROOT}/{name}.json", query)) == (400, 20001)


def test_a_conference_waits_for_the_second_one_and_is_over_without_the_last(
    twilio: Twilio, now: Now, call: Call
) -> None:
    other, conference = twilio.begin_call(ACCOUNT), twilio.begin_conference([call])

    def shown() -> dict[str, Any]:
        return dict(get(twilio, f"{ROOT}/Conferences/{conference.sid}.json").json())

    waiting = shown()
    now.seconds += 1
    twilio.join(conference, other)
    running = shown()
    now.seconds += 1
    twilio.leave(call)
    still = shown()
    now.seconds += 1
    twilio.leave(other)
    over = shown()

    assert [one["status"] for one in (waiting, running, still, over)] == [
        *("init", "in-progress", "in-progress", "completed")
    ]
    assert [one["date_updated"][-14:-6] for one in (waiting, running, over)] == ["07:33:00", "07:33:01", "07:33:03"]
    assert (still["reason_conference_ended"], still["call_sid_ending_conference"]) == (None, None)
    assert over["reason_conference_ended"] == "last-participant-left"
    assert over["call_sid_ending_conference"] == other.sid
    assert (call.is_live, other.is_live) == (True, True)


def test_conferences_are_listed_by_their_status(twilio: Twilio, conference: Conference) -> None:
    waiting = twilio.begin_conference([twilio.begin_call(ACCOUNT)])
    over = twilio.begin_conference([twilio.begin_call(ACCOUNT)])
    twilio.end_conference(over.sid)

    assert listed(twilio, "Conferences", "Status=in-progress") == [conference.sid]
    assert listed(twilio, "Conferences", "Status=init") == [waiting.sid]
    assert listed(twilio, "Conferences", "Status=completed") == [over.sid]
    assert listed(twilio, "Conferences", "PageSize=1") == [over.sid, waiting.sid, conference.sid]
    assert refusal(get(twilio, f"{ROOT}/Conferences/{over.sid}/Participants/{CALL}.json")) == (404, 20404)


def test_who_takes_part_is_found_by_the_call_until_it_leaves(
    twilio: Twilio, call: Call, conference: Conference
) -> None:
    path = f"{ROOT}/Conferences/{conference.sid}/Participants/{CALL}.json"
    shown = get(twilio, path).json()

    twilio.leave(call)
    left = get(twilio, path)
    gone = participants(twilio, conference)
    twilio.join(conference, call)

    assert (shown["call_sid"], shown["conference_sid"], shown["status"]) == (CALL, conference.sid, "connected")
    assert (shown["muted"], shown["hold"], shown["uri"]) == (False, False, path)
    assert refusal(left) == (404, 20404)
    assert CALL not in gone
    assert get(twilio, path).status == 200
    assert len(participants(twilio, conference)) == 2


def test_a_call_takes_part_in_one_conference_at_a_time(twilio: Twilio, call: Call, conference: Conference) -> None:
    other = twilio.begin_conference([twilio.begin_call(ACCOUNT)])

    twilio.join(other, call)

    assert CALL not in participants(twilio, conference)
    assert CALL in participants(twilio, other)
    third = twilio.begin_conference([call])
    assert CALL not in participants(twilio, other)
    assert participants(twilio, third) == {CALL}


def test_whoever_joins_again_is_there_once(twilio: Twilio, call: Call) -> None:
    conference = twilio.begin_conference([call])

    twilio.join(conference, call)

    assert (conference.status, len(conference.participants)) == ("init", 1)


def test_what_is_over_cannot_be_joined_nor_join(twilio: Twilio, call: Call, conference: Conference) -> None:
    over = twilio.begin_call(ACCOUNT)
    twilio.hang_up(over.sid)
    with pytest.raises(ValueError, match="over"):
        twilio.join(conference, over)
    twilio.end_conference(conference.sid)

    with pytest.raises(ValueError, match="over"):
        twilio.join(conference, call)

    assert participants(twilio, conference) == set()


def test_participants_come_page_by_page_and_can_leave_meanwhile(twilio: Twilio) -> None:
    calls = [twilio.begin_call(ACCOUNT) for _ in range(4)]
    conference = twilio.begin_conference(calls)
    path = f"{ROOT}/Conferences/{conference.sid}/Participants.json"
    first = get(twilio, path, "PageSize=2").json()

    twilio.leave(calls[2])  # it was the last one on the page
    following = urlsplit(first["next_page_uri"])
    second = get(twilio, following.path, following.query).json()

    assert [one["call_sid"] for one in first["participants"]] == [calls[3].sid, calls[2].sid]
    assert [one["call_sid"] for one in second["participants"]] == [calls[1].sid, calls[0].sid]
    assert refusal(get(twilio, path, "Muted=perhaps")) == (400, 20001)
    assert get(twilio, path, "Muted=true").json()["participants"] == []
    assert len(get(twilio, path, "Hold=false").json()["participants"]) == 3


def paths(conference: Conference) -> list[str]:
    """Return every new route."""
    of_conference = f"/Conferences/{conference.sid}"
    participants = f"{of_conference}/Participants"
    lists = ("/Calls", "/Conferences")
    return [*lists, f"/Calls/{CALL}", of_conference, participants, f"{participants}/{CALL}"]


def test_nobody_sees_another_accounts_calls_and_conferences(twilio: Twilio, conference: Conference) -> None:
    for path in paths(conference):
        assert refusal(get(twilio, f"{ROOT}{path}.json", user=OTHER)) == (401, 20003)
        answer = get(twilio, f"/2010-04-01/Accounts/{OTHER}{path}.json", user=OTHER)
        if path in {"/Calls", "/Conferences"}:
            assert answer.json()[path[1:].lower()] == []
        else:
            assert refusal(answer) == (404, 20404)


@pytest.mark.parametrize(
    "path", [f"Calls/CA{'9' * 32}", f"Conferences/CF{'9' * 32}", f"Conferences/CF{'9' * 32}/Participants"]
)
def test_what_twilio_does_not_have_is_not_found(twilio: Twilio, path: str) -> None:
    assert refusal(get(twilio, f"{ROOT}/{path}.json")) == (404, 20404)


def test_every_request_is_described_and_can_go_wrong(twilio: Twilio, conference: Conference) -> None:
    for path in paths(conference):
        assert operation_of(Request("GET", f"{ROOT}{path}.json"))
        twilio.faults.requests += [RequestFault(429, retry_after=1), RequestFault("cut"), RequestFault(503)]

        answers = [get(twilio, f"{ROOT}{path}.json") for _ in range(4)]

        assert refusal(answers[0]) == (429, 20429)
        assert answers[1].transport == "cut"
        assert refusal(answers[2]) == (503, 20500)
        assert answers[3].status == 200
