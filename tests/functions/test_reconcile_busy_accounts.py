"""A busy account is asked about several things at once, so that all of it is found, and nobody waits for it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlencode

import boto3
import pytest

from call_recording import clock
from call_recording.errors import RateLimitedError
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.reconciler import Reconciler
from call_recording.recordings.facts import Facts
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio import api as twilio_api
from call_recording.twilio.accounts import Accounts
from generators.sample_events import ACCOUNT_SID, CALL_SID
from local.twilio_simulator.model import Account, Recording
from local.twilio_simulator.server import TwilioServer
from local.twilio_simulator.twilio import Answer, Request
from tests.conftest import IDEMPOTENCY_TABLE, Context, Time, put_secret, rows

Reconcile = Callable[[], dict[str, Any]]

AT_ONCE = 4
PAGE = 5


@pytest.fixture
def reconcile(reconcile_recordings: ModuleType, time: Time, monkeypatch: pytest.MonkeyPatch) -> Reconcile:
    """Run the reconciler, which may ask for four things at once, and gets five recordings on a page."""
    monkeypatch.setenv("RECONCILER_CONCURRENCY", str(AT_ONCE))
    monkeypatch.setattr(twilio_api, "PAGE_SIZE", PAGE)

    def run() -> dict[str, Any]:
        summary: dict[str, Any] = reconcile_recordings.handler({}, Context(remaining_milliseconds=280_000))
        return summary

    return run


def unseen(
    twilio: TwilioServer, time: Time, *, seconds: int = 1200, every: int = 12, account_sid: str = ACCOUNT_SID
) -> set[str]:
    """Let recordings of so many seconds be there that this stack has not heard of, and return their SIDs."""
    with twilio.locked() as simulated:
        call = simulated.calls[CALL_SID] if account_sid == ACCOUNT_SID else simulated.begin_call(account_sid)
        made = [simulated.record(call, source="RecordVerb") for _ in range(0, seconds, every)]
        for number, recording in enumerate(made):
            recording.started_at = time.seconds - seconds + number * every
    return {recording.sid for recording in made}


def known() -> set[str]:
    return {row["recording_sid"] for row in rows()}


def bookmark(name: str = ACCOUNT_SID) -> dict[str, str]:
    return Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE).get(name)


def lists(twilio: TwilioServer) -> list[dict[str, str]]:
    """Return the queries of the lists that were asked for."""
    return [dict(parse_qsl(r.query)) for r in twilio.twilio.requests if r.path.endswith("/Recordings.json")]


def listed_before(time: Time) -> None:
    """Note that the last look was five minutes ago, so that the next is at twenty."""
    ended = {"listed_until": clock.iso_seconds(clock.now())}
    Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE).put(ACCOUNT_SID, ended)
    time.turn(300)


def test_everything_of_a_busy_account_is_found_in_slices_that_are_listed_at_once(
    reconcile: Reconcile, twilio: TwilioServer, time: Time
) -> None:
    listed_before(time)
    made = unseen(twilio, time)

    summary = reconcile()

    assert known() == made
    assert (summary["adopted"], summary["is_finished"], summary["failed_accounts"]) == (len(made), True, 0)
    begun = [query for query in lists(twilio) if "PageToken" not in query]
    assert (len(begun) - 1) % AT_ONCE == 0, "the newest page, and whole rounds of slices"
    assert len(begun) > 1 + AT_ONCE
    assert len(lists(twilio)) == len(begun), "each fits on a page"
    assert bookmark() == {"listed_until": clock.iso_seconds(clock.now())}


def test_a_quiet_account_is_listed_page_by_page(reconcile: Reconcile, twilio: TwilioServer, time: Time) -> None:
    listed_before(time)
    made = unseen(twilio, time, every=60)

    reconcile()

    assert known() == made
    assert len([query for query in lists(twilio) if "PageToken" not in query]) == 1
    assert len(lists(twilio)) == len(made) / PAGE


@pytest.mark.parametrize("way", ["days, both ends in", "days, both ends out", "no filters"])
def test_where_twilio_does_not_look_at_times_nothing_is_missed(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    handle = twilio.twilio.handle

    def changed(request: Request) -> Answer:
        query = dict(parse_qsl(request.query))
        if "DateCreated<" in query and way == "days, both ends out":
            query["DateCreated<"] = f"{query['DateCreated<'][:10]}T00:00:00Z"
            query["DateCreated>"] = f"{query['DateCreated>'][:10]}T23:59:59Z"
        elif way == "no filters":
            query = {name: value for name, value in query.items() if not name.startswith("Date")}
        return handle(replace(request, query=urlencode(query)))

    if way == "days, both ends in":
        twilio.twilio.lists_by_day = True
    else:
        monkeypatch.setattr(twilio.twilio, "handle", changed)
    listed_before(time)
    with twilio.locked() as simulated:  # what a filter by the day has on both sides
        of_midnight = simulated.record(simulated.calls[CALL_SID], source="RecordVerb")
        of_midnight.started_at = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    made = unseen(twilio, time)

    summary = reconcile()

    assert known() == made
    assert (summary["adopted"], summary["is_finished"]) == (len(made), True)


def test_where_requests_do_not_suffice_the_next_runs_go_on(
    reconcile: Reconcile, bounded: Callable[[int], None], twilio: TwilioServer, time: Time
) -> None:
    listed_before(time)
    made = unseen(twilio, time)
    bounded(4)
    adopted, runs = 0, 0

    while known() != made:
        begins = bookmark()["listed_until"]
        adopted += reconcile()["adopted"]
        assert begins < bookmark()["listed_until"] <= clock.iso_seconds(clock.now())
        runs += 1
        assert runs < 8
        time.turn(300)

    assert adopted == len(made)
    assert runs >= 2


def limiting(twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch, most: int, *, of: str = ACCOUNT_SID) -> list[int]:
    """Let Twilio refuse each request of the account that would be one of more than so many in a round.

    Returns how many the account gets at once after each round.
    """
    sizes: list[int] = []
    lock, left = Lock(), [0]
    send = twilio_api.TwilioAccount._send  # noqa: SLF001 (where requests go out)
    together, ask = Reconciler._together, Reconciler._ask  # noqa: SLF001 (what makes a round)

    def grant(self: Reconciler, *args: Any) -> Any:
        left[0] = most
        return ask(self, *args)

    def round_of(self: Reconciler, account_sid: str, *args: Any) -> Any:
        met = together(self, account_sid, *args)
        if account_sid == of:
            sizes.append(self._most_at_once(account_sid))
        return met

    def refuse(self: twilio_api.TwilioAccount, *args: Any, **named: Any) -> Any:
        with lock:
            is_refused = self.account_sid == of and left[0] <= 0
            left[0] -= self.account_sid == of
        if is_refused:
            raise RateLimitedError(retry_after_seconds=1, code=20429, message="no", more_info=None)
        return send(self, *args, **named)

    monkeypatch.setattr(Reconciler, "_ask", grant)
    monkeypatch.setattr(Reconciler, "_together", round_of)
    monkeypatch.setattr(twilio_api.TwilioAccount, "_send", refuse)
    return sizes


def open_rows(
    table: RecordingsTable, twilio: TwilioServer, count: int, *, account_sid: str = ACCOUNT_SID
) -> list[Recording]:
    """Make rows that are open too long, of recordings that have long ended."""
    if account_sid != ACCOUNT_SID:
        put_secret(account_sid, {"auth_token": "token"})
        Accounts(boto3.client("dynamodb"), IDEMPOTENCY_TABLE, ACCOUNT_SID).note(account_sid)
    with twilio.locked() as simulated:
        if account_sid != ACCOUNT_SID:
            simulated.add_account(Account(account_sid, "token"))
        call = simulated.calls[CALL_SID] if account_sid == ACCOUNT_SID else simulated.begin_call(account_sid)
        recordings = [simulated.record(call) for _ in range(count)]
        for recording in recordings:
            recording.status, recording.duration = "completed", 42
            recording.started_at -= 90_000  # so that no list has it
    for recording in recordings:
        told = {"call_sid": call.sid, "start_time": "2026-11-22T07:00:00Z"}
        table.record(Facts(recording.sid, account_sid, "in-progress", "2026-11-22T07:00:00.000Z", told))
    return recordings


def completed() -> set[str]:
    return {row["recording_sid"] for row in rows() if row["status"] == "completed"}


@pytest.mark.usefixtures("time")
def test_open_rows_are_looked_up_several_at_once(
    reconcile: Reconcile, table: RecordingsTable, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sids = {recording.sid for recording in open_rows(table, twilio, 10)}
    sizes = limiting(twilio, monkeypatch, 10)

    summary = reconcile()

    assert completed() == sids
    assert (summary["repaired"], len(sizes)) == (10, 3)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_an_account_that_twilio_limits_gets_fewer_at_once_and_is_finished_all_the_same(
    reconcile: Reconcile,
    table: RecordingsTable,
    twilio: TwilioServer,
    time: Time,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    sids = {recording.sid for recording in open_rows(table, twilio, 10)}
    listed_before(time)
    made = unseen(twilio, time)
    sizes = limiting(twilio, monkeypatch, most)

    summary = reconcile()

    assert completed() == sids
    assert known() == sids | made
    assert (summary["failed_accounts"], summary["is_finished"]) == (0, True)
    assert sizes[-1] == min(most, 2), "half of four, and half of that where it must be"


@pytest.mark.usefixtures("time")
def test_an_account_that_twilio_limits_with_one_request_at_once_waits_for_the_next_run_and_no_other_does(
    reconcile: Reconcile, table: RecordingsTable, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_rows(table, twilio, 10)
    others = {recording.sid for recording in open_rows(table, twilio, 10, account_sid="AC" + "9" * 32)}
    sizes = limiting(twilio, monkeypatch, 0)

    summary = reconcile()

    assert completed() == others
    assert (summary["failed_accounts"], sizes) == (1, [2, 1, 1])


@pytest.mark.usefixtures("time")
def test_one_row_that_cannot_be_looked_at_does_not_waste_the_answers_beside_it(
    reconcile: Reconcile, table: RecordingsTable, twilio: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sids = sorted(recording.sid for recording in open_rows(table, twilio, 8))
    from_fetched = Facts.from_fetched

    def fail(recording: twilio_api.RecordingResource) -> Facts:
        if recording["sid"] == sids[1]:
            raise TypeError
        return from_fetched(recording)

    monkeypatch.setattr(Facts, "from_fetched", fail)

    reconcile()
    assert completed() == {sids[0], sids[2], sids[3]}
    assert bookmark("open") == {ACCOUNT_SID: sids[1]}, "the next run begins behind it"

    reconcile()
    assert completed() == {*sids} - {sids[1]}


@pytest.mark.usefixtures("time")
def test_an_account_with_thousands_of_open_rows_leaves_the_others_their_turns(
    reconcile: Reconcile, bounded: Callable[[int], None], table: RecordingsTable, twilio: TwilioServer
) -> None:
    open_rows(table, twilio, 40)
    few = [r.sid for n in (7, 8) for r in open_rows(table, twilio, 2, account_sid=f"AC{n:032x}")]
    bounded(8)

    reconcile()

    assert {*few} <= completed()


def test_an_account_with_hundreds_of_pages_leaves_the_others_their_turns(
    reconcile: Reconcile, bounded: Callable[[int], None], table: RecordingsTable, twilio: TwilioServer, time: Time
) -> None:
    open_rows(table, twilio, 0, account_sid="AC" + "9" * 32)
    listed_before(time)
    unseen(twilio, time)
    few = unseen(twilio, time, every=300, account_sid="AC" + "9" * 32)
    bounded(4)

    summary = reconcile()

    assert not summary["is_finished"]
    assert few <= known()


def test_slices_whose_rows_cannot_be_read_are_listed_by_the_next_run(
    reconcile: Reconcile, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed_before(time)
    made = unseen(twilio, time)
    statuses, calls = RecordingsReader.statuses, [0]

    def fail_once(self: RecordingsReader, sids: Any) -> dict[str, str]:
        calls[0] += 1
        if calls[0] == 12:
            raise ConnectionError
        return statuses(self, sids)

    monkeypatch.setattr(RecordingsReader, "statuses", fail_once)

    assert reconcile()["failed_accounts"] == 1
    assert known() < made
    assert reconcile()["failed_accounts"] == 0
    assert known() == made
