"""What a run looks at, in which order, and where it stops; where a list begins, whatever its bookmark says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import boto3
import pytest

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import (
    CredentialsRefusedError,
    ForeignAccountError,
    RateLimitedError,
    RowsUnavailableError,
    StateUnavailableError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    UnknownAccountError,
    UnstorableFactsError,
)
from call_recording.reconcile import reconciler as reconcile
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.reconciler import Reconciler
from call_recording.reconcile.windows import Window
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import OPEN_SHARDS, open_shard
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.row import KEY, Row
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio
from tests.conftest import IDEMPOTENCY_TABLE, Time

ACCOUNT, OTHER_ACCOUNT, CALL = "AC" + "1" * 32, "AC" + "2" * 32, "CA" + "1" * 32
NOW = datetime(2026, 11, 22, 7, 33, tzinfo=UTC)
A_DAY = (NOW - timedelta(hours=24), NOW, None)


def test_a_list_begins_a_quarter_of_an_hour_before_the_end_of_the_last() -> None:
    window = Window.of({"listed_until": "2026-11-22T07:30:00Z"}, NOW)

    assert window == (datetime(2026, 11, 22, 7, 15, tzinfo=UTC), NOW, None)


def test_a_list_that_was_not_finished_goes_on() -> None:
    window = Window(NOW - timedelta(days=300), NOW - timedelta(hours=1), "Page=3")

    assert Window.of(window.unfinished(), NOW) == window


def test_a_list_of_which_no_page_is_left_begins_anew() -> None:
    assert Window.of(Window(NOW, NOW).unfinished(), NOW) == A_DAY


@pytest.mark.parametrize(
    "bookmark",
    [
        {},
        {"listed_until": ""},
        {"listed_until": "yesterday"},
        {"listed_until": "2026-11-22T07:30:00"},
        {"listed_until": "2027-11-22T07:30:00Z"},
        {"listed_until": "0001-01-01T00:00:00Z"},
        {"listed_until": "0900-01-01T00:00:00Z"},
        {"page": "Page=3"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z", "ends": "2026-11-22T06:00:00Z"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z", "ends": "2027-11-22T06:00:00Z"},
        {"page": "Page=3", "begins": "x", "ends": "y"},
        {"what": "ever"},
    ],
    ids=str,
)
def test_without_a_bookmark_that_can_be_used_a_day_is_listed(bookmark: dict[str, str]) -> None:
    assert Window.of(bookmark, NOW) == A_DAY


# --- what a list is asked for and holds --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bookmark", "is_used"),
    [
        ({"listed_until": "2000-01-01T00:15:00Z"}, True),
        ({"listed_until": "2000-01-01T00:14:59Z"}, False),
        ({"listed_until": "2026-11-22T07:48:00Z"}, True),
        ({"listed_until": "2026-11-22T07:48:01Z"}, False),
        ({"page": "p", "begins": "2026-11-22T07:00:00Z", "ends": "2026-11-22T07:00:00Z"}, True),
        ({"page": "p", "begins": "2026-11-22T07:00:00Z", "ends": "2026-11-22T07:34:05Z"}, True),
        ({"page": "p", "begins": "2026-11-22T07:00:00Z", "ends": "2026-11-22T07:34:06Z"}, False),
    ],
    ids=str,
)
def test_a_bookmark_is_used_up_to_its_bounds_and_no_further(bookmark: dict[str, str], *, is_used: bool) -> None:
    assert (Window.of(bookmark, NOW) != A_DAY) == is_used


def listed(*moments: datetime | None) -> list[RecordingResource]:
    """Return recordings that were created then."""
    return [resource(f"RE{number:032x}", created=moment) for number, moment in enumerate(moments)]


def resource(
    sid: str, status: str = "completed", *, created: datetime | None = NOW, account_sid: str = ACCOUNT
) -> RecordingResource:
    told = {"sid": sid, "account_sid": account_sid, "call_sid": CALL, "status": status}
    told |= {"date_created": format_datetime(created)} if created else {}
    return RecordingResource(told, api_url="https://api.twilio.com")


SECOND = timedelta(seconds=1)
WINDOW = Window(NOW - timedelta(hours=1), NOW)


@pytest.mark.parametrize(
    ("created", "is_held"),
    [
        (WINDOW.begins, True),
        (WINDOW.begins - SECOND, False),
        (WINDOW.ends + clock.SKEW, True),
        (WINDOW.ends + clock.SKEW + SECOND, False),
        (None, True),
    ],
)
def test_a_list_holds_what_was_created_in_its_time_by_either_clock(created: datetime | None, *, is_held: bool) -> None:
    (recording,) = listed(created)

    assert WINDOW.holds(recording) == is_held


BEGINS = WINDOW.begins
AGES: dict[str, tuple[list[datetime | None], bool]] = {
    "nothing": ([], False),
    "back past it": ([BEGINS, BEGINS - SECOND], True),
    "back, not past it": ([BEGINS + SECOND, BEGINS], False),
    "forth": ([BEGINS - 2 * SECOND, BEGINS - SECOND], False),
    "of one second": ([BEGINS - SECOND, BEGINS - SECOND], False),
    "one alone": ([BEGINS - SECOND], False),
    "back with two of one second": ([BEGINS, BEGINS, BEGINS - SECOND], True),
    "in no order": ([BEGINS, BEGINS - 3 * SECOND, BEGINS - SECOND], False),
    "back with one that does not say when": ([BEGINS, None, BEGINS - SECOND], False),
}


@pytest.mark.parametrize(("moments", "is_behind"), AGES.values(), ids=AGES)
def test_a_page_that_goes_back_in_time_past_the_beginning_is_the_last(
    moments: list[datetime | None], *, is_behind: bool
) -> None:
    assert WINDOW.is_behind(listed(*moments)) == is_behind


# --- a run -------------------------------------------------------------------------------------------------


@dataclass
class TwilioStub:
    """Twilio with recordings by SID, and pages by account; what it was asked, and what it refuses."""

    pages: dict[str, list[list[RecordingResource]]] = field(default_factory=dict)
    recordings: dict[str, RecordingResource] = field(default_factory=dict)
    refusals: dict[str, Exception] = field(default_factory=dict)
    """By SID of an account or recording, by page, or for what it lists at all (`list`)."""
    without_credentials: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    lists: list[dict[str, Any]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    takes: Callable[[], object] = lambda: None

    def of(self, account_sid: str) -> "DoorStub":
        return DoorStub(self, account_sid)

    def answer(self, what: str, account_sid: str, sid: str, deadline: Deadline) -> None:
        self.asked.append((what, sid))
        self.deadlines.append(deadline)
        self.takes()
        for name in (account_sid, sid, what):
            if name in self.refusals:
                raise self.refusals[name]


@dataclass
class DoorStub:
    """What one account sees of it."""

    twilio: TwilioStub
    account_sid: str

    @property
    def credentials(self) -> "DoorStub":
        return self

    def get(self, account_sid: str) -> None:
        if account_sid in self.twilio.without_credentials:
            raise UnknownAccountError(account_sid)

    def fetch_recording(self, recording_sid: str, *, deadline: Deadline) -> RecordingResource:
        self.twilio.answer("fetch", self.account_sid, recording_sid, deadline)
        if recording_sid not in self.twilio.recordings:
            raise TwilioNotFoundError(http_status=404, code=20404, message="no")
        return self.twilio.recordings[recording_sid]

    def list_recordings(self, *, page: str | None, deadline: Deadline, **between: datetime) -> Any:
        self.twilio.lists.append(between | {"page": page})
        self.twilio.answer("list", self.account_sid, page or self.account_sid, deadline)
        pages, number = self.twilio.pages.get(self.account_sid, [[]]), int(page or 0)
        return pages[number], str(number + 1) if number + 1 < len(pages) else None


@pytest.fixture
def twilio() -> TwilioStub:
    return TwilioStub()


@pytest.fixture
def bookmarks(aws: None) -> Bookmarks:
    return Bookmarks(boto3.client("dynamodb"), IDEMPOTENCY_TABLE)


@pytest.fixture
def reconciler(table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub, time: Time) -> Callable[..., Any]:
    """Return a function that makes the next run, which has 200 s if nothing else is said."""

    def make(seconds: float = 200, **more: Any) -> Reconciler:
        return Reconciler(
            accounts=Accounts(bookmarks.client, IDEMPOTENCY_TABLE, ACCOUNT),
            bookmarks=bookmarks,
            recordings=table,
            twilio=cast("Twilio", twilio),
            stale_after=timedelta(minutes=10),
            deadline=Deadline(seconds),
            **more,
        )

    return make


Make = Callable[..., Reconciler]


def open_row(table: RecordingsTable, sid: str, *, account_sid: str = ACCOUNT, minutes: float = 60) -> None:
    """Write the row of a recording that began so many minutes ago."""
    began = clock.iso_seconds(clock.now() - timedelta(minutes=minutes))
    table.record(Facts(sid, account_sid, "in-progress", f"{began[:-1]}.000Z", {"call_sid": CALL, "start_time": began}))


def note_accounts(table: RecordingsTable, *account_sids: str) -> None:
    """Let the stack have met them."""
    accounts = Accounts(table.client, IDEMPOTENCY_TABLE, ACCOUNT)
    for account_sid in account_sids:
        accounts.note(account_sid)


def status(table: RecordingsTable, sid: str) -> str | None:
    row = table.reader.get(sid)
    return str(row["status"]) if row else None


SIDS = [f"RE{number:032x}" for number in range(10)]
STARTED = datetime(2026, 11, 22, 7, 33, 1, tzinfo=UTC)
DAY, OVERLAP = timedelta(days=1), timedelta(minutes=15)


def test_a_run_lists_a_day_and_the_next_one_from_where_it_ended_with_a_day_of_slack_at_both_ends(
    reconciler: Make, bookmarks: Bookmarks, twilio: TwilioStub, time: Time
) -> None:
    reconciler().run()
    assert bookmarks.get(ACCOUNT) == {"listed_until": "2026-11-22T07:33:01Z"}
    time.turn(600)
    reconciler().run()

    first, second = twilio.lists
    later = STARTED + timedelta(minutes=10)
    assert first == {
        "created_after": STARTED - DAY - DAY,
        "created_before": STARTED + clock.SKEW + DAY,
        "page": None,
    }
    assert second == {
        "created_after": STARTED - OVERLAP - DAY,
        "created_before": later + clock.SKEW + DAY,
        "page": None,
    }


def test_a_list_that_no_request_is_left_for_goes_on_at_its_page_in_the_same_time(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub, time: Time
) -> None:
    twilio.pages[ACCOUNT] = [[resource(sid, created=STARTED)] for sid in SIDS[:3]]

    summary = reconciler(most_requests=2).run()

    assert (summary.listed, summary.adopted, summary.twilio_requests, summary.is_finished) == (2, 2, 2, False)
    unfinished = {"begins": "2026-11-21T07:33:01Z", "ends": "2026-11-22T07:33:01Z", "page": "2"}
    assert (bookmarks.get(ACCOUNT), bookmarks.get("accounts")) == (unfinished, {"account_sid": ACCOUNT})

    time.turn(600)
    summary = reconciler(most_requests=2).run()

    assert (summary.listed, summary.adopted, summary.is_finished) == (1, 1, True)
    assert [told["page"] for told in twilio.lists] == [None, "1", "2"]
    assert {(told["created_after"], told["created_before"]) for told in twilio.lists} == {
        (STARTED - 2 * DAY, STARTED + clock.SKEW + DAY)
    }
    assert (bookmarks.get(ACCOUNT), bookmarks.get("accounts")) == ({"listed_until": unfinished["ends"]}, {})


def test_everything_that_twilio_is_asked_ends_with_the_time_there_is(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    open_row(table, SIDS[0])
    run = reconciler()

    run.run()

    assert [what for what, _ in twilio.asked] == ["fetch", "list"]
    assert {id(deadline) for deadline in twilio.deadlines} == {id(run.deadline)}


REFUSED = TwilioRefusedError(http_status=400, code=20001, message="no")
BUSY = RateLimitedError(retry_after_seconds=1, code=20429, message="no", more_info=None)
NOT_OURS = CredentialsRefusedError(http_status=401, code=20003, message="no")


@pytest.mark.parametrize("refusal", [REFUSED, BUSY, NOT_OURS, TwilioUnavailableError("no")])
@pytest.mark.parametrize("page", ["1", None])
def test_a_list_begins_anew_where_twilio_refuses_its_page_and_only_there(
    reconciler: Make, bookmarks: Bookmarks, twilio: TwilioStub, refusal: Exception, page: str | None
) -> None:
    begun = {"begins": "2026-11-22T06:00:00Z", "ends": "2026-11-22T07:00:00Z", "page": "1"}
    ended = {"listed_until": "2026-11-22T06:15:00Z"}
    twilio.refusals = {"list": refusal}
    bookmarks.put(ACCOUNT, begun if page else ended)

    summary = reconciler().run()

    assert (summary.failed_accounts, twilio.lists[0]["page"]) == (1, page)
    assert bookmarks.get(ACCOUNT) == (begun if page and refusal is not REFUSED else ended)


def test_a_run_says_what_it_did(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, str, str]] = []

    def note(what: str, *, recording_sid: str, status: str) -> None:
        logged.append((what, recording_sid, status))

    monkeypatch.setattr(reconcile.logger, "info", note)
    for sid in (*SIDS[:3], SIDS[4]):
        open_row(table, sid)
    twilio.recordings = {sid: resource(sid) for sid in (SIDS[0], SIDS[4])}
    twilio.recordings[SIDS[1]] = resource(SIDS[1], "processing")
    twilio.pages[ACCOUNT] = [[resource(sid, created=STARTED) for sid in (SIDS[0], SIDS[2], SIDS[3], SIDS[3])]]
    note_accounts(table, OTHER_ACCOUNT)
    twilio.refusals[OTHER_ACCOUNT] = REFUSED

    summary = reconciler().run()

    assert summary.as_dict() == {
        "adopted": 1,
        "repaired": 3,
        "checked": 4,
        "listed": 4,
        "twilio_requests": 6,
        "failed_accounts": 1,
        "is_finished": True,
    }
    assert [status(table, sid) for sid in SIDS[:4]] == ["completed", "in-progress", "completed", "completed"]
    assert logged == [
        ("stale row repaired", SIDS[0], "completed"),
        ("stale row repaired", SIDS[4], "completed"),
        ("row repaired", SIDS[2], "completed"),
        ("recording without a row adopted", SIDS[3], "completed"),
    ]


def test_open_rows_use_half_of_the_requests_and_lists_what_is_left(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub
) -> None:
    for sid in SIDS[:5]:
        open_row(table, sid)
    twilio.pages[ACCOUNT] = [[]] * 9

    summary = reconciler(most_requests=5).run()

    assert [what for what, _ in twilio.asked] == ["fetch"] * 2 + ["list"] * 3
    assert (summary.checked, summary.twilio_requests, summary.is_finished) == (2, 5, False)
    assert bookmarks.get("open") == {ACCOUNT: SIDS[1], "account_sid": ACCOUNT}


def test_the_next_run_looks_at_the_rows_behind(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub
) -> None:
    for sid in SIDS[:3]:
        open_row(table, sid)

    for _ in range(2):
        reconciler(most_requests=4).run()
    assert [sid for what, sid in twilio.asked if what == "fetch"] == [SIDS[0], SIDS[1], SIDS[2], SIDS[0]]

    reconciler().run()
    assert bookmarks.get("open") == {}


def test_open_rows_use_half_of_the_time_and_lists_what_is_left_but_for_one_request(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, time: Time
) -> None:
    for sid in SIDS[:9]:
        open_row(table, sid)
    twilio.pages[ACCOUNT] = [[]] * 9
    twilio.takes = lambda: time.turn(10)

    summary = reconciler(seconds=84).run()

    # At 84, 74, 64 and 54 s; half and 12 s, which a request may take, are 54 s. Then at 44, 34, 24 and 14 s.
    assert [what for what, _ in twilio.asked] == ["fetch"] * 4 + ["list"] * 4
    assert not summary.is_finished


@pytest.mark.parametrize(
    ("seconds", "asked", "is_finished"),
    [(11.9, [], False), (12, ["list"], False), (23.9, ["list"], False), (24, ["fetch", "list"], True)],
)
def test_with_the_time_for_one_request_it_is_sent_and_with_less_it_is_not(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, seconds: float, asked: list[str], *, is_finished: bool
) -> None:
    open_row(table, SIDS[0])

    assert reconciler(seconds).run().is_finished == is_finished
    assert [what for what, _ in twilio.asked] == asked


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, time: Time) -> list[str]:
    """The open rows that were read, one in 10 s."""
    found: list[str] = []

    def open_rows(reader: RecordingsReader, shard: str, *, started_by: str, after: Row | None) -> Any:
        wanted = (KEY, "account_sid", "status", "start_time")
        rows, behind = reader.query(
            "open", {"open_shard": shard}, wanted=wanted, until=started_by, oldest_first=True, limit=1, after=after
        )
        found.extend(row[KEY] for row in rows)
        time.turn(10)
        return rows, behind

    monkeypatch.setattr(RecordingsReader, "open_rows", open_rows)
    return found


def of_shard(number: int, count: int) -> list[str]:
    """Return SIDs of recordings whose open rows are in that shard."""
    sids = [f"RE{each:032x}" for each in range(100 * count)]
    return [sid for sid in sids if open_shard(sid) == OPEN_SHARDS[number]][:count]


def test_reading_open_rows_uses_half_of_their_time_and_the_next_run_reads_on(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub, read: list[str]
) -> None:
    first, last = of_shard(0, 6), of_shard(7, 1)
    for place, sid in enumerate([*first, *last]):
        open_row(table, sid, minutes=600 - place)

    assert not reconciler(seconds=198).run().is_finished
    # Half of the time is for open rows, and half of that to read them: until 49.5 s are over.
    assert read == first[:5]
    assert [sid for what, sid in twilio.asked if what == "fetch"] == sorted(first[:5])
    assert bookmarks.get("open") == {
        "open_shard": OPEN_SHARDS[0],
        "recording_sid": first[4],
        "start_time": clock.iso_seconds(STARTED - timedelta(minutes=596)),
    }

    reconciler(seconds=198).run()
    assert (read[5:], bookmarks.get("open")) == ([first[5]], {"open_shard": OPEN_SHARDS[5]})
    assert reconciler(seconds=198).run().is_finished
    assert (read[6:], bookmarks.get("open")) == (last, {})

    reconciler(seconds=198).run()
    assert read[7:] == first[:5], "from the beginning again"


def test_an_account_with_more_open_rows_than_can_be_read_leaves_the_others_their_turns(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, read: list[str]
) -> None:
    others = of_shard(3, 1)[0]
    for number in range(8):
        for sid in of_shard(number, 4):
            open_row(table, sid, minutes=600, account_sid=OTHER_ACCOUNT if sid == others else ACCOUNT)

    fetched = []
    for _ in range(12):
        reconciler().run()
        fetched.append([sid for what, sid in twilio.asked if what == "fetch"])
        twilio.asked.clear()

    assert all(fetched), "in each run something is checked"
    assert others in {sid for run in fetched for sid in run}


@pytest.mark.parametrize(
    "place", [{"open_shard": "open#9", "start_time": "x"}, {"start_time": "x", "recording_sid": "y"}]
)
def test_a_place_that_there_is_not_is_no_place(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, read: list[str], place: dict[str, str]
) -> None:
    open_row(table, SIDS[0])
    bookmarks.put("open", place)

    assert reconciler(seconds=400).run().checked == 1
    assert bookmarks.get("open") == {}


def test_a_place_where_nothing_can_be_read_is_left_after_one_run(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_row(table, SIDS[0])
    bookmarks.put("open", {"open_shard": "open#0", "start_time": "x", "recording_sid": "y", OTHER_ACCOUNT: SIDS[1]})
    open_rows = RecordingsReader.open_rows

    def refuse(reader: RecordingsReader, shard: str, *, started_by: str, after: Row | None) -> Any:
        if after:
            raise RowsUnavailableError
        return open_rows(reader, shard, started_by=started_by, after=after)

    monkeypatch.setattr(RecordingsReader, "open_rows", refuse)

    with pytest.raises(RowsUnavailableError):
        reconciler().run()
    assert bookmarks.get("open") == {OTHER_ACCOUNT: SIDS[1]}
    assert reconciler().run().checked == 1


@pytest.mark.parametrize("odd", [{"recording_sid": "nobody's"}, {"account_sid": "nobody's"}, {"account_sid": None}])
def test_a_row_that_names_no_recording_of_an_account_is_passed_over_and_what_is_behind_it_is_not(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, odd: dict[str, str | None]
) -> None:
    open_row(table, SIDS[0])
    when = {"open_shard": open_shard(SIDS[0]), "start_time": "2026-11-22T01:00:00Z"}
    told = {"recording_sid": SIDS[1], "account_sid": ACCOUNT, "status": "in-progress"} | when | odd
    table.client.put_item(TableName=table.name, Item={name: {"S": text} for name, text in told.items() if text})

    assert reconciler().run().checked == 1
    assert [asked for asked in twilio.asked if asked[0] == "fetch"] == [("fetch", SIDS[0])]


@pytest.mark.parametrize(("minutes", "is_looked_at"), [(9.9, False), (10, True)])
def test_a_row_is_looked_at_once_it_is_open_for_as_long_as_was_said(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, minutes: float, *, is_looked_at: bool
) -> None:
    open_row(table, SIDS[0], minutes=minutes)

    reconciler().run()

    assert ("fetch" in [what for what, _ in twilio.asked]) == is_looked_at


@pytest.mark.parametrize(
    ("refusal", "hours", "becomes"),
    [
        (TwilioNotFoundError(http_status=404, code=20404, message="no"), 48.1, "deleted"),
        (TwilioNotFoundError(http_status=404, code=20404, message="no"), 48, "in-progress"),
        (TwilioNotFoundError(http_status=404, code=None, message="no"), 100, "in-progress"),
        (REFUSED, 100, "in-progress"),
    ],
)
def test_a_recording_that_twilio_says_itself_to_have_lost_is_gone_once_no_call_can_record_it(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, refusal: Exception, hours: float, becomes: str
) -> None:
    open_row(table, SIDS[0], minutes=hours * 60)
    open_row(table, SIDS[1], minutes=hours * 60)
    twilio.refusals[SIDS[0]] = refusal
    twilio.recordings[SIDS[1]] = resource(SIDS[1])

    summary = reconciler().run()

    assert (summary.checked, summary.failed_accounts) == (2, 0)
    assert (status(table, SIDS[0]), status(table, SIDS[1])) == (becomes, "completed")


@pytest.mark.parametrize("refusal", [BUSY, NOT_OURS, TwilioUnavailableError("no")])
def test_an_account_that_twilio_does_not_want_to_hear_of_is_asked_once_in_a_run_and_keeps_nobody_waiting(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, refusal: Exception
) -> None:
    for sid in SIDS[:2]:
        open_row(table, sid)
    open_row(table, SIDS[2], account_sid=OTHER_ACCOUNT)
    note_accounts(table, OTHER_ACCOUNT)
    twilio.refusals[ACCOUNT] = refusal
    twilio.recordings[SIDS[2]] = resource(SIDS[2], account_sid=OTHER_ACCOUNT)

    summary = reconciler().run()

    assert twilio.asked == [("fetch", SIDS[0]), ("fetch", SIDS[2]), ("list", OTHER_ACCOUNT)]
    assert (summary.failed_accounts, summary.repaired, status(table, SIDS[2])) == (1, 1, "completed")


def test_an_account_that_we_fail_with_is_asked_again_in_the_other_half(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    open_row(table, SIDS[0])
    twilio.refusals[SIDS[0]] = TypeError("what nobody expected")

    summary = reconciler().run()

    assert twilio.asked == [("fetch", SIDS[0]), ("list", ACCOUNT)]
    assert (summary.failed_accounts, summary.is_finished) == (1, True)


@pytest.mark.parametrize("error", [NOT_OURS, TypeError("what nobody expected")])
def test_whoever_reads_the_log_learns_which_accounts_were_left_to_the_next_run_and_why(
    reconciler: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    note_accounts(table, OTHER_ACCOUNT)
    twilio.refusals["list"] = error
    told: list[tuple[Any, Any, Any]] = []

    def note(_: str, *, account_sid: str, reason: str, exc_info: object = None) -> None:
        told.append((account_sid, reason, exc_info))

    for level in ("warning", "error"):
        monkeypatch.setattr(reconcile.logger, level, note)

    summary = reconciler().run()

    trace = error if isinstance(error, TypeError) else None
    assert told == [(account_sid, type(error).__name__, trace) for account_sid in (ACCOUNT, OTHER_ACCOUNT)]
    assert summary.failed_accounts == 2


def test_an_account_without_credentials_costs_no_request_and_counts_as_failed(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    open_row(table, SIDS[0], account_sid=OTHER_ACCOUNT)
    note_accounts(table, OTHER_ACCOUNT)
    twilio.without_credentials = {OTHER_ACCOUNT}

    summary = reconciler().run()

    assert twilio.asked == [("list", ACCOUNT)]
    assert (summary.failed_accounts, summary.twilio_requests, summary.checked) == (1, 1, 0)


def test_a_recording_that_cannot_be_stored_stops_no_other_and_is_not_counted(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio.pages[ACCOUNT] = [[resource(sid, created=STARTED) for sid in SIDS[:4]]]
    record = RecordingsTable.record
    refused = {SIDS[0]: ForeignAccountError(SIDS[0]), SIDS[2]: UnstorableFactsError(SIDS[2])}

    def refuse(self: RecordingsTable, facts: Facts, **how: Any) -> None:
        if facts.recording_sid in refused:
            raise refused[facts.recording_sid]
        record(self, facts, **how)

    monkeypatch.setattr(RecordingsTable, "record", refuse)

    summary = reconciler().run()

    assert (summary.adopted, summary.failed_accounts) == (2, 0)
    assert [status(table, sid) for sid in SIDS[:4]] == [None, "completed", None, "completed"]


@pytest.mark.parametrize("held", ["completed", "in-progress", None])
def test_that_a_recording_is_deleted_at_twilio_is_news_only_of_one_that_had_not_ended(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, held: str | None
) -> None:
    """Once it was archived, this stack may have had it deleted there."""
    if held:
        table.record(Facts(SIDS[0], ACCOUNT, held, "2026-11-22T07:33:01.000Z", {"call_sid": CALL}))
    twilio.pages[ACCOUNT] = [[resource(SIDS[0], "deleted", created=STARTED)]]

    summary = reconciler().run()

    assert status(table, SIDS[0]) == ("completed" if held == "completed" else "deleted")
    assert (summary.adopted, summary.repaired) == (held is None, held == "in-progress")


def test_a_row_that_is_removed_while_twilio_is_asked_does_not_come_back(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    for sid in SIDS[:2]:
        open_row(table, sid, minutes=60 * 60)
    twilio.refusals[SIDS[0]] = TwilioNotFoundError(http_status=404, code=20404, message="no")
    twilio.recordings[SIDS[1]] = resource(SIDS[1])
    twilio.takes = lambda: table.client.delete_item(TableName=table.name, Key={"recording_sid": {"S": SIDS[0]}})

    summary = reconciler().run()

    assert (summary.repaired, summary.failed_accounts) == (1, 0)
    assert [status(table, sid) for sid in SIDS[:2]] == [None, "completed"]


def test_a_recording_that_ended_meanwhile_is_not_called_deleted(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub
) -> None:
    open_row(table, SIDS[0])
    twilio.recordings[SIDS[0]] = resource(SIDS[0], "deleted")
    twilio.takes = lambda: table.record(Facts(SIDS[0], ACCOUNT, "completed", "2026-11-22T07:33:01.000Z"))

    assert reconciler().run().repaired == 0
    assert status(table, SIDS[0]) == "completed"


def test_a_page_is_gone_on_with_when_there_was_no_time_left_to_write_it(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub, time: Time
) -> None:
    twilio.pages[ACCOUNT] = [[resource(sid, created=STARTED) for sid in SIDS[:3]]]
    twilio.takes = lambda: time.turn(188.1)

    summary = reconciler().run()

    assert (summary.listed, summary.adopted, summary.is_finished) == (3, 0, False)
    assert bookmarks.get("accounts") == {"account_sid": ACCOUNT}


@pytest.mark.parametrize("broken", ["open rows", "accounts", "both"])
def test_what_ends_one_half_of_a_run_is_raised_once_the_other_is_done(
    reconciler: Make, table: RecordingsTable, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    open_row(table, SIDS[0])
    run = reconciler()
    if broken != "accounts":
        monkeypatch.setattr(RecordingsReader, "open_rows", _fail(RowsUnavailableError()))
    if broken != "open rows":
        monkeypatch.setattr(Accounts, "all", _fail(StateUnavailableError()))

    with pytest.raises(StateUnavailableError if broken == "accounts" else RowsUnavailableError):
        run.run()

    asked = {"open rows": ["list"], "accounts": ["fetch"], "both": []}[broken]
    assert [what for what, _ in twilio.asked] == asked


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize("name", ["open", "accounts"])
def test_turns_that_cannot_be_read_or_noted_are_no_reason_to_do_nothing(
    reconciler: Make,
    table: RecordingsTable,
    twilio: TwilioStub,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    name: str,
) -> None:
    open_row(table, SIDS[0])
    twilio.pages[ACCOUNT] = [[], []]
    do = getattr(Bookmarks, method)

    def fail(self: Bookmarks, of: str, *more: Any) -> Any:
        if of == name:
            raise StateUnavailableError
        return do(self, of, *more)

    monkeypatch.setattr(Bookmarks, method, fail)

    summary = reconciler(most_requests=2).run()

    assert [what for what, _ in twilio.asked] == ["fetch", "list"]
    assert (summary.failed_accounts, summary.is_finished) == (0, False)


def test_turns_that_stay_the_same_are_not_noted_again(
    reconciler: Make, bookmarks: Bookmarks, twilio: TwilioStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    monkeypatch.setattr(Bookmarks, "put", lambda _, name, __: put.append(name))

    reconciler().run()

    assert put == [ACCOUNT]


def test_the_account_whose_turn_it_is_begins(
    reconciler: Make, table: RecordingsTable, bookmarks: Bookmarks, twilio: TwilioStub
) -> None:
    note_accounts(table, OTHER_ACCOUNT)
    open_row(table, SIDS[0])
    open_row(table, SIDS[1], account_sid=OTHER_ACCOUNT)
    for name in ("open", "accounts"):
        bookmarks.put(name, {"account_sid": OTHER_ACCOUNT})

    reconciler().run()

    assert twilio.asked == [
        ("fetch", SIDS[1]),
        ("fetch", SIDS[0]),
        ("list", OTHER_ACCOUNT),
        ("list", ACCOUNT),
    ]


def _fail(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
