"""People who call, ask for recordings, ask again when they hear nothing, and rotate tokens meanwhile."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from local.api_gateway import rest_api_event
from local.twilio_simulator.model import Call, CallbackTarget, new_sid
from local.twilio_simulator.twilio import Callback
from tests.conftest import put_secret
from tests.simulation.world import BEGINS, WEBHOOK_URL, World

FAULTS_LAST: Final = 1800.0
CALLS_LAST: Final = 1200.0
RECONCILE_EVERY: Final = 600.0
ENDS: Final = BEGINS + 2.75 * 3600
_FINAL_REFUSALS: Final = {f"urn:problem:call-recording:{name}" for name in ("call-not-in-progress", "not-found")}
_OPTIONS: Final[list[dict[str, str]]] = [
    {},
    {"RecordingChannels": "dual"},
    {"RecordingTrack": "inbound"},
    {"RecordingStatusCallbackMethod": "GET"},
    {"RecordingStatusCallbackEvent": "completed absent"},
    {"RecordingStatusCallback": "https://caller.example.com/status"},
]


@dataclass(eq=False)
class Request:
    """One intent, and how it ended: with these recordings, or with these refusals."""

    name: str
    call: Call
    options: dict[str, str]
    recordings: set[str] = field(default_factory=set)
    refusals: set[str] = field(default_factory=set)


class Scenario:
    """A run for one seed; afterwards `requests` tells what the callers were told."""

    def __init__(self, world: World, *, recordings: int, has_reconciler: bool = True) -> None:
        self.world = world
        self.random = world.random
        self.requests: list[Request] = []
        self.dead_letters: list[dict[str, Any]] = []
        self.own_callbacks: list[Callback] = []
        self.tokens = {world.account.auth_token}
        calls: list[Call] = []
        for number in range(recordings):
            begins = BEGINS + self.random.uniform(1, CALLS_LAST)
            if not calls or self.random.random() < 0.75:
                calls.append(Call(new_sid("CA", self.random), world.account.sid, is_silent=self.random.random() < 0.1))
                self.world.scheduler.at(begins, lambda call=calls[-1]: self._begin(call))  # type: ignore[misc]
            call = calls[-1]
            if self.random.random() < 0.1:
                continue_at = begins + self.random.uniform(0, 20)
                self.world.scheduler.at(continue_at, lambda call=call: self._record_from_outside(call))  # type: ignore[misc]
                continue
            self._ask(number, call, begins)
        for _ in range(max(1, recordings // 5)):
            world.scheduler.at(BEGINS + self.random.uniform(60, FAULTS_LAST), self._forge)
        if self.random.random() < 0.5:
            self._rotate_token(BEGINS + self.random.uniform(60, CALLS_LAST))
        if has_reconciler:
            world.scheduler.at(BEGINS + RECONCILE_EVERY, self._reconcile)
        world.scheduler.at(BEGINS + FAULTS_LAST + 1, self._redrive)

    # --- calls ---------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        twilio = self.world.twilio
        if call.sid not in twilio.calls:
            twilio.calls[call.sid] = call
            lasts = self.random.choice([0.6, 5, 60, 600]) * self.random.uniform(0.9, 1.5)
            self.world.scheduler.at(self.world.scheduler.now + lasts, lambda: self._hang_up(call))

    def _hang_up(self, call: Call) -> None:
        self.world.twilio.hang_up(call.sid)
        self.world.wake_for_twilio()

    def _record_from_outside(self, call: Call) -> None:
        """Record by TwiML: this stack hears of it by no callback at all."""
        self._begin(call)
        if call.is_live:
            self.world.twilio.record(call, source="RecordVerb")

    # --- requests ------------------------------------------------------------------------------

    def _ask(self, number: int, call: Call, begins: float) -> None:
        options = self.random.choice(_OPTIONS)
        asks_at = begins + self.random.uniform(0.5, 5)
        if self.random.random() < 0.5:
            request = Request(f"http#key-{number}", call, options)
            send: Callable[[Request], None] = self._send
        else:
            request = Request(f"eventbridge#event-{number}", call, options)
            send = self._put_event
        self.requests.append(request)
        self.world.scheduler.at(asks_at, lambda: send(request))
        if self.random.random() < 0.25:  # delivered twice, perhaps at the same time
            again = asks_at + self.random.choice([0.0, 0.05, 2.0, 90.0])
            self.world.scheduler.at(again, lambda: send(request))

    def _send(self, request: Request, tries: int = 0) -> None:
        """Ask by HTTP, and again with the same key until the answer is one."""
        self._begin(request.call)
        event = rest_api_event(
            "POST",
            resource="/calls/{CallSid}/recordings",
            path_parameters={"CallSid": request.call.sid},
            headers={"Content-Type": "application/json", "Idempotency-Key": request.name.removeprefix("http#")},
            body=json.dumps(request.options),
        )

        def answered(result: Any) -> None:
            body = json.loads(result["body"]) if isinstance(result, dict) else {}
            if body and result["statusCode"] == 201:
                request.recordings.add(body["sid"])
            elif body.get("type") in _FINAL_REFUSALS:
                request.refusals.add(body["type"])
            else:
                later = self.world.scheduler.now + self.random.uniform(1, min(60, 2**tries + 1))
                self.world.scheduler.at(later, lambda: self._send(request, tries + 1))

        self.world.invoke("start_recording", event, answered)

    def _put_event(self, request: Request) -> None:
        self._begin(request.call)
        event = {
            "version": "0",
            "id": request.name.removeprefix("eventbridge#"),
            "detail-type": "Call Recording Requested",
            "source": "simulation",
            "time": _iso(self.world.scheduler.now),
            "detail": {"CallSid": request.call.sid, **request.options},
        }
        self._invoke_asynchronously(event, attempt=1)

    def _invoke_asynchronously(self, event: dict[str, Any], attempt: int) -> None:
        """Deliver as Lambda does: two more tries, minutes apart, and then the dead-letter queue."""

        def ended(result: Any) -> None:
            if result is None:
                return
            if attempt > 2:
                self.dead_letters.append({"requestPayload": event})
            else:
                later = self.world.scheduler.now + 60 * attempt
                self.world.scheduler.at(later, lambda: self._invoke_asynchronously(event, attempt + 1))

        self.world.invoke("start_recording", event, ended)

    # --- operators -----------------------------------------------------------------------------

    def _reconcile(self) -> None:
        self.world.invoke("reconcile_recordings", {})
        if self.world.scheduler.now + RECONCILE_EVERY < ENDS:
            self.world.scheduler.at(self.world.scheduler.now + RECONCILE_EVERY, self._reconcile)

    def _redrive(self) -> None:
        """Enable the redrive mappings: both queues are emptied through their functions, for as long as it takes."""
        waiting, self.dead_letters = self.dead_letters, []
        for message in waiting:
            record = {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(message)}

            def ended(result: Any, message: dict[str, Any] = message) -> None:
                if not isinstance(result, dict) or result["batchItemFailures"]:
                    self.dead_letters.append(message)

            self.world.invoke("start_recording", {"Records": [record]}, ended)
        if self.world.scheduler.now + 120 < ENDS:
            self.world.scheduler.at(self.world.scheduler.now + 120, self._redrive)

    def _rotate_token(self, begins: float) -> None:
        """Rotate as docs/how-to/operate says: both tokens into the secret, promote at Twilio, drop the old one."""
        account, old = self.world.account, self.world.account.auth_token
        new = f"{self.random.getrandbits(128):032x}"
        self.tokens |= {old, new}

        def promote() -> None:
            account.auth_token, account.secondary_auth_token = new, None

        def store(**secret: str) -> None:
            put_secret(account.sid, secret)

        account.secondary_auth_token = new
        self.world.scheduler.at(begins, lambda: store(auth_token=old, auth_token_secondary=new))
        self.world.scheduler.at(begins + 11, promote)
        self.world.scheduler.at(begins + 600, lambda: store(auth_token=new))

    def _forge(self) -> None:
        """Send a callback that Twilio never made, about a recording that exists or not."""
        known = list(self.world.twilio.recordings.values())
        recording = self.random.choice(known) if known else None
        parameters = {
            "AccountSid": self.world.account.sid,
            "CallSid": recording.call.sid if recording else new_sid("CA", self.random),
            "RecordingSid": recording.sid if recording and self.random.random() < 0.7 else new_sid("RE", self.random),
            "RecordingStatus": self.random.choice(["absent", "completed", "failed"]),
            "RecordingDuration": "9999",
        }
        target = CallbackTarget(WEBHOOK_URL, self.random.choice(["POST", "GET"]), frozenset())
        self.world.deliver(Callback(target, "", parameters), "forged", tries=1, is_twilios=False)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
