"""Pauses every recording that hears a call, until Twilio's own answers confirm that none is running."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from aws_lambda_powertools import Logger

from call_recording import clock
from call_recording.commands.pauses import PAUSED, Noted, Pause, Pauses
from call_recording.deadline import Deadline
from call_recording.errors import (
    CallNotInProgressError,
    CallRecordingError,
    CredentialsRefusedError,
    NotNowError,
    PausedInPartError,
    PauseOutOfTimeError,
    PauseUnprovenError,
    RateLimitedError,
    StillRecordingError,
    TwilioNotFoundError,
    TwilioRefusedError,
    TwilioTimedOutError,
    TwilioUnavailableError,
    may_have_acted,
)
from call_recording.pause_all.found import Found
from call_recording.pause_all.request import NO_CONFERENCE, AllRequest
from call_recording.pause_all.scope import Scope, Search
from call_recording.problems import reason
from call_recording.recordings.facts import Control, Facts, moment
from call_recording.recordings.row import Row
from call_recording.recordings.statuses import is_open, may_be_active, outranks
from call_recording.recordings.table import RecordingsTable
from call_recording.twilio.api import RecordingResource, TwilioAccount
from call_recording.twilio.patience import SHORTEST_SECONDS

MOST_PASSES: Final = 4
_PAUSE_SECONDS: Final = (0.25, 0.5, 1.0, 2.0)
"""The waits between attempts while a recording is being changed, and between passes without progress."""

logger = Logger(child=True)


class Proof(NamedTuple):
    """The content of a 200: what is paused, and its former state; what that covers; and when it was true.

    `over` are the recordings that were found, and had ended by then.
    """

    scope: Scope
    proven_at: datetime
    paused: Mapping[str, str]
    over: Collection[str]


class Sweep:
    """One attempt to pause everything. It only sends pauses to Twilio, so it can be repeated at any time."""

    def __init__(  # noqa: PLR0913 (what there is to know of it)
        self,
        request: AllRequest,
        pause: Pause,
        *,
        twilio: TwilioAccount,
        recordings: RecordingsTable,
        pauses: Pauses,
        search: Search,
        deadline: Deadline,
    ) -> None:
        self._twilio = twilio
        self._recordings = recordings
        self._pauses = pauses
        self._request = request
        self._pause = pause
        self._search = search
        self._deadline = deadline
        self._paused: dict[str, str] = {}
        self._over: set[str] = set()
        self._errors: dict[str, CallRecordingError] = {}
        """Why a recording is not known to be paused, if the last attempt showed that."""

        self._may_be_ours: set[str] = set()
        """Recordings that Twilio may have paused for us without confirming it."""

        self._unwritten: CallRecordingError | None = None

    def run(self, known: Collection[Row]) -> Proof:
        """Pause everything, and return the confirmation.

        `known` are the call's rows: their recordings are paused first, before the search for others.

        Raises StillRecordingError, ScopeUnprovenError, PauseUnprovenError or PauseOutOfTimeError with what is known by
        then, NotAParticipantError, TwilioRefusedError and its subclasses if Twilio refuses the search, PauseEndedError,
        StateUnavailableError, and what RecordingsTable.record raises if a row could not be written.
        """
        try:
            if self._request.conference_sid in {None, NO_CONFERENCE}:  # otherwise it may be another's
                self._pause_each([Found.of(row) for row in known if may_be_active(row["status"])])
            if (untold := self._pause.untold_until - clock.monotonic()) > 0:
                self._rest(untold)
            proof = self._passes()
        except PausedInPartError as error:
            raise self._with_lists(error) from error.__cause__
        if self._unwritten:
            raise self._unwritten
        return proof

    def _passes(self) -> Proof:
        last: CallRecordingError | None = None
        for number in range(MOST_PASSES):
            if number and (last or self._errors):
                self._rest(_PAUSE_SECONDS[number])
            self._refuse_without_time(last)
            began_at = clock.now()
            try:
                scope, unproven = self._look()
            except (NotNowError, TwilioUnavailableError) as error:
                last = error
                continue
            except TwilioNotFoundError as error:
                if not self._search.has_met_the_call:
                    raise
                last = error  # the scope existed a moment ago
                continue
            last = None
            if not unproven:
                return Proof(scope, began_at, self._paused, self._over)
            self._pause_each(unproven)
        raise self._failure(last) from last

    def _look(self) -> tuple[Scope, list[Found]]:
        """Return the current scope, and the recordings in it that may be running as far as we know."""
        scope = self._search.look()
        members = {*scope.calls, *scope.conferences}
        if new := members - self._pause.covered:
            self._pauses.cover(self._pause, sorted(new))
            self._pause = self._pause.covering(new)
        listed: dict[str, Found] = {}
        for call_sid in scope.calls:
            for recording in self._twilio.list_call_recordings(call_sid, deadline=self._deadline):
                self._sort(recording, Found(recording["sid"], "call", call_sid), listed)
        for conference_sid in scope.conferences:
            for recording in self._twilio.list_conference_recordings(conference_sid, deadline=self._deadline):
                self._sort(recording, Found(recording["sid"], "conference", conference_sid), listed)
        # A recording that is in no list any more hears nothing.
        self._errors = {sid: error for sid, error in self._errors.items() if sid in listed}
        return scope, list(listed.values())

    def _sort(self, recording: RecordingResource, found: Found, listed: dict[str, Found]) -> None:
        if _is_active(recording):
            if found.sid not in self._paused and found.sid not in self._over:
                listed.setdefault(found.sid, found)
        else:
            self._over.add(found.sid)

    # --- one recording -------------------------------------------------------------------------

    def _pause_each(self, found: Collection[Found]) -> None:
        """Ask Twilio to pause each one; those that are being changed are retried after all others."""
        rows = self._rows(found)
        for pause_seconds in (0.0, *_PAUSE_SECONDS):
            if pause_seconds:
                self._rest(pause_seconds)
            for one in found:
                self._refuse_without_time()
                self._ask(one, rows.get(one.sid))
            found = [one for one in found if isinstance(self._errors.get(one.sid), NotNowError)]
            if not found:
                return

    def _ask(self, one: Found, row: Row | None) -> None:
        is_late = bool(self._pause.span.proven_at)
        noted = one.note(self._pause, row, pauses=self._pauses, is_late=is_late)
        asked_at = clock.monotonic()
        try:
            recording = one.change(self._twilio, self._request.to_form(), deadline=self._deadline)
        except (TwilioRefusedError, TwilioUnavailableError) as error:
            self._errors[one.sid] = error
            if may_have_acted(error):
                self._may_be_ours.add(one.sid)
            elif isinstance(error, CallNotInProgressError):
                self._refused(one, noted.was)
            return
        self._answered(one, recording, noted, row, seconds=clock.monotonic() - asked_at)

    def _answered(
        self, one: Found, recording: RecordingResource, noted: Noted, row: Row | None, *, seconds: float
    ) -> None:
        if outranks(recording["status"], PAUSED):
            self._note_over(one.sid)
            return
        if recording["status"] != PAUSED:
            self._errors[one.sid] = TwilioUnavailableError("Twilio answered a pause with another status")
            return
        self._errors.pop(one.sid, None)
        if one.sid not in self._may_be_ours and recording.was_so_before(seconds):
            ran_by_the_row = row is not None and row["status"] != PAUSED
            may_be_ours = one.sid in self._pause.recordings and not ran_by_the_row
            noted = one.note_unchanged(
                self._pause,
                noted,
                recording,
                row,
                pauses=self._pauses,
                recordings=self._recordings,
                may_be_ours=may_be_ours,
            )
        self._paused[one.sid] = noted.was
        try:
            self._recordings.record(Facts.from_updated(recording, by=noted.by, before=row))
        except CallRecordingError as error:
            logger.exception("row of a paused recording not written", recording_sid=one.sid, reason=reason(error))
            self._unwritten = error

    def _note_over(self, recording_sid: str) -> None:
        self._over.add(recording_sid)
        self._errors.pop(recording_sid, None)

    def _refused(self, one: Found, was: str) -> None:
        """Find out whether a recording that Twilio reports as not active has ended, or was paused already.

        Twilio reports the same on a call that is not in progress yet. Its duration, an earlier answer of Twilio, or the
        end of its call proves that it has ended. Twilio's answer to a pause proves that it is paused, if nothing has
        changed since.
        """
        try:
            row = self._recordings.reader.get(one.sid)
            fetched = self._twilio.fetch_recording(one.sid, deadline=self._deadline)
            if (row and outranks(row["status"], PAUSED)) or not _is_active(fetched):
                self._note_over(one.sid)
            elif row and row["status"] == PAUSED and _is_unchanged(row, fetched):
                self._errors.pop(one.sid, None)
                self._paused[one.sid] = was
            elif one.of_a == "call" and self._search.is_over(one.owner_sid):
                self._note_over(one.sid)
        except CallRecordingError as error:
            logger.warning("status of an inactive recording not read", recording_sid=one.sid, reason=reason(error))

    def _rows(self, found: Collection[Found]) -> dict[str, Row]:
        rows = self._recordings.reader.watched([one.sid for one in found])
        return {sid: row for sid, row in rows.items() if row["account_sid"] == self._twilio.account_sid}

    # --- giving up -----------------------------------------------------------------------------

    def _rest(self, seconds: float) -> None:
        asked = [e.retry_after_seconds or 0 for e in self._errors.values() if isinstance(e, RateLimitedError)]
        wait = max([seconds, *asked])
        if wait + SHORTEST_SECONDS > self._deadline.remaining_seconds():
            raise PauseOutOfTimeError
        clock.sleep(wait)

    def _refuse_without_time(self, last: CallRecordingError | None = None) -> None:
        if self._deadline.remaining_seconds() < SHORTEST_SECONDS:
            raise PauseOutOfTimeError from last

    def _failure(self, last: CallRecordingError | None) -> PausedInPartError:
        errors = [*self._errors.values(), last]
        if any(_is_refusal(error) for error in errors):
            return StillRecordingError()
        if any(isinstance(error, TwilioTimedOutError) for error in errors):
            return PauseOutOfTimeError()
        return PauseUnprovenError()

    def _with_lists(self, error: PausedInPartError) -> PausedInPartError:
        told = {sid: {"sid": sid, "reason": reason(why)} for sid, why in self._errors.items()}
        refused = {sid for sid, why in self._errors.items() if _is_refusal(why)}
        error.still_recording = [told[sid] for sid in told if sid in refused]
        error.unresolved = [told[sid] for sid in told if sid not in refused]
        error.paused = [{"sid": sid, "was": was} for sid, was in self._paused.items()]
        return error


def _is_active(recording: RecordingResource) -> bool:
    """Return whether nothing at Twilio shows that the recording has ended."""
    return is_open(recording["status"]) and recording.get("duration") is None


def _is_unchanged(row: Row, fetched: RecordingResource) -> bool:
    control = Control(**row["control"]) if "control" in row else None
    return bool(control and control.is_surely_last and moment(fetched.get("date_updated")) == control.changed_at)


def _is_refusal(error: CallRecordingError | None) -> bool:
    """Return whether Twilio refused to pause this recording: then it counts as running."""
    is_of_something_else = isinstance(error, CredentialsRefusedError | NotNowError | TwilioNotFoundError)
    return isinstance(error, TwilioRefusedError) and not is_of_something_else
