"""The simulated Twilio's REST API: which requests it knows, and what it answers or refuses.

Source: Twilio's documentation of the Recordings resource and its OpenAPI description; the codes are in
twilio.com/docs/api/errors. Behaviour of Twilio that is uncertain can be switched on.
"""

import base64
import random
import re
from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from local.twilio_simulator.audio import RATE_HZ, Audio, mp3, wav
from local.twilio_simulator.exchange import Callback as Callback  # noqa: PLC0414 (what it gives to be sent)
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import ACTIVE, BY_CALL_API, REFUSED, Level, Recording
from local.twilio_simulator.paging import InvalidQueryError, Query, page
from local.twilio_simulator.people import ROOT, PeopleApi
from local.twilio_simulator.people import ROUTES as _OF_PEOPLE
from local.twilio_simulator.rest import Answer as Answer  # noqa: PLC0414 (what it gives and takes)
from local.twilio_simulator.rest import RefusedError, ok, problem
from local.twilio_simulator.rest import Request as Request  # noqa: PLC0414

type Repeats = Literal["ignored", "dated", "refused"]
"""A request for the status that a recording has: answered 200 with nothing changed, or with a new `date_updated`, or
refused (21220). Neither the documentation of the resource nor that of the code says which, and no report was found.
"""

CURRENT: Final = "Twilio.CURRENT"
_OWNER: Final = r"/(?:Calls/(?P<call>CA\w+)|Conferences/(?P<conference>CF\w+))"
_ONE: Final = ROOT + rf"(?:{_OWNER})?/Recordings/(?P<recording>RE\w+)\.json"
_ROUTES: Final = (
    ("POST", re.compile(ROOT + r"/Calls/(?P<call>CA\w+)/Recordings\.json"), "_create"),
    ("GET", re.compile(ROOT + rf"(?:{_OWNER})?/Recordings\.json"), "_list"),
    ("POST", re.compile(ROOT + _OWNER + r"/Recordings/(?P<recording>RE\w+|Twilio\.CURRENT)\.json"), "_update"),
    ("GET", re.compile(_ONE), "_fetch"),
    ("DELETE", re.compile(_ONE), "_delete"),
    ("GET", re.compile(ROOT + r"/Recordings/(?P<recording>RE\w+)(?:\.(?P<suffix>wav|mp3))?"), "_media"),
    *_OF_PEOPLE,
)


class Twilio(PeopleApi):
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
        super().__init__(clock=clock, base_url=base_url, source=source)
        self.wav_rate_hz = wav_rate_hz
        self.requests: list[Request] = []
        self.observe: Callable[[Request, Answer | None], None] = lambda _request, _answer: None
        """Called with each request, and with its answer; None where a fault took its place."""

        self.answers_running = False
        """Whether a start on a call that the API records already is answered 200 with the recording that runs.

        One report of live tests says so, and Twilio's description has 200 and 201. That several can be active on one
        call (16108) is certain, from different sources at least.
        """

        self.repeats: Repeats = "ignored"
        """The answer to a pause of a paused recording, and to a resume of a running one."""

        self.lists_by_day = False
        """Whether `DateCreated<` and `DateCreated>` ignore the time, as documented. Times very likely work."""

        self.names_current = False
        """Whether the answer to an update of `Twilio.CURRENT` has that for a `sid`; `uri` always has the SID."""

    # --- a request -----------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Answer a REST request, or let the next fault befall it."""
        self.requests.append(request)
        fault = self.faults.next_for_request()
        if fault is None:
            answer = self._answer(request)
            self.observe(request, answer)
            return answer
        self.observe(request, None)
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
                except RefusedError as error:
                    return error.answer
                except InvalidQueryError as error:
                    return problem(400, 20001, str(error))
                return answer
        return problem(404, 20404, f"The requested resource {request.path} was not found")

    def _authenticate(self, request: Request, account_sid: str) -> None:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        user, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        account = self.accounts.get(account_sid)
        if account is None or not account.accepts(user, password):
            raise RefusedError(401, 20003, "Authenticate")
        if code := account.refusals.get(user):
            raise RefusedError(REFUSED[code], code, "These credentials may not do this")

    # --- recordings ----------------------------------------------------------------------------

    def _create(self, request: Request, *, account: str, call: str) -> Answer:
        live = self.call_of(account, call)
        # Also for a moment before a call is in progress, and for good where something else listens to it.
        if not live.is_live or live.refuses_recordings or self._clock() < live.in_progress_at:
            raise RefusedError(400, 21220, "Requested resource is not eligible for recording")
        if self.answers_running:
            for running in self.running(lambda one: one.call is live and one.source == BY_CALL_API):
                return ok(running.resource(status=running.status))
        recording = self.record(live, request.form())
        return ok(recording.resource(status="in-progress"), status=201)

    def _list(
        self, request: Request, *, account: str, call: str | None = None, conference: str | None = None
    ) -> Answer:
        is_of = self._owner(account, call, conference)
        query = Query(request.query, by_day=self.lists_by_day)
        level = _level(call, conference)
        shows_deleted = query.includes_deleted and level == "account"

        def is_listed(one: Recording) -> bool:
            return (
                is_of(one) and query.wants(one) and (not one.is_deleted or (shows_deleted and self.shows_deleted(one)))
            )

        def show(one: Recording) -> dict[str, Any]:
            status = "deleted" if one.is_deleted else None
            return one.resource(status=status, level=level, base_url=self.base_url)

        return ok(page(self.recordings, query, path=request.path, name="recordings", is_listed=is_listed, show=show))

    def _fetch(
        self, request: Request, *, account: str, call: str | None, conference: str | None, recording: str
    ) -> Answer:
        held, level = self.recordings.get(recording), _level(call, conference)
        wants_deleted = dict(parse_qsl(request.query)).get("IncludeSoftDeleted", "").lower() == "true"
        if wants_deleted and held and held.call.account_sid == account and self.shows_deleted(held):
            return ok(held.resource(status="deleted", level=level, base_url=self.base_url))
        chosen = self._recording(account, recording, call, conference)
        return ok(chosen.resource(level=level, base_url=self.base_url))

    def _update(
        self, request: Request, *, account: str, call: str | None, conference: str | None, recording: str
    ) -> Answer:
        chosen = self._active(account, recording, call, conference)
        # Its documentation names this cause, a SIP transfer.
        if chosen.conference is None and chosen.call.is_in_transfer(self._clock()):
            raise RefusedError(408, 16114, "The recording is being modified")
        form = request.form()
        status, behaviour = form.get("Status", [""])[0], form.get("PauseBehavior", ["silence"])[0]
        # Sources differ about a conference: by Twilio's description it can be stopped, by its support's page "Getting
        # Started with Call Recording Controls" only paused and resumed.
        if status not in ACTIVE | (set() if conference else {"stopped"}):
            raise RefusedError(400, 20001, "Status must be paused, in-progress, or for a call stopped")
        if behaviour not in {"skip", "silence"}:
            raise RefusedError(400, 20001, "PauseBehavior must be skip or silence")
        if status == chosen.status and self.repeats == "refused":
            raise RefusedError(400, 21220, "The recording has this status already")
        if status == chosen.status and self.repeats == "dated":
            chosen.updated_at = self._clock()
        self._change(chosen, status, skips=behaviour == "skip")
        resource = chosen.resource(status=chosen.status, level=_level(call, conference))
        if recording == CURRENT and self.names_current:
            resource["sid"] = CURRENT
        return ok(resource)

    def _active(self, account: str, sid: str, call: str | None, conference: str | None) -> Recording:
        running = self.running(self._owner(account, call, conference))
        if sid != CURRENT:
            chosen = self._recording(account, sid, call, conference)
            if chosen not in running:
                raise RefusedError(400, 21220, "The recording is not active")
            return chosen
        if len(running) > 1:
            raise RefusedError(400, 16108, "More than one recording is active on this call")
        if not running:
            raise RefusedError(404, 20404, "No recording is active on this call")
        return running[0]

    def _delete(
        self,
        request: Request,  # noqa: ARG002 (each route has one)
        *,
        account: str,
        call: str | None,
        conference: str | None,
        recording: str,
    ) -> Answer:
        chosen = self._recording(account, recording, call, conference)
        # Only what is completed can be deleted, says the documentation; which code refuses the rest, it does not.
        # This one refuses to delete a call or a message "before it is complete".
        if chosen.status != "completed":
            raise RefusedError(409, 20009, "The recording is not completed")
        chosen.is_deleted, chosen.deleted_at = True, self._clock()
        return Answer(204)

    def _media(self, request: Request, *, account: str, recording: str, suffix: str | None) -> Answer:
        chosen = self._recording(account, recording)
        fault = self.faults.next_for_media()
        # What is kept in a bucket of the account's own is not here, and never will be: `media_url` says where it is.
        if chosen.status != "completed" or chosen.external_storage_url or fault == "not-ready":
            raise RefusedError(404, 20404, "The media is not available")
        if chosen.public_key_sid and suffix == "mp3":
            raise RefusedError(400, 16109, "Cannot fetch .mp3 encrypted recording")
        if fault == "html":
            return Answer(200, b"<html><body>Something went wrong</body></html>", content_type="text/html")
        if fault == "empty":
            return Answer(200, b"", content_type="audio/x-wav")
        channels = int(dict(parse_qsl(request.query)).get("RequestedChannels", chosen.channels))
        if channels > chosen.channels:
            raise RefusedError(400, 16113, "The recording does not have as many channels")
        seconds = (chosen.duration or 0) // (2 if fault == "short" else 1)
        audio = self.audio(seconds=seconds, channels=channels, suffix=suffix)
        content_type = "text/plain" if fault == "wrong-type" else audio.content_type
        return Answer(200, content_type=content_type, audio=audio, transport="cut" if fault == "cut" else "send")

    def audio(self, *, seconds: int, channels: int, suffix: str | None) -> Audio:
        """Return the sound of a recording of that length, as WAV unless `suffix` is `mp3`."""
        if suffix == "mp3":
            return mp3(seconds=seconds, channels=channels)
        return wav(seconds=seconds, channels=channels, rate_hz=self.wav_rate_hz)

    # --- whose they are ------------------------------------------------------------------------

    def _owner(self, account: str, call: str | None, conference: str | None) -> Callable[[Recording], bool]:
        """Return what tells the recordings of a call, of a conference, or else of the account."""
        if call:
            of_call = self.call_of(account, call)
            return lambda one: one.is_of_call(of_call.sid)
        if conference:
            met = self.conference_of(account, conference)
            return lambda one: one.conference is met
        return lambda one: one.call.account_sid == account

    def _recording(
        self, account: str, sid: str, call_sid: str | None = None, conference_sid: str | None = None
    ) -> Recording:
        is_of, recording = self._owner(account, call_sid, conference_sid), self.recordings.get(sid)
        is_theirs = recording is not None and recording.call.account_sid == account and is_of(recording)
        if recording is None or recording.is_deleted or not is_theirs:
            raise RefusedError(404, 20404, f"The requested resource /Recordings/{sid} was not found")
        return recording


def _level(call: str | None, conference: str | None) -> Level:
    return "call" if call else "conference" if conference else "account"


def _faulty(fault: RequestFault) -> Answer:
    if isinstance(fault.answer, str):
        return Answer(0, transport=fault.answer)
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    code, message = (20429, "Too Many Requests") if fault.answer == 429 else (20500, "Internal Server Error")
    answer = problem(fault.answer, fault.code or code, message if fault.code is None else "Refused")
    return Answer(answer.status, answer.body, headers=headers)
