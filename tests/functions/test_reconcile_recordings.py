"""Even if no callback comes, the table ends up agreeing with Twilio: bounded, polite, and from where it stopped."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import boto3
import pytest
from botocore.exceptions import ClientError

from call_recording import clients
from call_recording.errors import RowsUnavailableError
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.recordings.row import attributes
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio import api as twilio_api
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Call, Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer, Request
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time, load_app, put_secret, rows

Ask = Callable[..., dict[str, Any]]
Reconcile = Callable[[], dict[str, Any]]
OTHER_ACCOUNT = "AC" + "9" * 32


@pytest.fixture
def reconcile(reconcile_recordings: ModuleType, time: Time) -> Reconcile:
    def run() -> dict[str, Any]:
        summary: dict[str, Any] = reconcile_recordings.handler({}, Context(remaining_milliseconds=180_000))
        return summary

    return run


def ask_for_account(account_sid: str, ask: Ask, twilio: TwilioServer) -> Call:
    """Open an account, let it have a call, and ask for that call's recording, so that the stack has met it."""
    put_secret(account_sid, {"auth_token": "token"})
    twilio.twilio.add_account(Account(account_sid, "token"))
    call = twilio.twilio.begin_call(account_sid)
    ask({"AccountSid": account_sid}, pathParameters={"CallSid": call.sid})
    return call


def finish(twilio: TwilioServer, time: Time, *, after: float = 42) -> None:
    """Let the call end without one callback reaching us, and everything at Twilio come to its end."""
    time.turn(after)
    with twilio.locked() as simulated:
        simulated.hang_up(CALL_SID)
    time.turn(1)
    with twilio.locked() as simulated:
        simulated.due_callbacks()


def record_unseen(twilio: TwilioServer, count: int) -> list[Recording]:
    """Let recordings run on the call that this stack has not heard of."""
    with twilio.locked() as simulated:
        return [simulated.record(simulated.calls[CALL_SID], source="RecordVerb") for _ in range(count)]


def test_a_row_whose_callbacks_never_came_is_completed(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    ask({"RecordingChannels": "dual"})
    finish(twilio, time)
    time.turn(600)

    summary = reconcile()

    (row,) = rows()
    assert (row["status"], row["duration_seconds"], row["requested_by"]) == ("completed", 42, "http")
    assert row["price"] == "-0.00250"
    assert "open_shard" not in row
    assert (summary["repaired"], summary["is_finished"]) == (1, True)
    assert reconcile()["repaired"] == 0


def test_a_recording_that_runs_is_left_as_it_is(ask: Ask, reconcile: Reconcile, time: Time) -> None:
    ask()
    before = rows()
    time.turn(3600)

    summary = reconcile()

    assert rows() == before, "Twilio shows `processing` for it, which says less than we know"
    assert (summary["checked"], summary["repaired"]) == (1, 0)


def test_a_row_younger_than_the_limit_costs_no_request_of_its_own(ask: Ask, reconcile: Reconcile, time: Time) -> None:
    ask()
    time.turn(540)

    assert reconcile()["checked"] == 0


def test_a_recording_that_twilio_no_longer_has_is_deleted_in_the_table(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    sid = ask()["json"]["sid"]
    twilio.twilio.recordings[sid].is_deleted = True
    time.turn(700)

    reconcile()

    assert [row["status"] for row in rows()] == ["deleted"]


def test_recordings_without_a_row_are_adopted(reconcile: Reconcile, twilio: TwilioServer, time: Time) -> None:
    (unseen,) = record_unseen(twilio, 1)
    time.turn(60)

    assert reconcile()["adopted"] == 1
    (row,) = rows()
    assert (row["recording_sid"], row["status"], row["requested_by"], row["source"]) == (
        unseen.sid,
        "in-progress",
        "twilio",
        "RecordVerb",
    )
    finish(twilio, time)
    assert reconcile()["repaired"] == 1, "the list says so, long before the row is stale"
    assert rows()[0]["status"] == "completed"


def test_a_recording_whose_start_answer_was_lost_with_its_function_is_adopted(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("call_recording.recordings.table.RecordingsTable.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask()
    finish(twilio, time)

    reconcile()

    assert [row["status"] for row in rows()] == ["completed"]


def test_every_account_that_was_met_is_reconciled(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    call = ask_for_account(OTHER_ACCOUNT, ask, twilio)
    unseen = twilio.twilio.record(call, source="DialVerb")
    time.turn(60)

    assert reconcile()["adopted"] == 1
    assert unseen.sid in {row["recording_sid"] for row in rows()}


class KilledError(BaseException):
    """The execution environment is gone."""


@pytest.mark.parametrize("met", ["never before", "before, by another environment"])
def test_a_start_that_is_killed_once_twilio_has_it_leaves_an_account_that_is_looked_at(
    ask: Ask,
    reconcile: Reconcile,
    twilio: TwilioServer,
    sample: Callable[[str], dict[str, Any]],
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    met: str,
) -> None:
    """Nobody asks again, and no callback comes. The account is not the stack's own."""
    put_secret(OTHER_ACCOUNT, {"auth_token": "token"})
    twilio.twilio.add_account(Account(OTHER_ACCOUNT, "token"))
    if met != "never before":
        ask_for_account(OTHER_ACCOUNT, ask, twilio)
        finish(twilio, time)
        reconcile()
    known = {row["recording_sid"] for row in rows()}
    call = twilio.twilio.begin_call(OTHER_ACCOUNT)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    app, send = load_app("start_recording"), twilio_api.Session.send

    def killed(session: Any, request: Any, **named: Any) -> Any:
        send(session, request, **named)
        raise KilledError

    event = sample("start-rest-api.json") | {
        "body": json.dumps({"AccountSid": OTHER_ACCOUNT}),
        "pathParameters": {"CallSid": call.sid},
    }
    with monkeypatch.context() as patch:
        patch.setattr(twilio_api.Session, "send", killed)
        with pytest.raises(KilledError):
            app.handler(event, Context())
    assert {row["recording_sid"] for row in rows()} == known
    time.turn(3600)

    reconcile()

    (found,) = [row for row in rows() if row["recording_sid"] not in known]
    assert (found["account_sid"], found["call_sid"]) == (OTHER_ACCOUNT, call.sid)


def test_an_account_that_fails_does_not_keep_the_others_waiting(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    ask_for_account(OTHER_ACCOUNT, ask, twilio)
    twilio.twilio.accounts[OTHER_ACCOUNT].auth_token = "changed behind our back"
    ask()
    finish(twilio, time)
    time.turn(700)

    summary = reconcile()

    assert (summary["repaired"], summary["failed_accounts"], summary["is_finished"]) == (1, 1, True)


@pytest.mark.parametrize("fault", [RequestFault(429), RequestFault(503), RequestFault("cut")], ids=str)
def test_when_twilio_does_not_want_us_the_rest_waits_for_the_next_run(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time, fault: RequestFault
) -> None:
    ask()
    finish(twilio, time)
    time.turn(700)
    twilio.twilio.requests.clear()
    twilio.twilio.faults.requests = deque([fault])

    assert reconcile()["failed_accounts"] == 1
    assert len(twilio.twilio.requests) == 1, "it does not insist"
    assert reconcile()["repaired"] == 1


def test_a_run_ends_at_its_bounds_and_the_next_goes_on_there(
    ask: Ask, reconcile: Reconcile, bounded: Callable[[int], None], twilio: TwilioServer, time: Time
) -> None:
    for _ in range(25):
        ask()
    finish(twilio, time)
    time.turn(700)
    bounded(10)

    summaries = [reconcile() for _ in range(3)]

    assert all(s["twilio_requests"] <= 10 for s in summaries)
    assert (summaries[0]["is_finished"], summaries[-1]["is_finished"]) == (False, True)
    assert {row["status"] for row in rows()} == {"completed"}


def test_rows_of_running_recordings_do_not_keep_unknown_ones_waiting(
    ask: Ask, reconcile: Reconcile, bounded: Callable[[int], None], twilio: TwilioServer, time: Time
) -> None:
    for _ in range(30):
        ask()
    (unseen,) = record_unseen(twilio, 1)
    time.turn(700)
    bounded(10)

    summary = reconcile()

    assert (summary["adopted"], summary["checked"], summary["is_finished"]) == (1, 5, False)
    assert unseen.sid in {row["recording_sid"] for row in rows()}
    for _ in range(6):
        reconcile()
    looked_at = {request.path for request in twilio.twilio.requests if "/Recordings/RE" in request.path}
    assert len(looked_at) >= 30, "each has its turn"


def test_accounts_take_turns_at_being_first(
    ask: Ask, reconcile: Reconcile, bounded: Callable[[int], None], twilio: TwilioServer, time: Time
) -> None:
    accounts = [f"AC{number:032x}" for number in range(5)]
    for account_sid in accounts:
        ask_for_account(account_sid, ask, twilio)
    time.turn(60)
    twilio.twilio.requests.clear()
    bounded(2)

    for _ in range(3):
        reconcile()

    listed = {request.path.split("/")[3] for request in twilio.twilio.requests}
    assert listed == {*accounts, ACCOUNT_SID}


def test_a_page_that_twilio_refuses_does_not_stop_an_account_for_ever(
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_unseen(twilio, 9)
    time.turn(60)
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", 4)
    bounded(2)
    reconcile()
    twilio.twilio.faults.requests = deque([RequestFault(400)])
    assert reconcile()["failed_accounts"] == 1

    for _ in range(2):
        reconcile()

    assert len(rows()) == 9


def test_a_row_that_another_account_took_does_not_stop_the_rightful_one(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, table: RecordingsTable
) -> None:
    taken, free = record_unseen(twilio, 2)
    table.record(Facts(taken.sid, OTHER_ACCOUNT, "in-progress", "2026-11-22T07:33:02.000Z", {"call_sid": CALL_SID}))
    finish(twilio, time)

    summary = reconcile()

    assert summary["failed_accounts"] == 0
    assert {row["recording_sid"]: row["account_sid"] for row in rows()} == {
        taken.sid: OTHER_ACCOUNT,
        free.sid: ACCOUNT_SID,
    }


@pytest.mark.parametrize("code", [None, 20404])
def test_a_404_alone_does_not_delete_a_row(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time, code: int | None
) -> None:
    sid = ask()["json"]["sid"]
    if code:
        del twilio.twilio.recordings[sid]
    else:
        twilio.twilio.faults.requests = deque([RequestFault(404)])
    time.turn(700)

    reconcile()
    assert [row["status"] for row in rows()] == ["in-progress"]

    time.turn(48 * 3600)
    twilio.twilio.faults.requests = deque([RequestFault(404)] if code is None else [])
    reconcile()
    assert [row["status"] for row in rows()] == ["deleted" if code else "in-progress"]


@pytest.mark.parametrize(
    "bookmark",
    [
        {"recording_sid": "RE" + "0" * 32, "open_shard": "open#0", "start_time": "2026-11-22T07:33:00Z"},
        {"open_shard": "open#99"},
        {ACCOUNT_SID: "z"},
        {ACCOUNT_SID: ""},
        {"account_sid": "nobody"},
    ],
    ids=str,
)
def test_whatever_a_bookmark_says_stale_rows_are_looked_at(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time, bookmark: dict[str, str]
) -> None:
    """The first is what an earlier version left behind."""
    ask()
    finish(twilio, time)
    Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE).put("open", bookmark)
    Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE).put("accounts", bookmark)
    time.turn(700)

    summary = reconcile()

    assert (summary["repaired"], summary["is_finished"]) == (1, True)


def test_a_recording_that_we_had_deleted_at_twilio_meanwhile_stays_completed(
    ask: Ask,
    reconcile: Reconcile,
    twilio: TwilioServer,
    time: Time,
    table: RecordingsTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask({})
    finish(twilio, time)
    time.turn(600)
    (recording,) = twilio.twilio.recordings.values()
    fetch = twilio_api.TwilioAccount.fetch_recording

    def archive_and_fetch(
        self: twilio_api.TwilioAccount, recording_sid: str, **more: Any
    ) -> twilio_api.RecordingResource:
        table.record(Facts.from_fetched(twilio_api.RecordingResource(recording.resource(), api_url=twilio.url)))
        table.record(Facts.about(rows()[0], archive={"key": "k", "archived_at": "2026"}, deleted_at_twilio="2026"))
        recording.is_deleted = True
        return fetch(self, recording_sid, **more)

    monkeypatch.setattr(twilio_api.TwilioAccount, "fetch_recording", archive_and_fetch)

    reconcile()

    (row,) = rows()
    assert (row["status"], row["archive"]["key"]) == ("completed", "k")


# --- one account's poison never delays another's ---------------------------------------------------------


def stale_rows(table: RecordingsTable, twilio: TwilioServer, account_sid: str, count: int) -> list[str]:
    """Let an account have recordings that have ended and whose rows are open; return their SIDs."""
    put_secret(account_sid, {"auth_token": "token"})
    with twilio.locked() as simulated:
        simulated.add_account(Account(account_sid, "token"))
        call = simulated.begin_call(account_sid)
        recordings = [simulated.record(call) for _ in range(count)]
        for recording in recordings:
            recording.status, recording.duration = "completed", 42
    for recording in recordings:
        told = {"call_sid": call.sid, "start_time": "2026-11-22T07:00:00Z"}
        table.record(Facts(recording.sid, account_sid, "in-progress", "2026-11-22T07:00:00.000Z", told))
    return [recording.sid for recording in recordings]


def statuses() -> dict[str, str]:
    return {row["recording_sid"]: row["status"] for row in rows()}


def test_an_account_with_many_open_rows_does_not_use_all_requests(
    table: RecordingsTable,
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
) -> None:
    many = [sid for n in range(2) for sid in stale_rows(table, twilio, f"AC{n:032x}", 20)]
    few = [stale_rows(table, twilio, f"AC{n:032x}", 1)[0] for n in (7, 8, 9)]
    bounded(12)

    reconcile()

    assert {statuses()[sid] for sid in few} == {"completed"}
    for _ in range(8):
        reconcile()
    assert {statuses()[sid] for sid in many} == {"completed"}, "nor do they starve"


def test_more_accounts_than_requests_are_all_served_one_after_the_other(
    table: RecordingsTable,
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
) -> None:
    of_each = [stale_rows(table, twilio, f"AC{n:032x}", 3) for n in range(9)]
    bounded(6)

    for _ in range(3):
        reconcile()

    assert all(any(statuses()[sid] == "completed" for sid in sids) for sids in of_each)


def test_an_account_with_many_pages_does_not_keep_the_others_waiting(
    ask: Ask,
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", 1)
    others = [ask_for_account(f"AC{n:032x}", ask, twilio) for n in range(3, 6)]
    with twilio.locked() as simulated:
        first = simulated.add_account(Account("AC" + "0" * 32, "token"))
        put_secret(first.sid, {"auth_token": "token"})
        call = simulated.begin_call(first.sid)
        many = [simulated.record(call, source="RecordVerb") for _ in range(30)]
    ask({"AccountSid": first.sid}, pathParameters={"CallSid": call.sid})
    with twilio.locked() as simulated:
        few = [simulated.record(other, source="RecordVerb") for other in others]
    time.turn(60)
    bounded(12)

    reconcile()

    assert {recording.sid for recording in few} <= statuses().keys()
    for _ in range(8):
        reconcile()
    assert {recording.sid for recording in many} <= statuses().keys()


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), RecursionError(), ClientError({"Error": {}}, "x")])
def test_an_unexpected_error_in_one_account_ends_nobody_elses_run(
    table: RecordingsTable,
    reconcile: Reconcile,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    poison, *rest = stale_rows(table, twilio, "AC" + "0" * 32, 3)
    others = [stale_rows(table, twilio, f"AC{n:032x}", 1)[0] for n in (1, 2)]
    from_fetched = Facts.from_fetched

    def fail(recording: twilio_api.RecordingResource) -> Facts:
        if recording["sid"] == poison:
            raise error
        return from_fetched(recording)

    monkeypatch.setattr(Facts, "from_fetched", fail)

    summary = reconcile()

    assert summary["failed_accounts"] == 1
    assert {statuses()[sid] for sid in others} == {"completed"}
    reconcile()
    assert {statuses()[sid] for sid in rest} == {"completed"}, "what is behind it comes first the next time"


@pytest.mark.parametrize("code", [20003, 20005, 20006, 20008, 70051])
def test_an_account_whose_credentials_are_refused_is_given_up_for_the_run_and_no_other(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for _ in range(3):
        ask_for_account(OTHER_ACCOUNT, ask, twilio)
    ask()
    finish(twilio, time)
    time.turn(700)
    handle, refused = twilio.twilio.handle, list[Request]()

    def refuse(request: Request) -> Answer:
        if OTHER_ACCOUNT not in request.path:
            return handle(request)
        refused.append(request)
        return Answer(403, json.dumps({"code": code, "message": "no"}).encode())

    monkeypatch.setattr(twilio.twilio, "handle", refuse)

    summary = reconcile()

    assert (summary["repaired"], summary["failed_accounts"], len(refused)) == (1, 1, 1)


def as_days(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Let Twilio look at the days alone of `DateCreated<` and `>`, both exclusive, and return the lists' requests."""
    handle, lists = twilio.twilio.handle, list[Request]()

    def shorten(request: Request) -> Answer:
        if request.method == "GET" and request.path.endswith(f"{ACCOUNT_SID}/Recordings.json"):
            query = dict(parse_qsl(request.query))
            after = date.fromisoformat(query["DateCreated>"][:10]) + timedelta(days=1)
            query |= {"DateCreated>": f"{after}T00:00:00Z", "DateCreated<": f"{query['DateCreated<'][:10]}T00:00:00Z"}
            request = replace(request, query=urlencode(query))
            lists.append(request)
        return handle(request)

    monkeypatch.setattr(twilio.twilio, "handle", shorten)
    return lists


def test_nothing_is_missed_where_twilio_looks_at_days_and_not_at_times(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_days(twilio, monkeypatch)
    reconcile()
    time.turn(300)
    (unseen,) = record_unseen(twilio, 1)
    time.turn(60)

    assert reconcile()["adopted"] == 1
    assert [row["recording_sid"] for row in rows()] == [unseen.sid]


def test_what_is_listed_beyond_the_time_that_is_looked_at_is_passed_over(
    reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    record_unseen(twilio, 3)
    time.turn(60)
    assert reconcile()["listed"] == 3
    time.turn(3600)
    finish(twilio, time, after=0)
    reconcile()
    for _ in range(2):
        time.turn(300)

        summary = reconcile()

        assert (summary["listed"], summary["repaired"], summary["adopted"]) == (0, 0, 0)


def test_a_recording_that_does_not_say_when_it_was_created_is_not_passed_over(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_unseen(twilio, 2)
    time.turn(60)
    resource = Recording.resource
    monkeypatch.setattr(Recording, "resource", lambda self, **named: resource(self, **named) | {"date_created": None})
    monkeypatch.setattr("local.twilio_simulator.paging.Query.wants", lambda *_: True)

    assert reconcile()["adopted"] == 2


def test_pages_that_are_older_than_what_is_looked_at_are_not_asked_for(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", 4)
    for _ in range(20):
        record_unseen(twilio, 1)
        time.turn(60)
    assert (reconcile()["adopted"], len(twilio.twilio.requests)) == (20, 5)
    time.turn(3600)
    reconcile()
    twilio.twilio.requests.clear()
    record_unseen(twilio, 6)
    time.turn(60)

    assert reconcile()["adopted"] == 6
    assert len([request for request in twilio.twilio.requests if "Page" in request.query]) == 2


def test_pages_whose_order_is_not_from_the_newest_on_are_all_asked_for(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile()
    for _ in range(8):
        time.turn(600)
        record_unseen(twilio, 1)
    reconcile()
    time.turn(3600)
    record_unseen(twilio, 1)
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", 4)
    # `reversed` in the simulator's list makes it begin with the newest.
    monkeypatch.setattr("local.twilio_simulator.paging.reversed", lambda values: values, raising=False)

    assert reconcile()["adopted"] == 1


def test_a_recording_that_is_listed_twice_is_adopted_once(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_unseen(twilio, 2)
    time.turn(60)
    listed = twilio_api.TwilioAccount.list_recordings

    def twice(self: twilio_api.TwilioAccount, **named: Any) -> Any:
        found, page = listed(self, **named)
        return [*found, *found], page

    monkeypatch.setattr(twilio_api.TwilioAccount, "list_recordings", twice)

    summary = reconcile()

    assert (summary["adopted"], summary["repaired"], summary["failed_accounts"]) == (2, 0, 0)


def test_numbers_of_encryption_details_that_dynamodb_does_not_have_are_held_as_text(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_unseen(twilio, 1)
    time.turn(60)
    from_fetched = Facts.from_fetched

    def encrypted(recording: twilio_api.RecordingResource) -> Facts:
        recording["encryption_details"] = {"version": 1.5, "n": 10**45, "half": [{"a": "b"}]}
        recording["duration"] = "9" * 45
        recording["source"] = "half a character: \ud800"
        return from_fetched(recording)

    monkeypatch.setattr(Facts, "from_fetched", encrypted)

    assert reconcile()["adopted"] == 1
    (row,) = rows()
    assert row["encryption_details"] == {"version": "1.5", "n": str(10**45), "half": [{"a": "b"}]}
    assert row["source"] == "half a character: ?"
    assert "duration_seconds" not in row


@pytest.mark.parametrize("held", ["absent", "failed", "stopped", "transcoding"])
def test_a_row_that_has_got_less_far_than_twilios_list_says_is_put_right(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, table: RecordingsTable, held: str
) -> None:
    (recording,) = record_unseen(twilio, 1)
    table.record(Facts(recording.sid, ACCOUNT_SID, held, "2026-11-22T07:33:02.000Z", {"call_sid": CALL_SID}))
    finish(twilio, time)

    summary = reconcile()

    assert summary["repaired"] == 1
    assert statuses() == {recording.sid: "completed"}
    assert reconcile()["repaired"] == 0


@pytest.mark.parametrize("listed", ["deleted", "absent", "in-progress", "paused", "transcoding"])
def test_a_completed_row_is_not_put_back(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, table: RecordingsTable, listed: str
) -> None:
    """Twilio's `deleted` is what we asked for ourselves, once it was archived."""
    (recording,) = record_unseen(twilio, 1)
    table.record(Facts(recording.sid, ACCOUNT_SID, "completed", "2026-11-22T07:33:02.000Z", {"call_sid": CALL_SID}))
    recording.status = listed
    time.turn(60)

    assert reconcile()["repaired"] == 0
    assert statuses() == {recording.sid: "completed"}


ODD_ROWS: dict[str, dict[str, Any]] = {
    "no account": {"recording_sid": "RE" + "0" * 32},
    "an account that is none": {"recording_sid": "RE" + "0" * 32, "account_sid": "../billing"},
    "an account that is a number": {"recording_sid": "RE" + "0" * 32, "account_sid": 5},
    "a recording that is none": {"recording_sid": "../RE", "account_sid": ACCOUNT_SID},
    "no status": {"recording_sid": "RE" + "0" * 32, "account_sid": ACCOUNT_SID},
    "a status that is a set": {"recording_sid": "RE" + "0" * 32, "account_sid": ACCOUNT_SID, "status": {"a"}},
}


@pytest.mark.parametrize("odd", ODD_ROWS.values(), ids=ODD_ROWS.keys())
def test_an_open_row_that_somebody_wrote_does_not_end_the_run(
    table: RecordingsTable, reconcile: Reconcile, twilio: TwilioServer, time: Time, odd: dict[str, Any]
) -> None:
    (other,) = stale_rows(table, twilio, "AC" + "1" * 32, 1)
    keys = {"open_shard": OPEN_SHARDS[0], "start_time": "2026-11-22T07:00"}
    table.client.put_item(TableName=table.name, Item=attributes(odd | keys))

    summary = reconcile()

    assert (summary["repaired"], summary["is_finished"]) == (1, True)
    assert {row["recording_sid"]: row.get("status") for row in rows()}[other] == "completed"
    assert len({request.path for request in twilio.twilio.requests if "billing" in request.path}) == 0


def test_accounts_without_a_secret_cost_no_requests(
    table: RecordingsTable,
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
) -> None:
    accounts = {f"AC{number:032x}" for number in range(50)} | {"billing"}
    boto3.client("dynamodb").put_item(
        TableName=IDEMPOTENCY_TABLE, Item={"id": {"S": "accounts"}, "account_sids": {"SS": sorted(accounts)}}
    )
    (unseen,) = record_unseen(twilio, 1)
    time.turn(60)
    bounded(4)

    summary = reconcile()

    assert unseen.sid in statuses()
    assert (summary["failed_accounts"], summary["is_finished"], summary["twilio_requests"]) == (50, True, 1)


def failing(monkeypatch: pytest.MonkeyPatch, operation: str, *, when: Callable[[str], bool]) -> None:
    """Let DynamoDB fail an operation where the request's text is like that."""
    client, call = clients.dynamodb(), getattr(clients.dynamodb(), operation)

    def fail(**arguments: Any) -> Any:
        if when(json.dumps(arguments)):
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}, operation)
        return call(**arguments)

    monkeypatch.setattr(client, operation, fail)


@pytest.mark.parametrize("operation", ["get_item", "put_item"])
@pytest.mark.parametrize("name", ["open", "accounts", "AC" + "1" * 32])
def test_a_bookmark_that_dynamodb_does_not_give_or_take_stops_no_other_account(
    ask: Ask,
    table: RecordingsTable,
    reconcile: Reconcile,
    bounded: Callable[[int], None],
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    name: str,
) -> None:
    first, second = (stale_rows(table, twilio, "AC" + digit * 32, 1)[0] for digit in "12")
    (unseen,) = record_unseen(twilio, 1)
    failing(monkeypatch, operation, when=lambda request: f"reconcile#{name}" in request)

    for _ in range(2):
        summary = reconcile()

    assert {statuses()[first], statuses()[second]} == {"completed"}
    assert unseen.sid in statuses()
    assert summary["is_finished"]


def test_where_open_rows_cannot_be_read_recordings_are_adopted_and_the_run_fails(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails in the end, so that the function's alarm hears of it."""
    (unseen,) = record_unseen(twilio, 1)
    time.turn(60)
    failing(monkeypatch, "query", when=lambda _: True)

    with pytest.raises(RowsUnavailableError):
        reconcile()

    assert unseen.sid in statuses()


def test_a_page_that_takes_too_long_to_write_is_gone_on_with_by_the_next_run(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_unseen(twilio, 5)
    record = RecordingsTable.record

    def slow(table: RecordingsTable, facts: Facts, **how: bool) -> None:
        time.turn(60)
        record(table, facts, **how)

    monkeypatch.setattr(RecordingsTable, "record", slow)

    summaries = [reconcile() for _ in range(2)]

    assert [summary["adopted"] for summary in summaries] == [3, 2]
    assert [summary["is_finished"] for summary in summaries] == [False, True]
