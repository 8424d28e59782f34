"""The simulated Twilio with a witness: who asked for what, what was done to which recording, and when."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, override
from urllib.parse import urlencode

from local.twilio_simulator.model import Call, Recording
from local.twilio_simulator.twilio import Answer, Request, Twilio


@dataclass(eq=False)
class Delivery:
    """One invocation of a function: what it was for, and what it did. Times are the true ones, whatever clocks say."""

    function: str
    cause: str
    """What it was invoked for: a request's key, a timer's name, a message's id."""

    began: float
    clock_offset: float = 0.0
    """How much later it was by its machine's clock."""

    ended: float | None = None
    result: Any = None
    """What it returned, the exception that it raised, or KILLED."""

    read_at: float = 0.0
    """When it last read a row."""

    wrote: dict[str, float] = field(default_factory=dict)
    """When it first wrote which recording's row."""

    went_wrong: bool = False
    """Whether AWS or Twilio failed it, or may have."""


@dataclass(frozen=True)
class TaggedRequest(Request):
    """A request, with the delivery that sent it; None is a program that has nothing to do with this stack."""

    by: Delivery | None = None


@dataclass(eq=False)
class Asked:
    """A request to pause, resume or stop: when Twilio got it, and when it was done to which recording, if it was."""

    status: str
    at: float
    by: Delivery | None
    looked_at: float
    """When whoever asked had last read a row."""

    is_current: bool = False
    is_unknown: bool = False
    """Whether the answer left open what was done."""

    done_to: str | None = None
    done_at: float = 0.0

    @property
    def cause(self) -> str:
        """What it was asked for."""
        return self.by.cause if self.by else ""


class Witness(Twilio):
    """A Twilio whose every change is written down. `now` is the true time, which its own clock is off from."""

    def __init__(self, *, now: Callable[[], float], **named: Any) -> None:
        super().__init__(**named)
        self.now = now
        self.asked: list[Asked] = []
        self.lives: dict[str, list[tuple[float, str]]] = {}
        """For each recording when it had which status."""

        self.began_by: dict[str, Delivery | None] = {}
        """Who asked for which recording, of those that the REST API was asked for."""

        self.deleted_by: dict[str, Delivery | None] = {}
        self.on_deletion: Callable[[str], None] = lambda _: None
        self.poisoned_account_sid = ""
        self._asked_by: dict[int, Asked] = {}

    @override
    def handle(self, request: Request) -> Answer:
        faults: Any = self.faults
        faults.is_control = request.method == "POST" and "/Recordings/" in request.path
        by = _sender(request)
        if not faults.is_control:
            return _noted(super().handle(request), by)
        asked = Asked(request.form().get("Status", [""])[0], self.now(), by, by.read_at if by else 0.0)
        asked.is_current = "Twilio.CURRENT" in request.path
        self.asked.append(asked)
        self._asked_by[id(request)] = asked  # requests are kept, so no other gets the same id
        answer = _noted(super().handle(request), by)
        asked.is_unknown = answer.transport != "send" or answer.status >= 500
        return answer

    def change(self, recording: Recording, status: str) -> None:
        """Let a program that has nothing to do with this stack pause, resume or stop a recording, if it can."""
        owner = f"Conferences/{recording.conference.sid}" if recording.conference else f"Calls/{recording.call.sid}"
        path = f"/2010-04-01/Accounts/{recording.call.account_sid}/{owner}/Recordings/"
        request = TaggedRequest("POST", f"{path}{recording.sid}.json", body=urlencode({"Status": status}).encode())
        asked = Asked(status, self.now(), None, 0.0)
        self.asked.append(asked)
        self._asked_by[id(request)] = asked
        self.requests.append(request)
        self._answer(request, is_known=True)

    def delete(self, recording: Recording) -> None:
        """Let such a program delete a recording."""
        if recording.status == "completed" and not recording.is_deleted:
            recording.is_deleted, recording.deleted_at = True, self._clock()
            self._deleted(recording.sid, None)

    @override
    def record(self, call: Call, form: dict[str, list[str]] | None = None, **named: Any) -> Recording:
        recording = super().record(call, form, **named)
        self._note(recording)
        return recording

    @override
    def _answer(self, request: Request, *, is_known: bool = False) -> Answer:
        self._is_known = is_known
        return super()._answer(request)

    @override
    def _authenticate(self, request: Request, account_sid: str) -> None:
        if not self._is_known:
            super()._authenticate(request, account_sid)

    @override
    def _create(self, request: Request, **named: Any) -> Answer:
        answer = super()._create(request, **named)
        if answer.status == 201:
            self.began_by[answer.json()["sid"]] = _sender(request)
        return answer

    @override
    def _update(self, request: Request, **named: Any) -> Answer:
        answer = super()._update(request, **named)
        asked = self._asked_by[id(request)]
        done_to = answer.json()["uri"].rpartition("/")[2].removesuffix(".json")
        asked.done_to, asked.done_at = done_to, self.now()
        self._note(self.recordings[done_to])
        return answer

    @override
    def _delete(self, request: Request, *, recording: str, **named: Any) -> Answer:
        answer = super()._delete(request, recording=recording, **named)
        self._deleted(recording, _sender(request))
        return answer

    def _deleted(self, recording_sid: str, by: Delivery | None) -> None:
        self.deleted_by[recording_sid] = by
        self.on_deletion(recording_sid)

    @override
    def _list(self, request: Request, *, account: str, **named: Any) -> Answer:
        answer = super()._list(request, account=account, **named)
        if account != self.poisoned_account_sid:
            return answer
        # What nobody has seen at Twilio, and nobody else must suffer from.
        body = answer.json()
        for recording in body["recordings"]:
            recording["encryption_details"] = {"version": 1.5}
        return Answer(200, json.dumps(body | {"recordings": body["recordings"] * 2}).encode())

    @override
    def _stop(self, recording: Recording) -> None:
        super()._stop(recording)
        self._note(recording)

    @override
    def _finish(self, recording: Recording, seconds: int) -> None:
        super()._finish(recording, seconds)
        self._note(recording)

    def _note(self, recording: Recording) -> None:
        self.lives.setdefault(recording.sid, []).append((self.now(), recording.status))


def _sender(request: Request) -> Delivery | None:
    return request.by if isinstance(request, TaggedRequest) else None


def _noted(answer: Answer, by: Delivery | None) -> Answer:
    """Return the answer, having noted whether it was none, or one that says nothing of what was asked."""
    if by and (answer.transport != "send" or answer.status == 429 or answer.status >= 500):
        by.went_wrong = True
    return answer
