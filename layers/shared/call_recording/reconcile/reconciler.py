"""Updates the table from Twilio when callbacks did not arrive, within limits, continuing where it stopped."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import (
    AccountError,
    CredentialsRefusedError,
    ForeignAccountError,
    RateLimitedError,
    RecordingNotFoundError,
    RowsUnavailableError,
    StateUnavailableError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    UnstorableFactsError,
)
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.together import all_at_once
from call_recording.reconcile.turns import OutOfBudgetError, Waiting, take_turns
from call_recording.reconcile.windows import LOOK_BACK, OVERLAP, Slice, Window
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.recordings.row import KEY, Row
from call_recording.recordings.statuses import is_open, outranks
from call_recording.recordings.table import RecordingsTable
from call_recording.sids import ACCOUNT, RECORDING, is_sid
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, TwilioAccount

MOST_REQUESTS: Final = 400
"""Requests to Twilio in one run, for each concurrent one."""

_SLACK: Final = timedelta(days=1)
"""The margin at both ends: Twilio documents `DateCreated<` and `>` for days, not for times."""
_SHORTEST_SECONDS: Final = 12.0
"""With less time than this left nothing new is started: a request to Twilio, or a write, may take all of it."""

_TURN: Final = "account_sid"
"""The bookmark of the account whose turn is next."""

_SHARD: Final = "open_shard"
_PLACE: Final = (_SHARD, "start_time", KEY)
"""Where reading the open rows goes on: the shard, or the last row that was read of it."""

type _Part = tuple[Slice, str | None]
"""A slice, and the page where it continues."""

logger = Logger(child=True)


@dataclass
class Summary:
    """What one run did; `is_finished` is False if the next run must continue where this one stopped."""

    adopted: int = 0
    repaired: int = 0
    checked: int = 0
    listed: int = 0
    twilio_requests: int = 0
    failed_accounts: int = 0
    is_finished: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return asdict(self)


@dataclass
class Reconciler:
    """One run: first the rows that are open for too long, then recordings that only Twilio has."""

    accounts: Accounts
    bookmarks: Bookmarks
    recordings: RecordingsTable
    twilio: Twilio
    stale_after: timedelta
    deadline: Deadline
    at_once: int = 1
    """Concurrent requests to Twilio for one account."""
    most_requests: int = MOST_REQUESTS
    """Requests in the run for each concurrent one."""
    summary: Summary = field(default_factory=Summary)
    _failed: set[str] = field(default_factory=set, init=False)
    _refused: set[str] = field(default_factory=set, init=False)
    """Accounts that are skipped in this run, because Twilio refused or could not be asked."""
    _limits: dict[str, int] = field(default_factory=dict, init=False)
    """The reduced number of concurrent requests for accounts that Twilio has rate limited."""
    _requests_left: int = field(default=0, init=False)
    _reserve_seconds: float = field(default=0.0, init=False)

    def run(self) -> Summary:
        """Do as much as the limits allow; an account that fails does not block the others.

        Neither half blocks the other: checking open rows may use half of the budget. In both the
        accounts take turns, row by row and page by page; `at_once` of them make one turn.

        Raises what ended one of the halves, after the other is done: RowsUnavailableError or
        StateUnavailableError if DynamoDB does not answer.
        """
        most = self.most_requests * self.at_once
        self._requests_left, self._reserve_seconds = most // 2, self.deadline.remaining_seconds() / 2
        errors = self._errors_of(self._repair_stale_rows)
        self._requests_left, self._reserve_seconds = most - self.summary.twilio_requests, 0.0
        errors += self._errors_of(self._adopt_unknown_recordings)
        self.summary.failed_accounts = len(self._failed)
        if errors:
            raise errors[0]
        return self.summary

    @staticmethod
    def _errors_of(half: Callable[[], None]) -> list[Exception]:
        try:
            half()
        except Exception as error:
            logger.exception("part of a reconciliation failed")
            return [error]
        return []

    # --- rows that have been open for longer than expected -----------------------------------------

    def _repair_stale_rows(self) -> None:
        bookmark = self._turns("open")
        place = {name: at for name, at in bookmark.items() if name in _PLACE}
        try:
            stale = self._stale_rows(bookmark, place)
        except RowsUnavailableError:
            # The place may be the cause, so the next run does not begin there.
            self._note("open", {name: at for name, at in bookmark.items() if name not in _PLACE}, bookmark)
            raise
        # Where each unfinished account continues.
        last = {account_sid: sid for account_sid, sid in bookmark.items() if account_sid in stale}
        turn = self._take_turns(
            {account_sid: self._repair_each(account_sid, rows, last) for account_sid, rows in stale.items()}, bookmark
        )
        self._note("open", last | turn | place, bookmark)

    def _stale_rows(self, last: Mapping[str, str], place: dict[str, str]) -> dict[str, list[Row]]:
        """Return the rows to check for each account, after the last one checked, as many as a run can request.

        All keys are read, because the index is not sorted by account: an account with thousands of open rows must
        not hide the others.
        """
        found: dict[str, Waiting] = {}
        for row in self._open_rows(place):
            account_sid = row.get("account_sid", "")
            if not (is_sid(account_sid, ACCOUNT) and is_sid(row[KEY], RECORDING)):
                logger.error("open row without a valid recording or account SID", recording_sid=row[KEY])
                continue
            if account_sid not in found:
                found[account_sid] = Waiting(behind=last.get(account_sid, ""), most=self._requests_left + 1)
            found[account_sid].add(row)
        return {account_sid: waiting.rows() for account_sid, waiting in found.items()}

    def _open_rows(self, place: dict[str, str]) -> Iterator[Row]:
        """Yield open rows from `place` on, which then says where the next run reads on: nothing after the last row.

        Reading may use half of the time, so that some of the rows can be checked, however many there are.
        """
        before = clock.iso_seconds(clock.now() - self.stale_after)
        until_seconds = (self.deadline.remaining_seconds() + self._reserve_seconds) / 2
        first = OPEN_SHARDS.index(place[_SHARD]) if place.get(_SHARD) in OPEN_SHARDS else 0
        after: Row | None = dict(place) if len(place) == len(_PLACE) else None
        place.clear()
        for shard in OPEN_SHARDS[first:]:
            while True:
                if not self._has_time() or self.deadline.remaining_seconds() < until_seconds:
                    place |= after or {_SHARD: shard}
                    self.summary.is_finished = False
                    return
                rows, after = self.recordings.reader.open_rows(shard, started_by=before, after=after)
                yield from rows
                if after is None:
                    break

    def _repair_each(self, account_sid: str, rows: list[Row], last: dict[str, str]) -> Iterator[None]:
        waiting = deque(rows)
        while waiting:
            errors: list[Exception] = []
            for row, fetched in self._together(account_sid, waiting, self._fetch):
                if not errors:
                    last[account_sid] = row[KEY]  # also after a failure: the next run starts with the row after it
                try:
                    self._repair(row, fetched)
                except Exception as error:  # noqa: BLE001 (raised below, once the others' answers are used)
                    errors.append(error)
            if errors:
                raise errors[0]
            yield
        last.pop(account_sid, None)

    def _fetch(self, twilio: TwilioAccount, row: Row) -> RecordingResource:
        return twilio.fetch_recording(row[KEY], deadline=self.deadline)

    def _repair(self, row: Row, fetched: RecordingResource | Exception) -> None:
        self.summary.checked += 1
        if isinstance(fetched, RecordingResource):
            facts = Facts.from_fetched(fetched)
        elif not isinstance(fetched, TwilioRefusedError) or isinstance(
            fetched, RateLimitedError | CredentialsRefusedError
        ):
            raise fetched
        elif self._is_gone_without_a_trace(row, fetched):
            facts = Facts.gone(row[KEY], row["account_sid"])
        else:
            logger.warning("open row not found at Twilio", recording_sid=row[KEY], code=fetched.code)
            return
        if self._is_news(facts, row.get("status")):
            # If time to live has removed the row since it was read, it must not come back.
            self.summary.repaired += self._record(facts, "stale row repaired", needs_row=True)

    @staticmethod
    def _is_gone_without_a_trace(row: Row, error: TwilioRefusedError) -> bool:
        """Return whether a 404 proves that the recording no longer exists.

        It can also come from a proxy, or from another region. So only Twilio's own code counts, and
        only when no call can last that long.
        """
        is_over = row["start_time"] < clock.iso_seconds(clock.now() - 2 * LOOK_BACK)
        return isinstance(error, TwilioNotFoundError) and error.code is not None and is_over

    # --- recordings at Twilio that the table lacks, or has less about ---------------------------------

    def _adopt_unknown_recordings(self) -> None:
        bookmark = self._turns("accounts")
        lists = {account_sid: self._list_since_last_time(account_sid) for account_sid in self.accounts.all()}
        self._note("accounts", self._take_turns(lists, bookmark), bookmark)

    def _list_since_last_time(self, account_sid: str) -> Iterator[None]:
        """List what was created since the last complete listing, page by page, in slices if that is much."""
        window, may_be_cut = Window.of(self.bookmarks.get(account_sid), clock.now()), True
        while True:
            listed, page = self._page(account_sid, window)
            found = [recording for recording in listed if window.holds(recording)]
            page = None if window.is_behind(listed) else page
            self._adopt(found, self._held(found))
            if page is None:
                break
            window = window._replace(page=page)
            self.bookmarks.put(account_sid, window.unfinished())
            yield
            slices = window.slices(listed, at_once=self._most_at_once(account_sid)) if may_be_cut else []
            if slices and (yield from self._list_slices(account_sid, slices, until=window.ends)):
                break
            may_be_cut = not slices
        self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(window.ends)})

    def _list_slices(self, account_sid: str, slices: list[Slice], *, until: datetime) -> Generator[None, None, bool]:
        """List several slices concurrently, the oldest first; return False if Twilio ignores times.

        The first slice that contains recordings, and only its own, proves that Twilio uses them. If a run ends before
        everything up to `until` is listed, its bookmark lets the next one continue, or start with the usual overlap.
        """
        waiting: deque[_Part] = deque((part, None) for part in slices)
        is_proven, begins = False, slices[0].begins
        while waiting:
            met = self._together(account_sid, waiting, self._list_part)
            answered = [(part, page, *answer) for (part, page), answer in met if not isinstance(answer, Exception)]
            errors = [answer for _, answer in met if isinstance(answer, Exception)]
            first = [(part, listed) for part, page, listed, _, _ in answered if page is None]
            is_proven = is_proven or any(listed for _, listed in first)
            if not all(part.has_all(listed) for part, listed in first) or (first and not is_proven):
                logger.warning("Twilio ignores times in list filters", account_sid=account_sid)
                return False
            held: dict[str, str] = {}  # of all slices: a recording at a border is in two of them
            for *_, of_part in answered:
                held |= of_part
            for _, _, listed, _, _ in answered:
                self._adopt(listed, held)
            following = {part: following for part, _, _, following, _ in answered}
            rest = [(part, following.get(part, page)) for (part, page), _ in met]
            waiting.extendleft((part, page) for part, page in reversed(rest) if part not in following or page)
            oldest = min((part.begins for part, _ in waiting), default=begins)
            if oldest > begins:
                begins = oldest
                self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(min(begins + OVERLAP, until))})
            if errors:
                raise errors[0]
            yield
        return True

    def _list_part(
        self, twilio: TwilioAccount, asked: _Part
    ) -> tuple[list[RecordingResource], str | None, dict[str, str]]:
        part, page = asked
        after, before = part.bounds
        listed, following = twilio.list_recordings(
            created_after=after, created_before=before, page=page, deadline=self.deadline
        )
        return listed, following, self._held(listed)

    def _page(self, account_sid: str, window: Window) -> tuple[list[RecordingResource], str | None]:
        begins, ends, page = window
        try:
            twilio, _ = self._ask(account_sid)
            return twilio.list_recordings(
                created_after=begins - _SLACK,
                created_before=ends + clock.SKEW + _SLACK,
                page=page,
                deadline=self.deadline,
            )
        except TwilioRefusedError as error:
            if page and not isinstance(error, RateLimitedError | CredentialsRefusedError):
                # The page's name is no longer valid: the next run lists the whole window again.
                self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(begins + OVERLAP)})
            raise

    def _held(self, listed: Sequence[RecordingResource]) -> dict[str, str]:
        """Return the status of each that has a row."""
        return self.recordings.reader.statuses([recording["sid"] for recording in listed])

    def _adopt(self, listed: Sequence[RecordingResource], held: dict[str, str]) -> None:
        self.summary.listed += len(listed)
        for recording in listed:
            if not self._has_time():
                raise OutOfBudgetError
            status = held.get(recording["sid"])
            if recording["status"] == status:  # nearly all
                continue
            facts = Facts.from_fetched(recording)
            if status is None:
                self.summary.adopted += self._record(facts, "recording without a row adopted")
            elif self._is_news(facts, status):
                self.summary.repaired += self._record(facts, "row repaired")
            else:
                continue
            held[facts.recording_sid] = facts.status  # a list can contain a recording twice

    # --- what both do --------------------------------------------------------------------------------

    def _is_news(self, facts: Facts, held: object) -> bool:
        """Return whether Twilio reports more about a recording than its row, as it was read.

        `deleted` is not new for a row that has ended, even since it was read: this stack may have deleted the
        recording at Twilio itself, after archiving it.
        """
        if facts.status != "deleted":
            return outranks(facts.status, str(held))
        row = self.recordings.reader.get(facts.recording_sid)
        return row is None or is_open(str(row.get("status")))

    def _record(self, facts: Facts, what: str, *, needs_row: bool = False) -> int:
        """Return how many rows were written: one recording that cannot be stored does not stop the others."""
        try:
            self.recordings.record(facts, needs_row=needs_row)
        except (ForeignAccountError, RecordingNotFoundError, UnstorableFactsError) as error:
            logger.exception("recording not stored", recording_sid=facts.recording_sid, reason=type(error).__name__)
            return 0
        logger.info(what, recording_sid=facts.recording_sid, status=facts.status)
        return 1

    # --- turns and bounds ------------------------------------------------------------------------------

    def _take_turns(self, work: dict[str, Iterator[None]], bookmark: Mapping[str, str]) -> dict[str, str]:
        """Let the accounts work; return the bookmark of whose turn is next."""
        wanted = {account_sid: steps for account_sid, steps in work.items() if account_sid not in self._refused}
        turn = take_turns(wanted, first=bookmark.get(_TURN, ""), give_up=self._give_up)
        if turn is None:
            return {}
        self.summary.is_finished = False
        return {_TURN: turn}

    def _turns(self, name: str) -> dict[str, str]:
        """Return whose turn it is; if that cannot be read, the first account, rather than doing nothing."""
        try:
            return self.bookmarks.get(name)
        except StateUnavailableError:
            logger.exception("order of accounts not read", bookmark=name)
            return {}

    def _note(self, name: str, bookmark: dict[str, str], held: dict[str, str]) -> None:
        if bookmark == held:
            return
        try:
            self.bookmarks.put(name, bookmark)
        except StateUnavailableError:
            logger.exception("order of accounts not saved", bookmark=name)

    def _ask(self, account_sid: str, wanted: int = 1) -> tuple[TwilioAccount, int]:
        """Return the account's Twilio client, and how many of the `wanted` requests it may send: at least one."""
        if not self._has_time() or self._requests_left < 1:
            raise OutOfBudgetError
        twilio = self.twilio.of(account_sid)
        twilio.credentials.get(account_sid)  # without credentials nothing is sent, so it uses none of the requests
        granted = min(wanted, self._requests_left)
        self._requests_left -= granted
        self.summary.twilio_requests += granted
        return twilio, granted

    def _together[Item, Answer](
        self, account_sid: str, waiting: deque[Item], ask: Callable[[TwilioAccount, Item], Answer]
    ) -> list[tuple[Item, Answer | Exception]]:
        """Take the next items, ask Twilio about them concurrently, and return each with its result.

        Items that Twilio rate limits go back to the front, and from then on half as many are requested
        concurrently.
        """
        twilio, granted = self._ask(account_sid, min(self._most_at_once(account_sid), len(waiting)))
        items = [waiting.popleft() for _ in range(granted)]
        met = list(zip(items, all_at_once([partial(ask, twilio, item) for item in items]), strict=True))
        if granted == 1:
            return met
        limited = [item for item, answer in met if isinstance(answer, RateLimitedError)]
        if limited:
            self._limits[account_sid] = granted // 2
            waiting.extendleft(reversed(limited))
        return [(item, answer) for item, answer in met if not isinstance(answer, RateLimitedError)]

    def _most_at_once(self, account_sid: str) -> int:
        return self._limits.get(account_sid, self.at_once)

    def _has_time(self) -> bool:
        return self.deadline.remaining_seconds() - self._reserve_seconds >= _SHORTEST_SECONDS

    def _give_up(self, account_sid: str, error: Exception) -> None:
        """Leave the account to the next run, or to the other half if another request makes sense."""
        self._failed.add(account_sid)
        told: dict[str, Any] = {"account_sid": account_sid, "reason": type(error).__name__}
        if isinstance(error, AccountError | TwilioRefusedError | TwilioUnavailableError):
            self._refused.add(account_sid)
            logger.warning("account not reconciled in this run", **told)
        else:
            logger.error("account not reconciled in this run", exc_info=error, **told)
