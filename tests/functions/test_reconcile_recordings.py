"""Even if no callback comes, the table ends up agreeing with Twilio: bounded, polite, and from where it stopped."""

from collections import deque
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.reconciler import Reconciler
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio import api as twilio_api
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Call, Recording
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time, put_secret, rows

Ask = Callable[..., dict[str, Any]]
Reconcile = Callable[[], dict[str, Any]]
OTHER_ACCOUNT = "AC" + "9" * 32


@pytest.fixture
def reconcile(reconcile_recordings: ModuleType, time: Time) -> Reconcile:
    def run() -> dict[str, Any]:
        summary: dict[str, Any] = reconcile_recordings.handler({}, Context(remaining_milliseconds=180_000))
        return summary

    return run


@pytest.fixture
def bounded(reconcile_recordings: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets a run send only so many requests."""

    def bound(most_requests: int) -> None:
        monkeypatch.setattr(reconcile_recordings, "Reconciler", partial(Reconciler, most_requests=most_requests))

    return bound


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


def test_a_bookmark_from_beyond_a_grown_limit_is_not_used(
    ask: Ask, reconcile: Reconcile, time: Time, monkeypatch: pytest.MonkeyPatch, reconcile_recordings: ModuleType
) -> None:
    ask()
    beyond = {"recording_sid": "RE" + "0" * 32, "open_shard": "open#0", "start_time": "2026-11-22T07:33:00Z"}
    Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE).put("open", beyond)
    time.turn(300)
    keys: list[object] = []
    open_rows = RecordingsReader.open_rows

    def observed(table: RecordingsReader, shard: str, **named: Any) -> Any:
        keys.append(named.get("after"))
        return open_rows(table, shard, **named)

    monkeypatch.setattr(RecordingsReader, "open_rows", observed)

    assert reconcile()["is_finished"]
    assert set(keys) == {None}


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
