"""Even if no callback comes, the table ends up agreeing with Twilio: bounded, polite, and from where it stopped."""

from collections import deque
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import boto3
import pytest

from call_recording import twilio_api
from call_recording.reconciling import Reconciler
from local.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, Recording
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
        patch.setattr("call_recording.recordings.RecordingsTable.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask()
    finish(twilio, time)

    reconcile()

    assert [row["status"] for row in rows()] == ["completed"]


def test_every_account_that_was_met_is_reconciled(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other"})
    twilio.twilio.add_account(Account(OTHER_ACCOUNT, "other"))
    call = twilio.twilio.begin_call(OTHER_ACCOUNT)
    ask({"AccountSid": OTHER_ACCOUNT}, pathParameters={"CallSid": call.sid})
    unseen = twilio.twilio.record(call, source="DialVerb")
    time.turn(60)

    assert reconcile()["adopted"] == 1
    assert unseen.sid in {row["recording_sid"] for row in rows()}


def test_an_account_that_fails_does_not_keep_the_others_waiting(
    ask: Ask, reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    put_secret(OTHER_ACCOUNT, {"auth_token": "other"})
    twilio.twilio.add_account(Account(OTHER_ACCOUNT, "other"))
    call = twilio.twilio.begin_call(OTHER_ACCOUNT)
    ask({"AccountSid": OTHER_ACCOUNT}, pathParameters={"CallSid": call.sid})
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
    ask: Ask,
    reconcile: Reconcile,
    reconcile_recordings: ModuleType,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(25):
        ask()
    finish(twilio, time)
    time.turn(700)
    monkeypatch.setattr(reconcile_recordings, "Reconciler", partial(Reconciler, most_requests=10))

    summaries = [reconcile() for _ in range(3)]

    assert [(s["twilio_requests"], s["is_finished"]) for s in summaries] == [(10, False), (10, False), (6, True)]
    assert {row["status"] for row in rows()} == {"completed"}


def test_pages_are_gone_through_over_several_runs(
    reconcile: Reconcile,
    reconcile_recordings: ModuleType,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_unseen(twilio, 25)
    time.turn(60)
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", 4)
    monkeypatch.setattr(reconcile_recordings, "Reconciler", partial(Reconciler, most_requests=3))

    summaries = [reconcile() for _ in range(3)]
    record_unseen(twilio, 2)  # what comes meanwhile is not lost either
    time.turn(60)
    reconcile()

    assert [s["is_finished"] for s in summaries] == [False, False, True]
    assert [s["adopted"] for s in summaries] == [12, 12, 1]
    assert len(rows()) == 27


def test_a_run_with_no_time_left_begins_nothing(
    reconcile_recordings: ModuleType, time: Time, twilio: TwilioServer
) -> None:
    summary = reconcile_recordings.handler({}, Context(remaining_milliseconds=5_000))

    assert not summary["is_finished"]
    assert twilio.twilio.requests == []


def test_what_was_listed_is_not_listed_again_but_for_an_overlap(
    reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    record_unseen(twilio, 1)
    time.turn(60)
    assert reconcile()["listed"] == 1
    time.turn(3600)

    reconcile()
    assert reconcile()["listed"] == 0

    item = boto3.client("dynamodb").get_item(
        TableName=IDEMPOTENCY_TABLE, Key={"id": {"S": f"reconcile#{ACCOUNT_SID}"}}
    )["Item"]
    assert set(item) == {"id", "listed_until"}
