"""What Call Recording promises, and how to check each promise on the running stack."""

import functools
import hashlib
import json
import time
import wave
from collections.abc import Callable
from typing import Any, Final

import requests

from call_recording.bus import ARCHIVED, STARTED_WHILE_PAUSED, STATUS_CHANGE
from call_recording.recordings.row import plain
from local.stack import EVENTS, PROJECT, STATE, Stack
from local.twilio_simulator.audio import wav
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.faults import Faults
from local.twilio_simulator.model import BY_TWIML, Call, CallbackTarget, Recording
from local.twilio_simulator.twilio import Callback

type Published = Callable[[], list[dict[str, Any]]]
type Tell = Callable[[str, object], None]
"""Takes details for the verbose output: a title, and a text or a JSON value."""

_RECORDED_SECONDS: Final = 2
_PATIENCE_SECONDS: Final = 40
_REFERENCE: Final = "order-4711"
_AUDIO: Final = STATE / "demo.wav"
_COMPARED: Final = ("status", "call_sid", "account_sid", "channels", "track", "source", "duration_seconds")


class BrokenPromiseError(Exception):
    """What was observed instead of what is promised."""


def _expect(*, is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise BrokenPromiseError(otherwise)


def _eventually[T](look: Callable[[], T | None], *, otherwise: str) -> T:
    """Return the first true result, or raise BrokenPromiseError."""
    ends = time.monotonic() + _PATIENCE_SECONDS
    while not (seen := look()):
        _expect(is_so=time.monotonic() < ends, otherwise=otherwise)
        time.sleep(0.2)
    return seen


class Promises:
    """The promises, to be checked in order: later ones use the results of earlier ones.

    Each returns the evidence, or raises BrokenPromiseError.
    """

    def __init__(self, stack: Stack, published: Published, tell: Tell) -> None:
        self.stack, self.published, self.tell = stack, published, tell
        with stack.simulator.locked() as twilio:
            begun = [twilio.begin_call(stack.account_sid) for _ in range(4)]
        self.by_http, self.by_event, self.paused_call, self.other = begun
        self.three: list[str] = []
        self.late = self.group = ""

    def all(self) -> list[tuple[str, Callable[[], str]]]:
        """Return each with its name, in order."""
        return [
            ("start", self.start),
            ("repeat", self.repeat),
            ("event", self.event),
            ("pause", self.pause),
            ("late start", self.late_start),
            ("resume", self.resume),
            ("callbacks", self.callbacks),
            ("forgery", self.forgery),
            ("reconcile", self.lost_callbacks),
            ("archive", self.archive),
            ("link", self.link),
            ("events", self.events),
            ("deletion", self.deletion),
        ]

    def start(self) -> str:
        """Start a recording with a signed request, and none with an unsigned one."""
        unsigned = self._start(self.by_http, sign=False)
        signed = self._start(self.by_http)
        _expect(is_so=unsigned.status_code == requests.codes.forbidden, otherwise=f"unsigned: {unsigned.status_code}")
        sid = self._recording(self.by_http).sid
        _expect(
            is_so=(signed.status_code, signed.json().get("sid")) == (requests.codes.created, sid),
            otherwise=f"{signed.status_code} {signed.text}",
        )
        return f"201 for a signed request, {_short(sid)} is recording; 403 without a signature"

    def repeat(self) -> str:
        """Repeat a request and get the same recording; reuse its key for another request and get an error."""
        again, other = self._start(self.by_http), self._start(self.by_http, body='{"Trim": "do-not-trim"}')
        sid, replayed = self._recording(self.by_http).sid, again.headers.get("Idempotent-Replayed")
        _expect(
            is_so=(again.status_code, again.json().get("sid"), replayed) == (requests.codes.created, sid, "true"),
            otherwise=f"{again.status_code}, Idempotent-Replayed: {replayed}",
        )
        _expect(is_so=other.status_code == requests.codes.unprocessable, otherwise=f"reused key: {other.status_code}")
        return "the same key again: 201 and the same recording; with another request: 422"

    def event(self) -> str:
        """Start a recording by an event on the bus."""
        event = json.loads((EVENTS / "start-eventbridge.json").read_text())
        named = {"CallSid": self.by_event.sid, "AccountSid": self.stack.account_sid, "Reference": _REFERENCE}
        entry = {
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"] | named),
            "EventBusName": self.stack.event_bus,
        }
        self.tell("PutEvents", entry)
        self.stack.client("events").put_events(Entries=[entry])
        sid = _eventually(
            lambda: [one.sid for one in self._recordings(self.by_event) if self._row(one.sid)],
            otherwise="no row in time",
        )
        return f"Call Recording Requested starts {_short(sid[0])}"

    def pause(self) -> str:
        """Pause everything that records a call: its own recordings, whoever started them, and its conference's."""
        with self.stack.simulator.locked() as twilio:
            conference = twilio.begin_conference([self.paused_call, self.other])
            self.three = [
                twilio.record_conference(conference, self._called_back("completed")).sid,
                twilio.record(self.paused_call, self._called_back("in-progress completed"), source=BY_TWIML).sid,
            ]
        self.three.append(self._start(self.paused_call).json()["sid"])
        self._expect_heard(set(self.three))
        paused = self._control("/ALL", {"Status": "paused", "ResumeWithinSeconds": 120})
        self._expect_heard(set())
        _expect(
            is_so={one["sid"] for one in paused["paused"]} == set(self.three), otherwise=f"paused {paused['paused']}"
        )
        self.group = paused["group"]
        refused = self._start(self.paused_call, key="another")
        _expect(is_so=refused.status_code == requests.codes.conflict, otherwise=f"a start: {refused.status_code}")
        return "200: all 3 recordings are paused (API, TwiML, conference); a start gets a 409"

    def late_start(self) -> str:
        """Start a recording with TwiML while everything is paused: it is paused too, and an event reports it."""
        with self.stack.simulator.locked() as twilio:
            self.late = twilio.record(self.paused_call, self._called_back("in-progress completed"), source=BY_TWIML).sid
        (told,) = _eventually(
            lambda: self._published(STARTED_WHILE_PAUSED, self.late), otherwise=f"no {STARTED_WHILE_PAUSED}"
        )
        self.tell(STARTED_WHILE_PAUSED, told)
        _expect(is_so=told["paused"] is True and told["group"] == self.group, otherwise=f"told {told}")
        self._expect_heard(set())
        return f"TwiML starts {_short(self.late)} anyway: it is paused, and an event reports it"

    def resume(self) -> str:
        """Resume: that ends this pause, and no other."""
        alone = self.three[1]
        self._control(f"/{alone}", {"Status": "paused"})
        resumed = self._control("/ALL", {"Status": "in-progress"})
        self._expect_heard({*self.three, self.late} - {alone})
        _expect(is_so=resumed["left_paused"] == [{"sid": alone}], otherwise=f"left {resumed['left_paused']}")
        return f"3 recordings continue; {_short(alone)}, which was paused separately, stays paused"

    def callbacks(self) -> str:
        """Hang up: signed callbacks update the rows."""
        both = [self._recording(call) for call in (self.by_http, self.by_event)]
        for one in both:
            self._hang_up(one)
        _eventually(
            lambda: all(self._told(one.sid).get("status") == "completed" for one in both), otherwise="not completed"
        )
        for one in both:
            self.tell(f"Row of {one.sid}", self._row(one.sid))
            _expect(is_so=self._told(one.sid) == _as_twilio_knows(one), otherwise=f"the row: {self._told(one.sid)}")
        asked = [self._row(one.sid)["requested_by"] for one in both]
        _expect(is_so=asked == ["http", "eventbridge"], otherwise=f"requested by {asked}")
        answers = _eventually(lambda: self._answers(both), otherwise="Twilio has not called back about everything")
        _expect(is_so={*answers} - {None} == {204}, otherwise=f"answered {answers}")
        # A busy machine may not answer in time: then Twilio retries.
        late = f", {answers.count(None)} not answered in time" if None in answers else ""
        return f"{answers.count(204)} signed callbacks got a 204{late}; both rows agree with Twilio"

    def forgery(self) -> str:
        """Send a callback that Twilio has not signed: it changes nothing."""
        recording = self._recording(self.by_http)
        before = self._told(recording.sid)
        forged = recording.callback_parameters("absent", base_url=self.stack.twilio_url) | {"ErrorCode": "16102"}
        signature = {"X-Twilio-Signature": "c29tZWJvZHkgZWxzZQ=="}
        answer = requests.post(self.stack.webhook_local_url, data=forged, headers=signature, timeout=30)
        self.tell(f"POST {self.stack.webhook_local_url} → {answer.status_code}", answer.json())
        _expect(is_so=answer.status_code == requests.codes.forbidden, otherwise=f"answered {answer.status_code}")
        # Not the whole row: the stack archives the audio meanwhile.
        _expect(is_so=self._told(recording.sid) == before, otherwise=f"the row: {self._told(recording.sid)}")
        return '403 for "absent" with a forged signature; the row has not changed'

    def lost_callbacks(self) -> str:
        """Lose callbacks: the reconciler asks Twilio instead."""
        with self.stack.simulator.locked() as twilio:
            call = twilio.begin_call(self.stack.account_sid)
            twilio.faults = Faults.drop_callbacks(2)
        sid = self._start(call).json()["sid"]
        recording = self._recording(call)
        self._hang_up(recording)
        _eventually(lambda: recording.status == "completed" and not self._faults_left(), otherwise="the call goes on")
        before = self._row(sid)["status"]
        functions = self.stack.client("lambda").list_functions()["Functions"]
        (name,) = [one["FunctionName"] for one in functions if "ReconcileRecordings" in one["FunctionName"]]
        invoked = self.stack.client("lambda").invoke(FunctionName=name, Payload="{}")
        self.tell("ReconcileRecordingsFunction", json.loads(invoked["Payload"].read()))
        after = self._row(sid)["status"]
        # Not earlier, or the callbacks about these calls would be lost.
        with self.stack.simulator.locked() as twilio:
            for over in (self.paused_call, self.other):
                twilio.hang_up(over.sid)
        _expect(is_so=(before, after) == ("in-progress", "completed"), otherwise=f"{before}, then {after}")
        return f"no callback about {_short(sid)} arrived: in-progress; after the reconciler has run: completed"

    def archive(self) -> str:
        """Compare the audio in the bucket with Twilio's."""
        recording = self._recording(self.by_http)
        held = _eventually(lambda: self._row(recording.sid).get("archive"), otherwise="not archived in time")
        self.tell("Archive", held)
        found = self.stack.client("s3").get_object(Bucket=held["bucket"], Key=held["key"], VersionId=held["version_id"])
        of_twilio = b"".join(wav(seconds=recording.duration or 0, channels=recording.channels).pieces)
        digests = {held["sha256"], *(hashlib.sha256(audio).hexdigest() for audio in (found["Body"].read(), of_twilio))}
        _expect(is_so=len(digests) == 1, otherwise=f"three digests: {sorted(digests)}")
        return f"{held['bytes']} bytes; the row, the bucket and Twilio agree on SHA-256 {held['sha256'][:12]}…"

    def link(self) -> str:
        """Get the audio through a link."""
        recording = self._recording(self.by_http)
        answer = self.stack.call_control_api("GET", f"/recordings/{recording.sid}/media?Reason=demo", follow=False)
        _expect(is_so=answer.status_code == requests.codes.found, otherwise=f"{answer.status_code} {answer.text}")
        _AUDIO.write_bytes(requests.get(answer.headers["Location"], timeout=30).content)
        with wave.open(str(_AUDIO)) as audio:
            seconds, channels = audio.getnframes() / audio.getframerate(), audio.getnchannels()
        _expect(
            is_so=(seconds, channels) == (recording.duration, recording.channels),
            otherwise=f"{seconds} s on {channels} channels",
        )
        return f"302 to a link for 5 minutes: {seconds:.0f} s, {channels} channels, in {_AUDIO.relative_to(PROJECT)}"

    def events(self) -> str:
        """Count the published events: every change, once."""
        told = 0
        for one in (self._recording(call) for call in (self.by_http, self.by_event)):
            _eventually(functools.partial(self._published, ARCHIVED, one.sid), otherwise=f"no {ARCHIVED}")
            changes = [(each["previous_status"], each["status"]) for each in self._published(STATUS_CHANGE, one.sid)]
            _expect(
                is_so=changes == [(None, "in-progress"), ("in-progress", "completed")], otherwise=f"changes {changes}"
            )
            told += len(changes) + len(self._published(ARCHIVED, one.sid))
        for event in self.published():
            self.tell(event["detail-type"], event["detail"])
        named = [each.get("reference") for each in self._published(ARCHIVED, self._recording(self.by_event).sid)]
        _expect(is_so=named == [_REFERENCE], otherwise=f"references {named}")
        return f"{told} events about two recordings: started, completed, archived; with Reference {_REFERENCE}"

    def deletion(self) -> str:
        """Delete a recording: it is removed everywhere, permanently."""
        recording = self._recording(self.by_http)
        held = self._row(recording.sid)["archive"]
        receipt = self.stack.call_control_api("DELETE", f"/recordings/{recording.sid}").json()
        self.tell("Receipt", receipt)
        versions = self.stack.client("s3").list_object_versions(Bucket=held["bucket"], Prefix=held["key"])
        _expect(is_so=recording.is_deleted, otherwise="Twilio still has it")
        _expect(is_so=not versions.get("Versions"), otherwise="the bucket still has it")
        target = CallbackTarget(self.stack.webhook_url, "POST", frozenset())
        parameters = recording.callback_parameters("completed", base_url=self.stack.twilio_url)
        late = sign(Callback(target, self.stack.account_sid, parameters), auth_token=self.stack.auth_token)
        requests.post(self.stack.webhook_local_url, data=late.body, headers=late.headers, timeout=30)
        status = self._row(recording.sid)["status"]
        _expect(is_so=status == "deleted", otherwise=f"the row says {status}")
        return "deleted at Twilio and in the bucket; a late callback does not restore the row"

    def _start(self, call: Call, *, body: str = "", key: str = "first", sign: bool = True) -> requests.Response:
        body = body or json.loads((EVENTS / "start-rest-api.json").read_text())["body"]
        path, headers = f"/calls/{call.sid}/recordings", {"Idempotency-Key": f"{call.sid}-{key}"}
        answer = self.stack.call_control_api("POST", path, body=body.encode(), headers=headers, sign=sign)
        self.tell(f"POST {path}  {body} → {answer.status_code}", answer.json())
        return answer

    def _control(self, which: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/calls/{self.paused_call.sid}/recordings{which}"
        answer = self.stack.call_control_api("POST", path, json=body)
        self.tell(f"POST {path}  {json.dumps(body)} → {answer.status_code}", answer.json())
        _expect(is_so=answer.ok, otherwise=f"{answer.status_code} {answer.text}")
        told: dict[str, Any] = answer.json()
        return told

    def _hang_up(self, recording: Recording) -> None:
        """End the call, once there is something in its recording."""
        time.sleep(max(0.0, recording.started_at + _RECORDED_SECONDS - time.time()))
        with self.stack.simulator.locked() as twilio:
            twilio.hang_up(recording.call.sid)

    def _called_back(self, events: str) -> dict[str, list[str]]:
        return {"RecordingStatusCallback": [self.stack.webhook_url], "RecordingStatusCallbackEvent": [events]}

    def _expect_heard(self, sids: set[str]) -> None:
        """Expect that these recordings, and no others, contain what is said on the call now."""
        with self.stack.simulator.locked():
            heard = {one.sid for one in self._recordings(self.paused_call) if one.can_be_heard(time.time())}
        _expect(is_so=heard == sids, otherwise=f"heard in {sorted(heard) or 'none'}")

    def _recordings(self, call: Call) -> list[Recording]:
        return [one for one in list(self.stack.simulator.twilio.recordings.values()) if one.call is call]

    def _recording(self, call: Call) -> Recording:
        found = self._recordings(call)
        _expect(is_so=len(found) == 1, otherwise=f"{len(found)} recordings of the call, not one")
        return found[0]

    def _answers(self, recordings: list[Recording]) -> list[int | None]:
        """Return the answers to Twilio's callbacks, after those about the start and end of each have been sent."""
        sids = {one.sid for one in recordings}
        told = [each for each in self.stack.simulator.attempts if each.callback.parameters["RecordingSid"] in sids]
        about = {tuple(each.callback.parameters[name] for name in ("RecordingSid", "RecordingStatus")) for each in told}
        return [each.status for each in told] if len(about) == 2 * len(sids) else []

    def _faults_left(self) -> int:
        return len(self.stack.simulator.twilio.faults.callbacks)

    def _published(self, detail_type: str, recording_sid: str) -> list[dict[str, Any]]:
        told = [each for each in self.published() if each["detail-type"] == detail_type]
        return [each["detail"] for each in told if each["detail"]["recording_sid"] == recording_sid]

    def _row(self, recording_sid: str) -> dict[str, Any]:
        key = {"recording_sid": {"S": recording_sid}}
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.recordings_table, Key=key, ConsistentRead=True
        )
        return plain(answer.get("Item", {}))

    def _told(self, recording_sid: str) -> dict[str, Any]:
        row = self._row(recording_sid)
        return {name: row.get(name) for name in _COMPARED}


def _as_twilio_knows(recording: Recording) -> dict[str, Any]:
    """Return what the row of a recording must contain."""
    return {
        "status": recording.status,
        "call_sid": recording.call.sid,
        "account_sid": recording.call.account_sid,
        "channels": recording.channels,
        "track": recording.track,
        "source": recording.source,
        "duration_seconds": recording.duration,
    }


def _short(sid: str) -> str:
    return f"{sid[:8]}…{sid[-4:]}"
