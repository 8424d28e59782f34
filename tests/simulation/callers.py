"""People who ask: for a recording, for its pause or end, for its deletion; and ask again when they hear nothing."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from local.api_gateway import rest_api_event
from local.twilio_simulator.model import Call, Recording
from tests.simulation.world import World

FINAL_REFUSALS: Final = {f"urn:problem:call-recording:{name}" for name in ("call-not-in-progress", "not-found")}
"""After one of these a start will never be met."""

_PAUSED: Final = "urn:problem:call-recording:call-paused"
"""Nor after this one, once the call is over: until then it may be resumed."""

_OPTIONS: Final[list[dict[str, str]]] = [
    {},
    {"RecordingChannels": "dual"},
    {"RecordingTrack": "inbound"},
    {"RecordingStatusCallbackMethod": "GET"},
    {"RecordingStatusCallbackEvent": "completed absent"},
    {"RecordingStatusCallback": "https://caller.example.com/status"},
]
_ROUTE: Final = "/calls/{CallSid}/recordings"


@dataclass(eq=False)
class Request:
    """One intent to start, and how it ended: with these recordings, or with these refusals."""

    name: str
    call: Call
    options: dict[str, str]
    recordings: set[str] = field(default_factory=set)
    refusals: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Wish:
    """One intent to pause, resume or stop, and when its sender was told what: a status, or `failed`."""

    name: str
    call: Call
    fields: dict[str, Any]
    recording: str
    patience: int
    told: list[tuple[float, str]] = field(default_factory=list)


class Receipt(NamedTuple):
    """A receipt of a deletion, and when it was asked for and given."""

    asked_at: float
    given_at: float
    body: dict[str, Any]


class Starters:
    """Who asks for recordings, by HTTP with a key or by an event; half of them more than once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.requests: list[Request] = []

    def ask(self, call: Call, at: float) -> None:
        """Ask for a recording of the call."""
        options = {**self.random.choice(_OPTIONS), "AccountSid": call.account_sid}
        if call.account_sid == self.world.accounts[0].sid and self.random.random() < 0.7:
            del options["AccountSid"]
        number = len(self.requests)
        is_http = self.random.random() < 0.5
        request = Request(f"http#key-{number}" if is_http else f"eventbridge#event-{number}", call, options)
        self.requests.append(request)
        send = self._send if is_http else self._put_event
        self.world.scheduler.at(at, lambda: send(request))
        if self.random.random() < 0.25:  # asked twice, perhaps at the same time
            self.world.scheduler.at(at + self.random.choice([0.0, 0.05, 2.0, 90.0]), lambda: send(request))

    def _send(self, request: Request, tries: int = 0) -> None:
        """Ask by HTTP, and again with the same key until the answer is one."""
        event = rest_api_event(
            "POST",
            resource=_ROUTE,
            path_parameters={"CallSid": request.call.sid},
            headers={"Content-Type": "application/json", "Idempotency-Key": request.name.removeprefix("http#")},
            body=json.dumps(request.options),
        )

        def answered(result: Any) -> None:
            body = json.loads(result["body"]) if isinstance(result, dict) else {}
            if body and result["statusCode"] == 201:
                request.recordings.add(body["sid"])
            elif body.get("type") in FINAL_REFUSALS or (body.get("type") == _PAUSED and not request.call.is_live):
                request.refusals.add(body["type"])
            else:
                later = self.world.scheduler.now + self.random.uniform(1, min(60, 2**tries + 1))
                self.world.scheduler.at(later, lambda: self._send(request, tries + 1))

        self.world.invoke("start_recording", event, answered, cause=request.name)

    def _put_event(self, request: Request) -> None:
        detail = {"CallSid": request.call.sid, **request.options}
        event = _event(self.world, request.name, "Call Recording Requested", detail)
        self.world.aws.send(event, request.name)


class Controllers:
    """Who pauses, resumes and stops: by HTTP, with a key or without, or by an event; by SID or `Twilio.CURRENT`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.wishes: list[Wish] = []

    def act_on(self, call: Call, *, begins: float, lasts: float) -> None:
        """Plan what happens to the call's recordings while it lasts; some of it within one second."""
        at = begins
        for _ in range(self.random.choice([1, 2, 3, 4, 6])):
            at += self.random.uniform(0, 2) if self.random.random() < 0.35 else self.random.uniform(2, lasts / 3)
            if at < begins + lasts:
                self._plan(call, at)

    def _plan(self, call: Call, at: float) -> None:
        kinds = ["watched", "watched", "watched", "paused", "paused", "in-progress", "in-progress", "stopped"]
        kind = self.random.choice([*kinds, "somebody else"])
        if kind == "somebody else":
            status = self.random.choice(["paused", "paused", "in-progress", "in-progress", "stopped"])
            self.world.scheduler.at(at, lambda: self._past_this_stack(call, status))
            return
        fields: dict[str, Any] = {"Status": "paused" if kind == "watched" else kind}
        if kind == "watched":
            fields["ResumeWithinSeconds"] = self.random.choice([3, 20, 45, 120])
            if self.random.random() < 0.4:
                fields["AutoResume"] = True
            if self.random.random() < 0.5:
                ends_at = at + fields["ResumeWithinSeconds"] * self.random.uniform(0.05, 1.7)
                self.world.scheduler.at(ends_at, lambda: self._ask(call, {"Status": "in-progress"}))
        self.world.scheduler.at(at, lambda: self._ask(call, fields))

    def _recordings(self, call: Call) -> list[Recording]:
        return [r for r in self.world.twilio.recordings.values() if r.call is call]

    def _past_this_stack(self, call: Call, status: str) -> None:
        if found := self._recordings(call):
            self.world.twilio.change(self.random.choice(found), status)
            self.world.wake_for_twilio()

    def _ask(self, call: Call, fields: dict[str, Any]) -> None:
        named = [r.sid for r in self._recordings(call)]
        recording = self.random.choice(named) if named and self.random.random() < 0.5 else "Twilio.CURRENT"
        self.ask(call, fields, recording)

    def ask(self, call: Call, fields: dict[str, Any], recording: str) -> None:
        """Ask for a change of one recording now, perhaps twice."""
        if call.account_sid != self.world.accounts[0].sid:
            fields = {**fields, "AccountSid": call.account_sid}
        number = len(self.wishes)
        kind = self.random.choices(["http", "eventbridge", "keyless"], [5, 4, 1])[0]
        wish = Wish(f"{kind}#control-{number}", call, fields, recording, self.random.choice([0, 0, 2, 5]))
        self.wishes.append(wish)
        send = self._put_event if kind == "eventbridge" else self._send
        send(wish)
        if kind != "keyless" and self.random.random() < 0.15:
            later = self.world.scheduler.now + self.random.choice([0.0, 0.3, 5.0, 70.0])
            self.world.scheduler.at(later, lambda: send(wish))

    def _send(self, wish: Wish, tries: int = 0) -> None:
        has_key = wish.name.startswith("http#")
        key = {"Idempotency-Key": wish.name.removeprefix("http#")} if has_key else {}
        event = rest_api_event(
            "POST",
            resource=_ROUTE + "/{RecordingSid}",
            path_parameters={"CallSid": wish.call.sid, "RecordingSid": wish.recording},
            headers={"Content-Type": "application/json", **key},
            body=json.dumps(wish.fields),
        )

        def answered(result: Any) -> None:
            status = result["statusCode"] if isinstance(result, dict) else 0
            wish.told.append((self.world.scheduler.now, str(status)))
            is_worth_it = status in {0, 409} or status >= 500
            if is_worth_it and has_key and tries < wish.patience:
                later = self.world.scheduler.now + self.random.uniform(0.5, 4 * 2**tries)
                self.world.scheduler.at(later, lambda: self._send(wish, tries + 1))

        self.world.invoke("recordings_api", event, answered, cause=wish.name)

    def _put_event(self, wish: Wish) -> None:
        detail = {"CallSid": wish.call.sid, "RecordingSid": wish.recording, **wish.fields}
        self.world.aws.send(control_event(self.world, wish.name, detail), wish.name)


class Deleters:
    """Who wants recordings deleted, here or at Twilio, at once or later; and the end of the archive's retention."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.receipts: dict[str, list[Receipt]] = {}
        self.expired: set[str] = set()

    def act_on(self, call: Call, ends: float) -> None:
        """Plan what is deleted of the call, once it is over."""
        kind = self.random.choices(["nothing", "here", "here at once", "at Twilio", "retention"], [48, 14, 18, 5, 15])[
            0
        ]
        after = self.random.uniform(0.2, 5) if kind == "here at once" else self.random.uniform(10, 900)
        if kind != "nothing":
            self.world.scheduler.at(ends + after, lambda: self._delete_one(call, kind))

    def _delete_one(self, call: Call, kind: str) -> None:
        found = [r for r in self.world.twilio.recordings.values() if r.call is call]
        if not found:
            return
        recording = self.random.choice(found)
        if kind == "at Twilio":
            self.world.twilio.delete(recording)
        elif kind == "retention":
            self._expire(recording)
        else:
            self.delete(recording)
            if self.random.random() < 0.2:
                later = self.world.scheduler.now + self.random.choice([0.0, 0.2, 3.0])
                self.world.scheduler.at(later, lambda: self.delete(recording))

    def _expire(self, recording: Recording) -> None:
        """Take a recording out of the archive that Twilio still has, and say once more that it is completed.

        Not while somebody looks whether it is there, to delete it at Twilio: retention lasts days, and no look can
        rule out that it ends within the second after.
        """
        is_looked_at = any(
            delivery.function == "archive_recording" and delivery.cause == recording.sid and delivery.ended is None
            for delivery in self.world.deliveries
        )
        if is_looked_at or not self.world.expire(recording.sid):
            return
        self.expired.add(recording.sid)
        detail = {"recording_sid": recording.sid, "account_sid": recording.call.account_sid, "status": "completed"}
        self.world.aws.to_archive.send({"detail-type": "Call Recording Status Change", "detail": detail})

    def delete(self, recording: Recording, tries: int = 0) -> None:
        """Ask for the deletion, and again until there is a receipt, or a reason why there is none."""
        self.world.ledger.wants_deleted(recording.sid)
        asked_at = self.world.scheduler.now
        event = rest_api_event(
            "DELETE",
            resource="/recordings/{RecordingSid}",
            path_parameters={"RecordingSid": recording.sid},
            query=f"AccountSid={recording.call.account_sid}",
        )

        def answered(result: Any) -> None:
            body = json.loads(result["body"]) if isinstance(result, dict) else {}
            status = result["statusCode"] if body else 0
            if status == 200:
                self.world.ledger.receipt(recording.sid, asked_at=asked_at)
                receipt = Receipt(asked_at, self.world.scheduler.now, body)
                self.receipts.setdefault(recording.sid, []).append(receipt)
            elif tries < 30 and not body.get("type", "").endswith("archive-locked"):
                later = self.world.scheduler.now + self.random.uniform(1, min(300, 2 ** (tries + 1)))
                self.world.scheduler.at(later, lambda: self.delete(recording, tries + 1))

        self.world.invoke("recordings_api", event, answered, cause=f"deletion of {recording.sid}")


def control_event(world: World, name: str, detail: dict[str, Any]) -> dict[str, Any]:
    """Return an event that asks for a change of recordings; `name` is its sender's for the wish."""
    return _event(world, name, "Call Recording Control Requested", detail)


def _event(world: World, name: str, detail_type: str, detail: dict[str, Any]) -> dict[str, Any]:
    sent_at = datetime.fromtimestamp(world.scheduler.now, UTC).isoformat().replace("+00:00", "Z")
    return {
        "version": "0",
        "id": name.removeprefix("eventbridge#"),
        "detail-type": detail_type,
        "source": "simulation",
        "time": sent_at,
        "detail": detail,
    }
