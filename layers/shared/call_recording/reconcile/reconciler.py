"""Making the table agree with Twilio when callbacks did not come, within bounds, from where it stopped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Final, NamedTuple, Self

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import (
    AccountError,
    CredentialsRefusedError,
    ForeignAccountError,
    RateLimitedError,
    StateUnavailableError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    UnstorableFactsError,
)
from call_recording.reconcile.bookmarks import Bookmarks
from call_recording.reconcile.turns import OutOfBudgetError, Waiting, take_turns
from call_recording.recordings.facts import Facts, moment
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.recordings.row import KEY, Row
from call_recording.recordings.statuses import is_open, outranks
from call_recording.recordings.table import RecordingsTable
from call_recording.sids import ACCOUNT, RECORDING, is_sid
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio, TwilioAccount

MOST_REQUESTS: Final = 400
"""Requests to Twilio in one run; one after the other, so it never takes more than one connection."""

_LOOK_BACK: Final = timedelta(hours=24)
"""How far the first look at an account goes back: a call lives no longer."""
_OVERLAP: Final = timedelta(minutes=15)
"""How much of what was listed is listed again: recordings can show up late, and clocks differ."""
_SLACK: Final = timedelta(days=1)
"""How much more is asked for at both ends: Twilio documents `DateCreated<` and `>` for days, not for times."""
_FIRST_YEAR: Final = 2000
_SHORTEST_SECONDS: Final = 12.0
"""With less time than this left nothing new is begun: a request to Twilio, or a row's write, may take all of it."""
_BATCH: Final = 100

_TURN: Final = "account_sid"
"""In a bookmark: the account whose turn it is."""

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


class _Window(NamedTuple):
    """Which time an account's recordings are listed of, and the page where that goes on."""

    begins: datetime
    ends: datetime
    page: str | None = None

    @classmethod
    def of(cls, bookmark: Mapping[str, str], now: datetime) -> Self:
        """Return what the account's bookmark says: the rest of an unfinished list, or the time since the last one.

        Where there is none, or one that nobody can go on from, that is a day: too much rather than too little.
        """
        whole = cls(now - _LOOK_BACK, now)
        try:
            if bookmark.get("page"):
                window = cls(_moment(bookmark["begins"]), _moment(bookmark["ends"]), bookmark["page"])
            else:
                window = cls(_moment(bookmark["listed_until"]) - _OVERLAP, now)
        except (KeyError, OverflowError, ValueError):
            return whole
        is_usable = window.begins <= window.ends <= now + clock.SKEW and window.begins.year >= _FIRST_YEAR
        return window if is_usable else whole

    def holds(self, recording: RecordingResource) -> bool:
        """Tell whether the recording was created in it; one that does not say when is not passed over."""
        created = _created(recording)
        return not created or self._begins <= created <= clock.iso_seconds(self.ends + clock.SKEW)

    def is_behind(self, listed: Sequence[RecordingResource]) -> bool:
        """Tell whether whatever Twilio lists after this page is older: the page goes back in time, and past it.

        Otherwise every run would go through the day of slack, too.
        """
        created = [_created(recording) for recording in listed]
        if not created or not all(created):
            return False
        goes_back = created[0] > created[-1] and created == sorted(created, reverse=True)
        return goes_back and created[-1] < self._begins

    @property
    def _begins(self) -> str:
        return clock.iso_seconds(self.begins)

    def unfinished(self) -> dict[str, str]:
        """Return the bookmark of what is still to be listed."""
        return {"begins": clock.iso_seconds(self.begins), "ends": clock.iso_seconds(self.ends), "page": self.page or ""}


def _created(recording: RecordingResource) -> str:
    return moment(recording.get("date_created")) or ""


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment


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
    _refused: set[str] = field(default_factory=set, init=False)
    """Accounts that Twilio does not want to hear of in this run, or that cannot be asked about."""
    _requests_left: int = field(default=0, init=False)
    _reserve_seconds: float = field(default=0.0, init=False)

    def run(self) -> Summary:
        """Do as much as the bounds allow; an account that fails does not keep the others waiting.

        Neither half keeps the other waiting, either: looking at open rows may use half of what there
        is. In both the accounts take turns, row by row and page by page.

        Raises what ended one of the halves as a whole, once the other is done: RowsUnavailableError or
        StateUnavailableError where DynamoDB does not answer.
        """
        self._requests_left, self._reserve_seconds = self.most_requests // 2, self.deadline.remaining_seconds() / 2
        errors = self._errors_of(self._repair_stale_rows)
        self._requests_left, self._reserve_seconds = self.most_requests - self.summary.twilio_requests, 0.0
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
            logger.exception("half of a run not done")
            return [error]
        return []

    # --- rows that have been open for longer than expected -----------------------------------------

    def _repair_stale_rows(self) -> None:
        bookmark = self._turns("open")
        stale = self._stale_rows(bookmark)
        # Where each account goes on that does not get through.
        last = {account_sid: sid for account_sid, sid in bookmark.items() if account_sid in stale}
        turn = self._take_turns(
            {account_sid: self._repair_each(account_sid, rows, last) for account_sid, rows in stale.items()}, bookmark
        )
        self._note("open", last | turn, bookmark)

    def _stale_rows(self, last: Mapping[str, str]) -> dict[str, list[Row]]:
        """Return of each account the rows to look at, from behind the one that was last, as many as a run can ask for.

        All keys are read, because the index does not know accounts: whoever has thousands of open rows shall not
        hide the others' behind them. Where even that takes too long, each run begins with another shard.
        """
        before = clock.iso_seconds(clock.now() - self.stale_after)
        first = int(clock.now().timestamp()) // 60 % len(OPEN_SHARDS)
        found: dict[str, Waiting] = {}
        for shard in OPEN_SHARDS[first:] + OPEN_SHARDS[:first]:
            for row in self._open_rows(shard, before):
                account_sid = row.get("account_sid", "")
                if not (is_sid(account_sid, ACCOUNT) and is_sid(row[KEY], RECORDING)):
                    logger.error("open row that names no recording of an account", recording_sid=row[KEY])
                    continue
                if account_sid not in found:
                    found[account_sid] = Waiting(behind=last.get(account_sid, ""), most=self._requests_left + 1)
                found[account_sid].add(row)
        return {account_sid: waiting.rows() for account_sid, waiting in found.items()}

    def _open_rows(self, shard: str, before: str) -> Iterator[Row]:
        after: Row | None = None
        while self._has_time():
            rows, after = self.recordings.reader.open_rows(shard, started_by=before, after=after)
            yield from rows
            if after is None:
                return
        self.summary.is_finished = False

    def _repair_each(self, account_sid: str, rows: list[Row], last: dict[str, str]) -> Iterator[None]:
        for row in rows:
            twilio = self._ask(account_sid)
            last[account_sid] = row[KEY]  # before it fails: next time the one behind it comes first
            self._repair(twilio, row)
            yield
        last.pop(account_sid, None)

    def _repair(self, twilio: TwilioAccount, row: Row) -> None:
        self.summary.checked += 1
        try:
            facts = Facts.from_fetched(twilio.fetch_recording(row[KEY], deadline=self.deadline))
        except (RateLimitedError, CredentialsRefusedError):
            raise
        except TwilioRefusedError as error:
            if not self._is_gone_without_a_trace(row, error):
                logger.warning("open row that Twilio does not show", recording_sid=row[KEY], code=error.code)
                return
            facts = Facts.gone(row[KEY], row["account_sid"])
        if self._is_news(facts, row.get("status")):
            self.summary.repaired += self._record(facts, "stale row repaired")

    @staticmethod
    def _is_gone_without_a_trace(row: Row, error: TwilioRefusedError) -> bool:
        """Tell whether a 404 proves that the recording is no more.

        It can also come from a proxy, or from another region. So only Twilio's own code counts, and
        only once no call can still be recorded.
        """
        is_over = row["start_time"] < clock.iso_seconds(clock.now() - 2 * _LOOK_BACK)
        return isinstance(error, TwilioNotFoundError) and error.code is not None and is_over

    # --- recordings at Twilio that the table lacks, or knows less of ---------------------------------

    def _adopt_unknown_recordings(self) -> None:
        bookmark = self._turns("accounts")
        lists = {account_sid: self._list_since_last_time(account_sid) for account_sid in self.accounts.all()}
        self._note("accounts", self._take_turns(lists, bookmark), bookmark)

    def _list_since_last_time(self, account_sid: str) -> Iterator[None]:
        """Go through what was created since the last complete look, page by page."""
        window = _Window.of(self.bookmarks.get(account_sid), clock.now())
        while True:
            listed, page = self._page(account_sid, window)
            found = [recording for recording in listed if window.holds(recording)]
            page = None if window.is_behind(listed) else page
            self.summary.listed += len(found)
            for batch in batched(found, _BATCH, strict=False):
                self._adopt(batch)
            if page is None:
                self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(window.ends)})
                return
            window = window._replace(page=page)
            self.bookmarks.put(account_sid, window.unfinished())
            yield

    def _page(self, account_sid: str, window: _Window) -> tuple[list[RecordingResource], str | None]:
        begins, ends, page = window
        try:
            return self._ask(account_sid).list_recordings(
                created_after=begins - _SLACK,
                created_before=ends + clock.SKEW + _SLACK,
                page=page,
                deadline=self.deadline,
            )
        except TwilioRefusedError as error:
            if page and not isinstance(error, RateLimitedError | CredentialsRefusedError):
                # The page's name is no longer good: the next run goes through the time from the start.
                self.bookmarks.put(account_sid, {"listed_until": clock.iso_seconds(begins + _OVERLAP)})
            raise

    def _adopt(self, listed: tuple[RecordingResource, ...]) -> None:
        held = self.recordings.reader.statuses([recording["sid"] for recording in listed])
        for recording in listed:
            if not self._has_time():
                raise OutOfBudgetError
            facts = Facts.from_fetched(recording)
            status = held.get(facts.recording_sid)
            if status is None:
                self.summary.adopted += self._record(facts, "recording without a row adopted")
            elif self._is_news(facts, status):
                self.summary.repaired += self._record(facts, "row repaired")
            else:
                continue
            held[facts.recording_sid] = facts.status  # a list can name a recording twice

    # --- what both do --------------------------------------------------------------------------------

    def _is_news(self, facts: Facts, held: object) -> bool:
        """Tell whether Twilio says more of a recording than its row does, as it was read.

        `deleted` is no news of a row that has ended, also since it was read: then we may have had the recording
        deleted at Twilio ourselves, once it was archived.
        """
        if facts.status != "deleted":
            return outranks(facts.status, str(held))
        row = self.recordings.reader.get(facts.recording_sid)
        return row is None or is_open(str(row.get("status")))

    def _record(self, facts: Facts, what: str) -> int:
        """Return how many rows were written: one recording that cannot be stored does not stop the others."""
        try:
            self.recordings.record(facts)
        except (ForeignAccountError, UnstorableFactsError) as error:
            logger.exception("recording not stored", recording_sid=facts.recording_sid, reason=type(error).__name__)
            return 0
        logger.info(what, recording_sid=facts.recording_sid, status=facts.status)
        return 1

    # --- turns and bounds ------------------------------------------------------------------------------

    def _take_turns(self, work: dict[str, Iterator[None]], bookmark: Mapping[str, str]) -> dict[str, str]:
        """Let the accounts work; return what a bookmark says of whose turn it is next."""
        wanted = {account_sid: steps for account_sid, steps in work.items() if account_sid not in self._refused}
        turn = take_turns(wanted, first=bookmark.get(_TURN, ""), give_up=self._give_up)
        if turn is None:
            return {}
        self.summary.is_finished = False
        return {_TURN: turn}

    def _turns(self, name: str) -> dict[str, str]:
        """Return whose turn it is; where that cannot be read, whoever comes first: no reason to do nothing."""
        try:
            return self.bookmarks.get(name)
        except StateUnavailableError:
            logger.exception("turns not known", bookmark=name)
            return {}

    def _note(self, name: str, bookmark: dict[str, str], held: dict[str, str]) -> None:
        if bookmark == held:
            return
        try:
            self.bookmarks.put(name, bookmark)
        except StateUnavailableError:
            logger.exception("turns not noted", bookmark=name)

    def _ask(self, account_sid: str) -> TwilioAccount:
        """Return the account's door to Twilio, for one request."""
        if not self._has_time() or self._requests_left < 1:
            raise OutOfBudgetError
        twilio = self.twilio.of(account_sid)
        twilio.credentials.get(account_sid)  # without them nothing is asked, so that it costs none of the requests
        self._requests_left -= 1
        self.summary.twilio_requests += 1
        return twilio

    def _has_time(self) -> bool:
        return self.deadline.remaining_seconds() - self._reserve_seconds >= _SHORTEST_SECONDS

    def _give_up(self, account_sid: str, error: Exception) -> None:
        """Leave the account to the next run, or to the other half where nothing speaks against asking once more."""
        self._failed.add(account_sid)
        told: dict[str, Any] = {"account_sid": account_sid, "reason": type(error).__name__}
        if isinstance(error, AccountError | TwilioRefusedError | TwilioUnavailableError):
            self._refused.add(account_sid)
            logger.warning("account not reconciled in this run", **told)
        else:
            logger.error("account not reconciled in this run", exc_info=error, **told)
