"""Starts one recording for one request: asks Twilio, checks before a retry, and writes the row before answering."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.commands.intents import Intent
from call_recording.commands.pauses import PAUSED, RUNNING, Pauses
from call_recording.deadline import Deadline, refuse_if_too_old
from call_recording.errors import (
    CallNotInProgressError,
    CallPausedError,
    CallRecordingError,
    NotNowError,
    OutcomeUnknownError,
    RecordingClaimedError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioUnavailableError,
    TwilioUnreachableError,
)
from call_recording.recordings.facts import Facts
from call_recording.recordings.merge import told_at
from call_recording.recordings.row import Row
from call_recording.recordings.table import RecordingsTable
from call_recording.start.request import StartRequest, without_userinfo
from call_recording.twilio.accounts import Accounts
from call_recording.twilio.api import RecordingResource, Twilio
from call_recording.twilio.patience import SHORTEST_SECONDS, Patience

if TYPE_CHECKING:
    from call_recording.settings import StartSettings

_TELLING: Final = (
    *("recording_sid", "account_sid", "status", "intent", "source", "start_time", "channels", "track", "fact_ranks"),
)
"""The attributes of a call's rows that show whether a recording can be ours."""

_SETTLED_AFTER: Final = timedelta(seconds=5)
"""After this time, Twilio no longer carries out a request that it has not begun."""

_SHORTEST_WAIT_SECONDS: Final = 0.25
_LONGEST_WAIT_SECONDS: Final = 1.0
"""The waits between attempts to record a call that is not in progress yet: short at first, as it often soon is."""


logger = Logger(child=True)


class Starter(NamedTuple):
    """Everything that is needed to start a recording."""

    accounts: Accounts
    recordings: RecordingsTable
    twilio: Twilio
    webhook_url: str
    pauses: Pauses

    @classmethod
    def connect(cls, settings: "StartSettings") -> Self:
        """Return the starter for the stack that the settings describe."""
        return cls(
            accounts=Accounts.connect(settings),
            recordings=RecordingsTable.connect(settings),
            twilio=Twilio.connect(settings),
            webhook_url=settings.webhook_url,
            pauses=Pauses.connect(settings),
        )

    def start(
        self,
        request: StartRequest,
        *,
        intent: Intent,
        requested_by: str,
        deadline: Deadline,
        sent_at: datetime | None = None,
    ) -> dict[str, Any]:
        """Return Twilio's recording resource: of a new recording, or of the one that this request started before.

        `sent_at` is when the request was sent, for requests that may be delayed.

        Raises CallPausedError if everything on the call is paused, RequestTooOldError, UnknownAccountError and the
        other credential errors, StateUnavailableError, TwilioRefusedError or TwilioUnavailableError and their kinds, or
        what RecordingsTable.record raises.
        """
        self.twilio.credentials.to_send(request.account_sid)
        self.accounts.note(request.account_sid)
        attempts = _Attempts(self, request, intent, requested_by=requested_by, deadline=deadline, sent_at=sent_at)
        return self._quiet(request, attempts.patience(attempts.next), deadline)

    def _quiet(self, request: StartRequest, recording: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Pause a recording that began while everything was being paused; return its new state.

        If that fails here, `pause_all.late` does it after the row's event.
        """
        try:
            pause = self.pauses.active_on(request.account_sid, request.call_sid)
            if pause is None or recording["status"] == PAUSED:
                return recording
            row = self.recordings.reader.one(recording["sid"])
            owner = {"call": recording.get("call_sid") or request.call_sid}  # Twilio may assign it to the other leg
            noted = self.pauses.note(pause, recording["sid"], owner, row, is_late=True)
            if not noted.is_late:
                return recording  # the pause has found it, and handles it
            paused = self.twilio.of(request.account_sid).update_call_recording(
                request.call_sid, recording["sid"], pause.form, deadline=deadline
            )
            self.recordings.record(Facts.from_updated(paused, by=noted.by, before=row))
            if not self.pauses.active_on(request.account_sid, request.call_sid):
                # Resumed meanwhile, by a request that could not know this recording.
                resumed = self.twilio.of(request.account_sid).update_call_recording(
                    request.call_sid, recording["sid"], [("Status", RUNNING)], deadline=deadline
                )
                self.recordings.record(Facts.from_updated(resumed, by=pause.by))
                return resumed
        except CallRecordingError as error:
            logger.warning("recording began while its call was being paused", reason=type(error).__name__)
            return recording
        return paused

    def ahead(self) -> Iterable[Callable[[], object]]:
        """Return what a first start would wait for: the account's secret, its pauses, and a connection to Twilio."""
        yield partial(self.twilio.credentials.get, self.accounts.default_account_sid)
        yield self.twilio.open_connection
        yield self.accounts.recall
        yield partial(self.pauses.look_ahead, self.accounts.default_account_sid)


class _Attempts:
    """The attempts of one delivery. `intent.may_exist` says whether Twilio may have acted without our knowing."""

    def __init__(  # noqa: PLR0913 (what there is to know of a delivery)
        self,
        starter: Starter,
        request: StartRequest,
        intent: Intent,
        *,
        requested_by: str,
        deadline: Deadline,
        sent_at: datetime | None,
    ) -> None:
        self.starter = starter
        self.request = request
        self.intent = intent
        self.requested_by = requested_by
        self.deadline = deadline
        self.sent_at = sent_at
        self.asked_at = clock.monotonic()
        self.waits_until = self.asked_at + request.wait_seconds
        self.given_away: str | None = None
        self.may_have_made_one = False
        self.twilio = starter.twilio.of(request.account_sid)
        self.patience = Patience(NotNowError, TwilioUnavailableError, RecordingClaimedError, deadline=deadline)

    def next(self) -> dict[str, Any]:
        if self.intent.may_exist:
            self.may_have_made_one = True
            if found := self._look():
                return found
        refuse_if_too_old(self.sent_at)
        recording = self._ask_while_not_in_progress()
        return self._share(recording) if recording.ran_before else self._claim_new(recording)

    def _ask_while_not_in_progress(self) -> RecordingResource:
        """Ask Twilio, and retry while the call cannot be recorded yet and the request wants to wait.

        After that refusal nothing was done, so no check is needed, and `patience` does not count the attempt.
        """
        pause = _SHORTEST_WAIT_SECONDS
        while True:
            try:
                return self._ask()
            except CallNotInProgressError:
                pause = min(pause, self.waits_until - clock.monotonic())
                if pause <= 0 or self.deadline.remaining_seconds() < pause + SHORTEST_SECONDS:
                    raise
            clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_SECONDS)

    def _ask(self) -> RecordingResource:
        self.patience.refuse_without_time()
        if pause := self.starter.pauses.active_on(self.request.account_sid, self.request.call_sid):
            raise CallPausedError(pause.name)
        form = self.request.to_form(self.starter.webhook_url)
        self.asked_at, self.intent.may_exist, self.intent.asked_until = clock.monotonic(), True, None
        try:
            return self.twilio.create_call_recording(self.request.call_sid, form, deadline=self.deadline)
        except (TwilioRefusedError, TwilioUnreachableError):
            self.intent.may_exist = False  # certainly not processed
            raise

    def _look(self) -> dict[str, Any] | None:
        """Return the recording that an earlier attempt started, or None if it is certain that there is none.

        Twilio may still be working on it: an empty list counts only after the request has had enough time.
        """
        try:
            if found := self._adopt():
                return found
            unsettled = self.asked_at + _SETTLED_AFTER.total_seconds() - clock.monotonic()
            if unsettled > 0:
                if self.deadline.remaining_seconds() < unsettled + SHORTEST_SECONDS:
                    raise OutcomeUnknownError
                clock.sleep(unsettled)
                if found := self._adopt():
                    return found
        except (NotNowError, TwilioNotFoundError):
            raise  # to be retried; and a call that Twilio does not know has no recordings
        except TwilioRefusedError as error:
            raise OutcomeUnknownError from error  # refused to list, which does not show what it did
        self.intent.may_exist = False
        return None

    def _adopt(self) -> dict[str, Any] | None:
        """Return the recording that an earlier attempt of this request started, or must have started, if there is one.

        The table comes first: the recording that it names is ours, whatever else runs on the call. It also has
        recordings that have ended, and were deleted at Twilio since.
        """
        request, twilio = self.request, self.twilio
        listed = twilio.list_call_recordings(request.call_sid, deadline=self.deadline)
        rows = self.starter.recordings.reader.all_of_call(
            request.call_sid, account_sid=request.account_sid, wanted=_TELLING
        )
        sids = {recording["sid"] for recording in listed}
        if named := self._named_in_the_table(listed, rows):
            return named
        for recording in listed:
            if self._can_be_ours(recording) and self._is_claimed(Facts.from_fetched(recording)):
                return recording
        for row in rows:
            is_gone = row["recording_sid"] not in sids
            can_be_ours = is_gone and self._is_as_asked(row) and self._began_in_time(self._began(row))
            if can_be_ours and self._is_claimed(Facts.about(row)):
                return twilio.fetch_recording(row["recording_sid"], deadline=self.deadline)
        return None

    def _named_in_the_table(self, listed: list[RecordingResource], rows: list[Row]) -> RecordingResource | None:
        """Return the recording whose row has our intent: an earlier delivery wrote it, but could not save its answer.

        Twilio may no longer list it, if somebody deleted it since.
        """
        reader, intent = self.starter.recordings.reader, self.intent.name
        named = [row["recording_sid"] for row in reversed(rows) if row.get("intent") == intent]
        for recording in listed:  # the index can be behind the table
            if recording["sid"] in named or (reader.get(recording["sid"]) or {}).get("intent") == intent:
                return recording
        return self.twilio.fetch_recording(named[0], deadline=self.deadline) if named else None

    def _can_be_ours(self, recording: RecordingResource) -> bool:
        """Return whether a recording of a call's list, with all its fields, can be ours."""
        facts = Facts.from_fetched(recording)
        is_counted = str(recording.get("channels")) != "0"  # Twilio's value until it is known
        told = facts.told if is_counted else {**facts.told, "channels": self.request.channels}
        return self._is_as_asked(told) and self._began_in_time(facts.began_at)

    def _is_as_asked(self, told: Mapping[str, Any]) -> bool:
        channels, track = self.request.channels, self.request.recording_track or "both"
        return (
            told.get("source") == "StartCallRecordingAPI"
            and (told.get("channels") == channels or self._is_configured("recording_channels"))
            and (told.get("track") == track or self._is_configured("recording_track"))
        )

    def _is_configured(self, name: str) -> bool:
        """Return whether a setting at Twilio, which we do not know, decides this value."""
        return self.request.recording_configuration_id is not None and getattr(self.request, name) is None

    def _began_in_time(self, began: str) -> bool:
        since = clock.iso_seconds(self.intent.asked_at - clock.SKEW)
        until = clock.iso_seconds((self.intent.asked_until or clock.now()) + clock.SKEW + _SETTLED_AFTER)
        return since <= began <= until

    def _began(self, row: Row) -> str:
        """Return when the row's recording began; if the row has only an estimate, ask Twilio."""
        if told_at(row, "start_time") >= 0:
            return str(row["start_time"])
        fetched = self.twilio.fetch_recording(row["recording_sid"], deadline=self.deadline)
        return Facts.from_fetched(fetched).began_at

    def _is_claimed(self, facts: Facts) -> bool:
        """Return whether the recording belongs to this request now, and not to another one."""
        try:
            self._claim(facts)
        except RecordingClaimedError:
            return False
        return True

    def _share(self, recording: RecordingResource) -> dict[str, Any]:
        """Return a recording that ran before Twilio was asked: it serves this request and its original one.

        Twilio may return the running recording that the API started on a call instead of starting another. It is
        ours if an earlier attempt can have started it.
        """
        facts = Facts.from_fetched(recording)  # it may look like a fetched recording
        if not (self.may_have_made_one and self._can_be_ours(recording) and self._is_claimed(facts)):
            row = self.starter.recordings.reader.get(recording["sid"]) or {}
            if "requested_call_sid" not in row:
                facts = facts._replace(requested_call_sid=self.request.call_sid)
            if "reference" not in row:
                facts = facts._replace(reference=self.request.reference)
            self.starter.recordings.record(facts)
        return recording

    def _claim_new(self, recording: RecordingResource) -> dict[str, Any]:
        """Write the new recording's row; in a rare case, use another recording.

        Between our request and our write, another request on this call whose own answer was lost can
        have claimed the recording. Then the one that it lost is free for us, or we start another. If
        Twilio keeps answering with the running recording, it serves both.
        """
        try:
            self._claim(Facts.from_recording(recording))
        except RecordingClaimedError:
            if self.given_away == recording["sid"]:
                return recording
            self.given_away = recording["sid"]
            raise
        return recording

    def _claim(self, facts: Facts) -> None:
        callback_url = without_userinfo(self.request.callback_url(self.starter.webhook_url))
        self.starter.recordings.record(
            facts.asked_for(
                by=self.requested_by,
                callback_url=callback_url,
                intent=self.intent.name,
                call_sid=self.request.call_sid,
                reference=self.request.reference,
            )
        )
