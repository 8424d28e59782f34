"""What happens at Twilio outside its REST API: calls, conferences, their recordings, and callbacks."""

import heapq
import itertools
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from local.twilio_simulator.faults import Faults
from local.twilio_simulator.model import (
    ACTIVE,
    BY_CALL_API,
    SILENT,
    TOO_SHORT,
    Account,
    Call,
    CallbackTarget,
    Conference,
    Participant,
    Recording,
    new_sid,
)

# `failed` is there where recordings are encrypted. Source: Voice Recording Encryption.
_EVENTS: Final = frozenset({"in-progress", "completed", "absent", "failed"})
_PROCESSING_SECONDS: Final = 0.5
_SHORTEST_SECONDS: Final = 1
_KEPT_SECONDS: Final = 40 * 86_400.0
"""How long Twilio returns a deleted recording with `IncludeSoftDeleted`."""


@dataclass(frozen=True)
class Callback:
    """A signed request to a URL, ready to be sent."""

    target: CallbackTarget
    account_sid: str
    parameters: dict[str, str]
    idempotency_token: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The same whenever this is sent again. Source: the header `I-Twilio-Idempotency-Token`."""


class Exchange:
    """Accounts, calls, conferences and recordings, and what happens next. Time passes when `clock` does.

    Not safe for several threads at once.
    """

    def __init__(self, *, clock: Callable[[], float], base_url: str, source: random.Random | None = None) -> None:
        self.base_url = base_url
        self.accounts: dict[str, Account] = {}
        self.calls: dict[str, Call] = {}
        self.conferences: dict[str, Conference] = {}
        self.recordings: dict[str, Recording] = {}
        self.faults = Faults()
        self._clock = clock
        self._random = source
        self._agenda: list[tuple[float, int, Callable[[], Callback | None]]] = []
        self._order = itertools.count()

    # --- people who talk -----------------------------------------------------------------------

    def add_account(self, account: Account) -> Account:
        """Open an account."""
        self.accounts[account.sid] = account
        return account

    def begin_call(  # noqa: PLR0913 (what can be different about a call)
        self,
        account_sid: str,
        *,
        lasts_seconds: float | None = None,
        is_silent: bool = False,
        call_sid: str | None = None,
        parent_call_sid: str | None = None,
        in_progress_after_seconds: float = 0.0,
        refuses_recordings: bool = False,
    ) -> Call:
        """Let a call begin; it ends after `lasts_seconds`, or when it or its parent is hung up."""
        call = Call(
            call_sid or new_sid("CA", self._random),
            account_sid,
            is_silent=is_silent,
            parent=self.calls[parent_call_sid] if parent_call_sid else None,
            began_at=self._clock(),
            in_progress_at=self._clock() + in_progress_after_seconds if in_progress_after_seconds else 0.0,
            refuses_recordings=refuses_recordings,
        )
        self.calls[call.sid] = call
        if lasts_seconds is not None:
            self._at(self._clock() + lasts_seconds, lambda: self.hang_up(call.sid))
        return call

    def hang_up(self, call_sid: str) -> None:
        """End a call, its child legs, and every recording that runs on them; it leaves its conferences."""
        call = self.calls[call_sid]
        if not call.is_live:
            return
        call.is_live, call.ended_at = False, self._clock()
        for child in self.calls.values():
            if child.parent is call:
                self.hang_up(child.sid)
        self._stop_all(lambda recording: recording.call is call and recording.conference is None)
        self.leave(call)

    def transfer(self, call: Call, *, takes_seconds: float = 0.0) -> Call:
        """Connect a call with somebody else: dial a new leg, and hang up the others once that is answered.

        Until then none of the call's recordings can be changed. Returns the new leg. Raises ValueError if the call is
        over.
        """
        if not call.is_live:
            raise ValueError("what is over cannot be transferred")
        self.leave(call)
        others = [one for one in self.calls.values() if one.parent is call]
        leg = self.begin_call(call.account_sid, parent_call_sid=call.sid, in_progress_after_seconds=takes_seconds)
        call.transferred_until = self._clock() + takes_seconds

        def connect() -> None:
            for one in others:
                self.hang_up(one.sid)

        if takes_seconds:
            self._at(call.transferred_until, connect)
        else:
            connect()
        return leg

    def begin_conference(self, participants: Sequence[Call]) -> Conference:
        """Let calls of one account meet in a conference; with a single one it waits for the second."""
        conference = Conference(new_sid("CF", self._random), participants[0].account_sid, self._clock())
        self.conferences[conference.sid] = conference
        for call in participants:
            self.join(conference, call)
        return conference

    def join(self, conference: Conference, call: Call) -> None:
        """Let a call take part in a conference, and in no other any more.

        Raises ValueError if one of them is over.
        """
        if not (conference.is_live and call.is_live):
            raise ValueError("what is over cannot be joined, nor join")
        if any(one.call is call for one in conference.present):
            return
        self.leave(call)
        conference.participants.append(Participant(call, self._clock()))
        if conference.started_at is None and len(conference.present) > 1:
            conference.started_at = self._clock()

    def leave(self, call: Call) -> None:
        """Let a call leave the conference that it takes part in, if any, which ends with the last one who leaves."""
        for conference in self.conferences.values():
            for one in conference.present:
                if one.call is call:
                    one.left_at = self._clock()
                    if not conference.present:
                        conference.ended_by = call
                        self.end_conference(conference.sid)

    def end_conference(self, conference_sid: str) -> None:
        """End a conference and what is recorded of it; the calls go on."""
        conference = self.conferences[conference_sid]
        if not conference.is_live:
            return
        conference.ended_at = self._clock()
        for one in conference.present:
            one.left_at = conference.ended_at
        self._stop_all(lambda recording: recording.conference is conference)

    def record(
        self,
        call: Call,
        form: dict[str, list[str]] | None = None,
        *,
        source: str = BY_CALL_API,
        conference: Conference | None = None,
    ) -> Recording:
        """Start a recording, as the REST API does with `form`, or by another `source`; also of a conference."""
        given = form or {}
        one = {name: values[0] for name, values in given.items()}
        account = self.accounts.get(call.account_sid)
        track = one.get("RecordingTrack", "both")
        recording = Recording(
            sid=new_sid("RE", self._random),
            call=call,
            # One track is one channel, whatever was asked for: there is nothing for the second one.
            channels=2 if one.get("RecordingChannels") == "dual" and track == "both" else 1,
            track=track,
            trim=one.get("Trim", "do-not-trim"),
            started_at=self._clock(),
            target=_target(given),
            source=source,
            conference=conference,
            public_key_sid=account.public_key_sid if account else None,
            external_storage_url=account.external_storage_url if account else None,
        )
        self.recordings[recording.sid] = recording
        self._call_back(recording, "in-progress")
        return recording

    def record_conference(
        self, conference: Conference, form: dict[str, list[str]] | None = None, *, source: str = "Conference"
    ) -> Recording:
        """Record a conference, by `<Conference record>` or another `source`."""
        return self.record(conference.participants[0].call, form, source=source, conference=conference)

    def running(self, is_meant: Callable[[Recording], bool]) -> list[Recording]:
        """Return the matching recordings that are running or paused."""
        return [one for one in self.recordings.values() if one.status in ACTIVE and is_meant(one)]

    def shows_deleted(self, recording: Recording) -> bool:
        """Return whether a recording was deleted, and Twilio still says so."""
        ends = (recording.deleted_at or self._clock()) + _KEPT_SECONDS
        return recording.is_deleted and self._clock() < ends

    # --- time ----------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """Return when something happens next (seconds since 1970), or None."""
        return self._agenda[0][0] if self._agenda else None

    def due_callbacks(self) -> list[Callback]:
        """Let everything happen that is due by now; return the callbacks to send."""
        callbacks = []
        while self._agenda and self._agenda[0][0] <= self._clock():
            _, _, happen = heapq.heappop(self._agenda)
            if (callback := happen()) is not None:
                callbacks.append(callback)
        return callbacks

    def send(self, url: str, account_sid: str, parameters: Mapping[str, str], *, method: str = "POST") -> None:
        """Have a signed request sent to a URL, such as those of `other_requests`."""
        callback = Callback(CallbackTarget(url, method, frozenset()), account_sid, dict(parameters))
        self._at(self._clock(), lambda: callback)

    def _at(self, moment: float, happen: Callable[[], Callback | None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._order), happen))

    # --- what happens to a recording -----------------------------------------------------------

    def _change(self, recording: Recording, status: str, *, skips: bool) -> None:
        """Pause, resume or stop a recording that runs; what it does already changes nothing, nor `date_updated`."""
        now = self._clock()
        if status == "stopped":
            self._stop(recording)
        elif status == "paused" and recording.paused_at is None:
            recording.stop_hearing(now)
            recording.updated_at = recording.paused_at = now
            recording.status, recording.skips_pause = "paused", skips
        elif status == "in-progress" and recording.paused_at is not None:
            recording.begin_to_hear(now)
            self._end_pause(recording, now)
            recording.status, recording.updated_at = "in-progress", now

    def _end_pause(self, recording: Recording, now: float) -> None:
        if recording.paused_at is not None and recording.skips_pause:
            recording.paused_seconds += now - recording.paused_at
        recording.paused_at = None

    def _stop_all(self, is_meant: Callable[[Recording], bool]) -> None:
        for recording in self.running(is_meant):
            self._stop(recording)

    def _stop(self, recording: Recording) -> None:
        now = recording.updated_at = self._clock()
        recording.stop_hearing(now)
        self._end_pause(recording, now)
        seconds = round(now - recording.started_at - recording.paused_seconds)
        goes_on = recording.conference.is_live if recording.conference else recording.call.is_live
        recording.status = "stopped" if goes_on else "processing"
        self._at(now + _PROCESSING_SECONDS, lambda: self._finish(recording, seconds))

    def _finish(self, recording: Recording, seconds: int) -> None:
        recording.updated_at = self._clock()
        if recording.call.is_silent or seconds < _SHORTEST_SECONDS:
            recording.status, recording.duration = "absent", 0
            recording.error_code = SILENT if recording.call.is_silent else TOO_SHORT
        elif recording.call.fails_with is not None:
            recording.status, recording.error_code = "failed", recording.call.fails_with
        else:
            recording.status, recording.duration = "completed", seconds
            recording.price = f"-{0.0025 * -(-seconds // 60):.5f}"
        self._call_back(recording, recording.status)

    def _call_back(self, recording: Recording, event: str) -> None:
        target = recording.target
        if target is None or event not in target.events:
            return
        parameters = recording.callback_parameters(event, base_url=self.base_url)
        callback = Callback(target, recording.call.account_sid, parameters)
        for delay in self.faults.next_for_callback():
            self._at(self._clock() + delay, lambda: callback)


def _target(form: dict[str, list[str]]) -> CallbackTarget | None:
    """Return the callback's target; an invalid URL is a warning (13256) at Twilio: no callbacks, no refusal."""
    url = form.get("RecordingStatusCallback", [""])[0]
    if urlsplit(url).scheme not in {"http", "https"}:
        return None
    events = " ".join(form.get("RecordingStatusCallbackEvent", ["completed"])).split()
    return CallbackTarget(url, form.get("RecordingStatusCallbackMethod", ["POST"])[0], _EVENTS & set(events))
