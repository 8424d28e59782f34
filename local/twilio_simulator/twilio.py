"""The simulated Twilio itself: pure state and rules, driven by a clock, without a network.

Source: Twilio's public documentation of the Recordings resource and of recording status callbacks.
"""

import base64
import heapq
import itertools
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from local.twilio_simulator.audio import RATE_HZ, Audio, mp3, wav
from local.twilio_simulator.faults import Faults, RequestFault
from local.twilio_simulator.model import ACTIVE, SILENT, TOO_SHORT, Account, Call, CallbackTarget, Recording, new_sid

_ROOT: Final = r"/2010-04-01/Accounts/(?P<account>AC\w+)"
_ROUTES: Final = (
    ("POST", re.compile(_ROOT + r"/Calls/(?P<call>CA\w+)/Recordings\.json"), "_create"),
    ("GET", re.compile(_ROOT + r"/Calls/(?P<call>CA\w+)/Recordings\.json"), "_list"),
    ("GET", re.compile(_ROOT + r"/Recordings\.json"), "_list"),
    (
        "POST",
        re.compile(_ROOT + r"/Calls/(?P<call>CA\w+)/Recordings/(?P<recording>RE\w+|Twilio\.CURRENT)\.json"),
        "_update",
    ),
    ("GET", re.compile(_ROOT + r"(?:/Calls/(?P<call>CA\w+))?/Recordings/(?P<recording>RE\w+)\.json"), "_fetch"),
    ("DELETE", re.compile(_ROOT + r"(?:/Calls/(?P<call>CA\w+))?/Recordings/(?P<recording>RE\w+)\.json"), "_delete"),
    ("GET", re.compile(_ROOT + r"/Recordings/(?P<recording>RE\w+)(?:\.(?P<suffix>wav|mp3))?"), "_media"),
)
_EVENTS: Final = frozenset({"in-progress", "completed", "absent"})
_PROCESSING_SECONDS: Final = 0.5
_SHORTEST_SECONDS: Final = 1


@dataclass(frozen=True)
class Request:
    """A REST request, to the byte."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def form(self) -> dict[str, list[str]]:
        """Return the form in the body, every value of every name."""
        return parse_qs(self.body.decode(), keep_blank_values=True)


@dataclass(frozen=True)
class Answer:
    """What goes back, or the way in which nothing does."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    transport: Literal["send", "hang", "cut"] = "send"
    audio: Audio | None = None
    """In place of a body; with `transport` cut it stops in the middle."""

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Callback:
    """A callback that is due now: its target and its parameters, not yet signed."""

    target: CallbackTarget
    account_sid: str
    parameters: dict[str, str]


class _RefusedError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = _problem(status, code, message)


class Twilio:
    """All accounts, calls and recordings; `handle` takes requests, `due_callbacks` gives what to send.

    Not thread-safe: whoever serves it on a network holds a lock.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        base_url: str,
        source: random.Random | None = None,
        wav_rate_hz: int = RATE_HZ,
    ) -> None:
        self.base_url = base_url
        self.wav_rate_hz = wav_rate_hz
        self.accounts: dict[str, Account] = {}
        self.calls: dict[str, Call] = {}
        self.recordings: dict[str, Recording] = {}
        self.requests: list[Request] = []
        self.faults = Faults()
        self._clock = clock
        self._random = source
        self._agenda: list[tuple[float, int, Callable[[], Callback | None]]] = []
        self._order = itertools.count()

    # --- the world outside the API: people who talk --------------------------------------------

    def add_account(self, account: Account) -> Account:
        """Open an account."""
        self.accounts[account.sid] = account
        return account

    def begin_call(
        self,
        account_sid: str,
        *,
        lasts_seconds: float | None = None,
        is_silent: bool = False,
        call_sid: str | None = None,
    ) -> Call:
        """Let a call begin; it ends after `lasts_seconds`, or when it is hung up."""
        call = Call(call_sid or new_sid("CA", self._random), account_sid, is_silent=is_silent)
        self.calls[call.sid] = call
        if lasts_seconds is not None:
            self._at(self._clock() + lasts_seconds, lambda: self.hang_up(call.sid))
        return call

    def hang_up(self, call_sid: str) -> None:
        """End a call and every recording that runs on it."""
        call = self.calls[call_sid]
        if call.is_live:
            call.is_live = False
            for recording in self.recordings.values():
                if recording.call is call and recording.status in ACTIVE:
                    self._stop(recording)

    def record(
        self, call: Call, form: dict[str, list[str]] | None = None, *, source: str = "StartCallRecordingAPI"
    ) -> Recording:
        """Start a recording, as the REST API does with `form`, or by another `source`."""
        given = form or {}
        one = {name: values[0] for name, values in given.items()}
        recording = Recording(
            sid=new_sid("RE", self._random),
            call=call,
            channels=2 if one.get("RecordingChannels") == "dual" else 1,
            track=one.get("RecordingTrack", "both"),
            trim=one.get("Trim", "do-not-trim"),
            started_at=self._clock(),
            target=_target(given),
            source=source,
        )
        self.recordings[recording.sid] = recording
        self._call_back(recording, "in-progress")
        return recording

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

    def _at(self, moment: float, happen: Callable[[], Callback | None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._order), happen))

    # --- REST ----------------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Answer a REST request, or let the next fault befall it."""
        self.requests.append(request)
        fault = self.faults.next_for_request()
        if fault is None:
            return self._answer(request)
        if fault.after_acting:
            self._answer(request)
        elif fault.acts_after_seconds is not None:
            self._at(self._clock() + fault.acts_after_seconds, lambda: self._act_late(request))
        return _faulty(fault)

    def _act_late(self, request: Request) -> None:
        self._answer(request)

    def _answer(self, request: Request) -> Answer:
        for method, pattern, name in _ROUTES:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                try:
                    self._authenticate(request, match["account"])
                    answer: Answer = getattr(self, name)(request, **match.groupdict())
                except _RefusedError as error:
                    return error.answer
                return answer
        return _problem(404, 20404, f"The requested resource {request.path} was not found")

    def _authenticate(self, request: Request, account_sid: str) -> None:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        account = self.accounts.get(account_sid)
        if account is None or not account.accepts(user, password):
            raise _RefusedError(401, 20003, "Authenticate")

    def _create(self, request: Request, *, account: str, call: str) -> Answer:
        live = self._call(account, call)
        if not live.is_live:
            raise _RefusedError(400, 21220, "Requested resource is not eligible for recording")
        recording = self.record(live, request.form())
        return _ok(recording.resource(status="in-progress"), status=201)

    def _list(self, request: Request, *, account: str, call: str | None = None) -> Answer:
        query = dict(parse_qsl(request.query))
        size, page = min(int(query.get("PageSize", 50)), 1000), int(query.get("Page", 0))
        if call:
            self._call(account, call)
        found = [
            recording
            for recording in reversed(self.recordings.values())
            if recording.call.account_sid == account
            and not recording.is_deleted
            and (call is None or recording.call.sid == call)
            and _created_within(recording, query)
        ]
        shown = found[page * size : (page + 1) * size]
        more = {**query, "Page": page + 1, "PageSize": size}
        return _ok(
            {
                "recordings": [recording.resource() for recording in shown],
                "page": page,
                "page_size": size,
                "uri": request.path,
                "next_page_uri": f"{request.path}?{urlencode(more)}" if len(found) > (page + 1) * size else None,
            }
        )

    def _fetch(self, request: Request, *, account: str, call: str | None, recording: str) -> Answer:
        held = self.recordings.get(recording)
        wants_deleted = dict(parse_qsl(request.query)).get("IncludeSoftDeleted") == "true"
        if wants_deleted and held is not None and held.is_deleted and held.call.account_sid == account:
            return _ok(held.resource(status="deleted"))
        return _ok(self._recording(account, recording, call).resource())

    def _update(self, request: Request, *, account: str, call: str, recording: str) -> Answer:
        self._call(account, call)
        running = [r for r in self.recordings.values() if r.call.sid == call and r.status in ACTIVE]
        if recording == "Twilio.CURRENT":
            if len(running) > 1:
                raise _RefusedError(400, 16108, "More than one recording is active on this call")
            if not running:
                raise _RefusedError(404, 20404, "No recording is active on this call")
            chosen = running[0]
        else:
            chosen = self._recording(account, recording, call)
            if chosen not in running:
                raise _RefusedError(400, 21220, "The recording is not active")
        status = request.form().get("Status", [""])[0]
        now = chosen.updated_at = self._clock()
        if status == "paused" and chosen.paused_at is None:
            chosen.status, chosen.paused_at = "paused", now
        elif status == "in-progress" and chosen.paused_at is not None:
            chosen.status, chosen.paused_seconds, chosen.paused_at = (
                "in-progress",
                chosen.paused_seconds + now - chosen.paused_at,
                None,
            )
        elif status == "stopped":
            self._stop(chosen)
        elif status not in ACTIVE:
            raise _RefusedError(400, 20001, "Status must be paused, in-progress or stopped")
        return _ok(chosen.resource(status=chosen.status))

    def _delete(self, request: Request, *, account: str, call: str | None, recording: str) -> Answer:  # noqa: ARG002
        chosen = self._recording(account, recording, call)
        if chosen.status not in {"completed", "absent"}:
            raise _RefusedError(400, 20409, "The recording is not completed yet")
        chosen.is_deleted = True
        return Answer(204)

    def _media(self, request: Request, *, account: str, recording: str, suffix: str | None) -> Answer:
        chosen = self._recording(account, recording, None)
        fault = self.faults.next_for_media()
        if chosen.status != "completed" or fault == "not-ready":
            raise _RefusedError(404, 20404, "The media is not available yet")
        if fault == "html":
            return Answer(200, b"<html><body>Something went wrong</body></html>", content_type="text/html")
        if fault == "empty":
            return Answer(200, b"", content_type="audio/x-wav")
        channels = int(dict(parse_qsl(request.query)).get("RequestedChannels", chosen.channels))
        if channels > chosen.channels:
            raise _RefusedError(400, 16113, "RequestedChannels is more than there are")
        seconds = (chosen.duration or 0) // (2 if fault == "short" else 1)
        audio = self.audio(seconds=seconds, channels=channels, suffix=suffix)
        content_type = "text/plain" if fault == "wrong-type" else audio.content_type
        return Answer(200, content_type=content_type, audio=audio, transport="cut" if fault == "cut" else "send")

    def audio(self, *, seconds: int, channels: int, suffix: str | None) -> Audio:
        """Return the sound of a recording of that length, as WAV unless `suffix` is `mp3`."""
        if suffix == "mp3":
            return mp3(seconds=seconds, channels=channels)
        return wav(seconds=seconds, channels=channels, rate_hz=self.wav_rate_hz)

    def _call(self, account: str, call_sid: str) -> Call:
        call = self.calls.get(call_sid)
        if call is None or call.account_sid != account:
            raise _RefusedError(404, 20404, f"The requested resource /Calls/{call_sid} was not found")
        return call

    def _recording(self, account: str, sid: str, call_sid: str | None) -> Recording:
        recording = self.recordings.get(sid)
        if (
            recording is None
            or recording.is_deleted
            or recording.call.account_sid != account
            or call_sid not in {None, recording.call.sid}
        ):
            raise _RefusedError(404, 20404, f"The requested resource /Recordings/{sid} was not found")
        return recording

    # --- what happens to a recording ---------------------------------------------------------------

    def _stop(self, recording: Recording) -> None:
        now = recording.updated_at = self._clock()
        if recording.paused_at is not None:
            recording.paused_seconds += now - recording.paused_at
        seconds = round(now - recording.started_at - recording.paused_seconds)
        recording.status = "stopped" if recording.call.is_live else "processing"
        self._at(now + _PROCESSING_SECONDS, lambda: self._finish(recording, seconds))

    def _finish(self, recording: Recording, seconds: int) -> None:
        recording.updated_at = self._clock()
        if recording.call.is_silent or seconds < _SHORTEST_SECONDS:
            recording.status, recording.duration = "absent", 0
            recording.error_code = SILENT if recording.call.is_silent else TOO_SHORT
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


def _created_within(recording: Recording, query: dict[str, str]) -> bool:
    created = recording.resource()["date_created"]
    moment = parse_time(created)
    after, before, on = query.get("DateCreated>"), query.get("DateCreated<"), query.get("DateCreated")
    return (
        (after is None or moment >= parse_time(after))
        and (before is None or moment <= parse_time(before))
        and (on is None or parse_time(on) <= moment < parse_time(on) + 86_400)
    )


def parse_time(text: str) -> float:
    """Return an RFC 2822 or ISO 8601 time (or UTC day) as seconds since 1970."""
    moment = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _faulty(fault: RequestFault) -> Answer:
    if isinstance(fault.answer, str):
        return Answer(0, transport=fault.answer)
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    code, message = (20429, "Too Many Requests") if fault.answer == 429 else (20500, "Internal Server Error")
    problem = _problem(fault.answer, code, message)
    return Answer(problem.status, problem.body, headers=headers)


def _ok(body: dict[str, Any], *, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def _problem(status: int, code: int, message: str) -> Answer:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(body).encode())
