"""Making the table agree with Twilio when callbacks did not come, within bounds, from where it stopped."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Final

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallRecordingError,
    CredentialsRefusedError,
    ForeignAccountError,
    RateLimitedError,
    TwilioNotFoundError,
    TwilioRefusedError,
    UnstorableFactsError,
)
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import is_open
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, TwilioAccount

MOST_REQUESTS: Final = 400
"""Requests to Twilio in one run; one after the other, so it never takes more than one connection."""

_LOOK_BACK: Final = timedelta(hours=24)
"""How far the first look at an account goes back: a call lives no longer."""
_OVERLAP: Final = timedelta(minutes=15)
"""How much of what was listed is listed again: recordings can show up late, and clocks differ."""
_SHORTEST_SECONDS: Final = 12.0
"""With less time than this left nothing new is begun: a request to Twilio may take all of it."""
_BATCH: Final = 100

logger = Logger(child=True)


@dataclass
class Summary:
    """What one run did; `is_finished` is False when the next run has to go on where this one stopped."""

    adopted: int = 0
    repaired: int = 0
    checked: int = 0
    listed: int = 0
    twilio_requests: int = 0
    failed_accounts: int = 0
    is_finished: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


class _OutOfBudgetError(CallRecordingError):
    """The run has used up its time or its requests."""


@dataclass
class Reconciler:
    """One run: first the rows that are open too long, then what Twilio has and the table has not."""

    accounts: Accounts
    bookmarks: Bookmarks
    recordings: RecordingsTable
    twilio: Twilio
    stale_after: timedelta
    deadline: Deadline
    most_requests: int = MOST_REQUESTS
    summary: Summary = field(default_factory=Summary)
    _failed: set[str] = field(default_factory=set, init=False)
    _requests_left: int = field(default=0, init=False)
    _reserve_seconds: float = field(default=0.0, init=False)

    def run(self) -> Summary:
        """Do as much as the bounds allow; an account that fails does not keep the others waiting.

        Neither half keeps the other waiting, either: looking at open rows may use half of what there
        is, and the accounts take turns at being first.
        """
        self._requests_left, self._reserve_seconds = self.most_requests // 2, self.deadline.remaining_seconds() / 2
        self._until_out_of_budget(self._repair_stale_rows)
        self._requests_left, self._reserve_seconds = self.most_requests - self.summary.twilio_requests, 0.0
        self._until_out_of_budget(self._adopt_unknown_recordings)
        self.summary.failed_accounts = len(self._failed)
        return self.summary

    def _until_out_of_budget(self, half: Callable[[], None]) -> None:
        try:
            half()
        except _OutOfBudgetError:
            self.summary.is_finished = False

    # --- rows that have been open for longer than expected -----------------------------------------

    def _repair_stale_rows(self) -> None:
        before = clock.iso_seconds(clock.now() - self.stale_after)
        stopped = self.bookmarks.get("open")
        if stopped and stopped["start_time"] >= before:  # `stale_after` has grown; the index takes no key from beyond
            stopped = {}
        done = stopped
        try:
            for row in self._stale_rows(before, stopped):
                if row["account_sid"] not in self._failed:
                    self._repair_or_give_up(row)
                done = {name: row[name] for name in ("recording_sid", "open_shard", "start_time")}
        except _OutOfBudgetError:
            self.bookmarks.put("open", done)
            raise
        if stopped:
            self.bookmarks.put("open", {})

    def _stale_rows(self, before: str, stopped: Row) -> Iterator[Row]:
        """Give the rows to look at, from behind the one where the last run stopped."""
        first = OPEN_SHARDS.index(stopped["open_shard"]) if stopped else 0
        after: Row | None = dict(stopped) or None
        for shard in OPEN_SHARDS[first:] + OPEN_SHARDS[:first]:
            while True:
                rows, after = self.recordings.reader.open_rows(shard, started_before=before, after=after)
                yield from rows
                if after is None:
                    break

    def _repair_or_give_up(self, row: Row) -> None:
        try:
            self._repair(row)
        except _OutOfBudgetError:
            raise
        except (RateLimitedError, CredentialsRefusedError) as error:
            self._give_up(row["account_sid"], error)
        except TwilioRefusedError as error:
            logger.warning("open row that Twilio does not show", recording_sid=row["recording_sid"], code=error.code)
        except CallRecordingError as error:
            self._give_up(row["account_sid"], error)

    def _repair(self, row: Row) -> None:
        recording_sid, account_sid = row["recording_sid"], row["account_sid"]
        twilio = self._ask(account_sid)
        try:
            fetched = twilio.fetch_recording(recording_sid, deadline=self.deadline)
            facts = Facts.from_fetched(fetched)
        except TwilioNotFoundError as error:
            self.summary.checked += 1
            if not self._is_gone_without_a_trace(row, error):
                logger.warning("open row that Twilio does not know; left as it is", recording_sid=recording_sid)
                return
            facts = Facts.gone(recording_sid, account_sid)
        else:
            self.summary.checked += 1
        if not is_open(facts.status) and not self._is_deleted_after_all(facts):
            self.summary.repaired += self._record(facts, "stale row repaired")

    def _is_deleted_after_all(self, facts: Facts) -> bool:
        """Tell whether Twilio's `deleted` is news of a row that has ended since it was listed as open.

        Then we may have had it deleted there ourselves, once it was archived.
        """
        if facts.status != "deleted":
            return False
        row = self.recordings.reader.get(facts.recording_sid)
        return row is not None and not is_open(row["status"])

    @staticmethod
    def _is_gone_without_a_trace(row: Row, error: TwilioNotFoundError) -> bool:
        """Tell whether a 404 proves that the recording is no more.

        It can also come from a proxy, or from another region. So only Twilio's own code counts, and
        only once no call can still be recorded.
        """
        is_over = row["start_time"] < clock.iso_seconds(clock.now() - 2 * _LOOK_BACK)
        return error.code is not None and is_over

    # --- recordings at Twilio that have no row -------------------------------------------------------

    def _adopt_unknown_recordings(self) -> None:
        accounts = self.accounts.all()
        stopped = self.bookmarks.get("accounts").get("account_sid")
        first = accounts.index(stopped) if stopped in accounts else 0
        for account_sid in accounts[first:] + accounts[:first]:
            if account_sid in self._failed:
                continue
            try:
                self._list_since_last_time(account_sid)
            except _OutOfBudgetError:
                self.bookmarks.put("accounts", {"account_sid": account_sid})
                raise
            except CallRecordingError as error:
                self._give_up(account_sid, error)
        if stopped:
            self.bookmarks.put("accounts", {})

    def _list_since_last_time(self, account_sid: str) -> None:
        """Go through what was created since the last complete look, page by page."""
        bookmark = self.bookmarks.get(account_sid)
        page = bookmark.get("page")
        if not page:
            now = clock.now()
            listed_until = bookmark.get("listed_until")
            begins = datetime.fromisoformat(listed_until) - _OVERLAP if listed_until else now - _LOOK_BACK
            bookmark = {"begins": clock.iso_seconds(begins), "ends": clock.iso_seconds(now)}
        begins, ends = (datetime.fromisoformat(bookmark[name]) for name in ("begins", "ends"))
        while True:
            try:
                found, page = self._ask(account_sid).list_recordings(
                    created_after=begins, created_before=ends + clock.SKEW, page=page, deadline=self.deadline
                )
            except TwilioRefusedError as error:
                if page and not isinstance(error, RateLimitedError | CredentialsRefusedError):
                    # The page's name is no longer good: the next run goes through the time from the start.
                    self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(begins + _OVERLAP)})
                raise
            self.summary.listed += len(found)
            for batch in batched(found, _BATCH, strict=False):
                self._adopt(list(batch))
            if page is None:
                self.bookmarks.put(account_sid, {"listed_until": bookmark["ends"]})
                return
            self.bookmarks.put(account_sid, bookmark | {"page": page})

    def _adopt(self, listed: list[RecordingResource]) -> None:
        held = self.recordings.reader.statuses([recording["sid"] for recording in listed])
        for recording in listed:
            facts = Facts.from_fetched(recording)
            status = held.get(facts.recording_sid)
            if status is None:
                self.summary.adopted += self._record(facts, "recording without a row adopted")
            elif is_open(status) and not is_open(facts.status):
                self.summary.repaired += self._record(facts, "open row repaired")

    def _record(self, facts: Facts, what: str) -> int:
        """Return how many rows were written: one recording that cannot be stored does not stop the others."""
        try:
            self.recordings.record(facts)
        except (ForeignAccountError, UnstorableFactsError) as error:
            logger.exception("recording not stored", recording_sid=facts.recording_sid, reason=type(error).__name__)
            return 0
        logger.info(what, recording_sid=facts.recording_sid, status=facts.status)
        return 1

    # --- bounds ----------------------------------------------------------------------------------------

    def _ask(self, account_sid: str) -> TwilioAccount:
        """Return the account's door to Twilio, for one request."""
        seconds_left = self.deadline.remaining_seconds() - self._reserve_seconds
        if seconds_left < _SHORTEST_SECONDS or self._requests_left < 1:
            raise _OutOfBudgetError
        self._requests_left -= 1
        self.summary.twilio_requests += 1
        return self.twilio.of(account_sid)

    def _give_up(self, account_sid: str, error: CallRecordingError) -> None:
        """Leave the account to the next run: it was refused, limited, or Twilio is down."""
        self._failed.add(account_sid)
        logger.warning("account not reconciled in this run", account_sid=account_sid, reason=type(error).__name__)
