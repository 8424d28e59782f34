"""The main job before the reader's eyes: two recordings, their callbacks, a forgery, rows, events and audio."""

import json
import time
import wave
from collections.abc import Callable
from typing import Any, Final

import requests
from rich.console import Console
from rich.table import Table

from call_recording.bus import ARCHIVED, STARTED_WHILE_PAUSED
from call_recording.recordings.row import plain
from local.listening import listening
from local.stack import EVENTS, PROJECT, STATE, Stack, on_loopback, running_stack
from local.twilio_simulator.faults import Faults
from local.twilio_simulator.model import Call, Recording

_CALL_SECONDS: Final = 4
_PATIENCE_SECONDS: Final = 40
_AUDIO: Final = STATE / "demo.wav"
_REFERENCE: Final = "order-4711"
_BY_TWIML: Final = "StartCallRecordingTwiML"
_COMPARED: Final = ("status", "call_sid", "account_sid", "channels", "track", "source", "duration_seconds")


def main() -> int:
    """Run the demo; return 0 only if the rows say exactly what the simulated Twilio knows."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()

    def progress(message: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {message}")

    console.rule("[bold]Call Recording: the whole stack on this machine")
    with running_stack(progress) as stack, listening(stack, "demo") as published:
        demo = _Demo(stack, console, published)
        started = {"http": demo.start_by_http(), "eventbridge": demo.start_by_eventbridge()}
        demo.show_callbacks(started)
        is_right = {
            "forgery": demo.show_forgery(),
            "rows": demo.show_rows(started),
            "lost callbacks": demo.show_lost_callbacks(),
            "conference": demo.show_conference(),
            "pause of everything": demo.show_pause_of_everything(),
            "events": demo.show_events(),
            "audio": demo.show_audio(started["http"]),
        }
        progress("Done; stopping the stack")
    if wrong := [name for name, is_so in is_right.items() if not is_so]:
        console.print(f"[bold red]Not what it should be: {', '.join(wrong)}.[/]")
        return 1
    console.print(
        "[bold green]Every recording is in the table once, as Twilio knows it, and its audio is in the bucket; "
        "the forgery changed nothing, and no recording heard what was said while everything was paused.[/]"
    )
    return 0


class _Demo:
    def __init__(self, stack: Stack, console: Console, published: Callable[[], list[dict[str, Any]]]) -> None:
        self.stack = stack
        self.console = console
        self.shown = 0
        self.published = published

    def start_by_http(self) -> Call:
        """Start a recording with a signed request whose body is that of `events/start-rest-api.json`."""
        body = json.loads((EVENTS / "start-rest-api.json").read_text())["body"]
        call = self._begin_call()
        path = f"/calls/{call.sid}/recordings"

        self.console.rule("1. Start a recording by HTTP")
        self.console.print(
            f"[bold]POST {self.stack.control_api_url}{path}[/]  (signed with AWS Signature Version 4)\n{body}"
        )
        unsigned = self.stack.call_control_api("POST", path, body=body.encode(), sign=False)
        self.console.print(f"without a signature: [yellow]{unsigned.status_code} {unsigned.reason}[/]")
        key = {"Idempotency-Key": call.sid}
        answer = self.stack.call_control_api("POST", path, body=body.encode(), headers=key)
        self.console.print(f"with a signature:    [green]{answer.status_code} {answer.reason}[/]")
        self.console.print_json(data=answer.json())
        again = self.stack.call_control_api("POST", path, body=body.encode(), headers=key)
        replayed = again.headers.get("Idempotent-Replayed")
        self.console.print(
            f"the same request again, with its Idempotency-Key: [green]{again.status_code}[/], "
            f"Idempotent-Replayed: {replayed}, the same recording: {again.json()['sid'] == answer.json()['sid']}"
        )
        return call

    def start_by_eventbridge(self) -> Call:
        """Start a recording with `events/start-eventbridge.json`."""
        event = json.loads((EVENTS / "start-eventbridge.json").read_text())
        call = self._begin_call()
        detail = event["detail"] | {
            "CallSid": call.sid,
            "AccountSid": self.stack.account_sid,
            "Reference": _REFERENCE,
        }

        self.console.rule("2. Start a recording by EventBridge")
        self.console.print(f"[bold]PutEvents[/] on bus {self.stack.event_bus!r}: [bold]{event['detail-type']}[/]")
        self.console.print_json(data=detail)
        entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(detail)}
        answer = self.stack.client("events").put_events(Entries=[entry])
        self.console.print(f"accepted as event {answer['Entries'][0]['EventId']}")
        return call

    def show_callbacks(self, started: dict[str, Call]) -> None:
        """Let the calls run, showing each callback as Twilio's attempt to deliver it ends."""
        self.console.rule(f"3. The calls run for {_CALL_SECONDS} s; Twilio calls back, signed")
        names = {call.sid: name for name, call in started.items()}
        ends = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < ends:
            for attempt in self._new_attempts():
                said = attempt.callback.parameters
                who = names.get(said["CallSid"], "?")
                self.console.print(
                    f"{said['RecordingSid']}  {said['RecordingStatus']:<11} (by {who})  "
                    f"X-Twilio-Signature {attempt.signature} → "
                    f"[{'green' if attempt.status == 204 else 'red'}]{attempt.status}[/]"
                )
            done = {row["call_sid"] for row in self._rows() if row["status"] == "completed"}
            if done >= names.keys():
                return
            time.sleep(0.2)

    def show_forgery(self) -> bool:
        """Send a callback that somebody else made up; tell whether it was refused and changed nothing."""
        self.console.rule("4. Somebody forges a callback")
        before = self._told()
        parameters = dict(self.stack.simulator.attempts[0].callback.parameters) | {
            "RecordingStatus": "absent",
            "ErrorCode": "16102",
        }
        url, headers = on_loopback(self.stack.webhook_local_url)
        forged = requests.post(
            url, data=parameters, headers=headers | {"X-Twilio-Signature": "c29tZWJvZHkgZWxzZQ=="}, timeout=30
        )
        self.console.print(f"[bold]POST {self.stack.webhook_local_url}[/]")
        self.console.print(
            f"RecordingSid={parameters['RecordingSid']} RecordingStatus=absent … with a made-up X-Twilio-Signature"
        )
        self.console.print(f"→ [yellow]{forged.status_code} {forged.reason}[/]  {forged.json()['title']}")
        return forged.status_code == requests.codes.forbidden and self._told() == before

    def show_rows(self, started: dict[str, Call]) -> bool:
        """Show the rows; tell whether they agree with what Twilio knows, and who asked for each."""
        self.console.rule(f"5. What is in DynamoDB ({self.stack.recordings_table})")
        rows = {row["call_sid"]: row for row in self._rows()}
        with self.stack.simulator.locked() as twilio:
            truth = {recording.call.sid: _as_row(recording) for recording in twilio.recordings.values()}
        for row in rows.values():
            table = Table("", "", show_header=False, box=None, pad_edge=False)
            table.columns[1].overflow = "fold"
            for name in sorted(row):
                table.add_row(f"[bold]{name}[/]", json.dumps(row[name], default=int))
            self.console.print(table, "")
        agree = self._told() == truth
        asked = {row["requested_by"]: sid for sid, row in rows.items()} == {
            by: call.sid for by, call in started.items()
        }
        return agree and asked

    def show_lost_callbacks(self) -> bool:
        """Let Twilio lose every callback of a recording; tell whether the reconciler found out all the same."""
        self.console.rule("6. Twilio loses every callback; the reconciler asks")
        with self.stack.simulator.locked() as twilio:
            call = twilio.begin_call(self.stack.account_sid, lasts_seconds=1.2)
            twilio.faults = Faults.drop_callbacks(2)
        answer = self.stack.call_control_api("POST", f"/calls/{call.sid}/recordings", body=b"{}")
        sid = answer.json()["sid"]
        time.sleep(2.5)
        self.console.print(f"{sid}  {self._status(sid)} in the table, though the call is over")
        functions = self.stack.client("lambda").list_functions()["Functions"]
        (name,) = [function["FunctionName"] for function in functions if "Reconcile" in function["FunctionName"]]
        invoked = self.stack.client("lambda").invoke(FunctionName=name, Payload="{}")
        self.console.print(f"ReconcileRecordingsFunction: {json.loads(invoked['Payload'].read())}")
        status = self._status(sid)
        self.console.print(f"{sid}  [green]{status}[/] in the table")
        return status == "completed"

    def show_conference(self) -> bool:
        """Let TwiML record a conference; tell whether it is found by its SID, though its callbacks name no call."""
        self.console.rule("7. A conference is recorded, past this stack; its callbacks come here")
        with self.stack.simulator.locked() as twilio:
            calls = [twilio.begin_call(self.stack.account_sid, lasts_seconds=1.5) for _ in range(2)]
            conference = twilio.begin_conference(calls)
            recording = twilio.record_conference(conference, self._callbacks("completed"))
        path = f"/recordings?ConferenceSid={conference.sid}"
        found: list[dict[str, Any]] = []
        ends = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < ends and not found:
            time.sleep(0.2)
            found = self.stack.call_control_api("GET", path).json()["recordings"]
        for attempt in self._new_attempts():
            if attempt.callback.parameters["RecordingSid"] == recording.sid:
                names = ("ConferenceSid", "CallSid", "RecordingStatus", "RecordingSource")
                self.console.print({name: attempt.callback.parameters.get(name) for name in names})
        self.console.print(f"[bold]GET {path}[/]")
        for row in found:
            self.console.print(f"{row['recording_sid']}  {row['conference_sid']}  [green]{row['status']}[/]")
        return [(row["recording_sid"], row["status"]) for row in found] == [(recording.sid, "completed")]

    def show_pause_of_everything(self) -> bool:
        """Pause whatever records a call; tell whether nothing heard it, the late one was told, and the resume fair."""
        self.console.rule("8. A card number is read out: everything that records the call is paused")
        call, three = self._record_three_times()
        self.console.print(f"these can be heard: {self._heard(call)}")
        paused = self._control(call, "/ALL", {"Status": "paused", "ResumeWithinSeconds": 120})
        self.console.print_json(data=paused)
        are_heard = self._heard(call)
        self.console.print(f"these can be heard: {are_heard or 'none'}")

        refused = self._control(call, "", {})
        self.console.print_json(data=refused)
        late = self._record(call, _BY_TWIML)
        self.console.print(f"TwiML starts {late.sid} all the same")
        told = self._wait_for(STARTED_WHILE_PAUSED, late.sid)
        self.console.print(f"[bold]{STARTED_WHILE_PAUSED}[/]  {late.sid}  paused: {told.get('paused')}")
        are_heard += self._heard(call)

        self.console.print("Somebody pauses one of them by itself, and then everything is resumed:")
        by_itself = three[0]
        self._control(call, f"/{by_itself}", {"Status": "paused"})
        resumed = self._control(call, "/ALL", {"Status": "in-progress"})
        self.console.print_json(data=resumed)
        heard = self._heard(call)
        self.console.print(f"these can be heard: {heard}")
        self._hang_up_all_with(call)
        is_told = told.get("paused") is True and told["group"] == paused.get("group") == refused.get("group")
        is_fair = resumed.get("left_paused") == [{"sid": by_itself}] and {*heard, by_itself} == {*three, late.sid}
        are_paused = {one["sid"] for one in paused.get("paused", [])} == set(three)
        return are_paused and not are_heard and is_told and is_fair

    def _record_three_times(self) -> tuple[Call, list[str]]:
        """Record a call by TwiML and by the API, and the conference that it is in; return it, and their SIDs."""
        with self.stack.simulator.locked() as twilio:
            call, other = (twilio.begin_call(self.stack.account_sid) for _ in range(2))
            conference = twilio.begin_conference([call, other])
            of_conference = twilio.record_conference(conference, self._callbacks("completed"))
        by_api = self.stack.call_control_api("POST", f"/calls/{call.sid}/recordings", body=b"{}").json()["sid"]
        return call, [self._record(call, _BY_TWIML).sid, by_api, of_conference.sid]

    def _hang_up_all_with(self, call: Call) -> None:
        with self.stack.simulator.locked() as twilio:
            met = [one for one in twilio.conferences.values() if any(who.call is call for who in one.present)]
            for participant in [who for one in met for who in one.present]:
                twilio.hang_up(participant.call.sid)

    def _record(self, call: Call, source: str) -> Recording:
        with self.stack.simulator.locked() as twilio:
            return twilio.record(call, self._callbacks("in-progress completed"), source=source)

    def _callbacks(self, events: str) -> dict[str, list[str]]:
        return {"RecordingStatusCallback": [self.stack.webhook_url], "RecordingStatusCallbackEvent": [events]}

    def _control(self, call: Call, which: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/calls/{call.sid}/recordings{which}"
        answer = self.stack.call_control_api("POST", path, body=json.dumps(body).encode())
        colour = "green" if answer.ok else "yellow"
        self.console.print(f"[bold]POST {path}[/]  {json.dumps(body)} → [{colour}]{answer.status_code}[/]")
        told: dict[str, Any] = answer.json()
        return told

    def _heard(self, call: Call) -> list[str]:
        """Return the recordings in which what is said on the call now can be heard."""
        with self.stack.simulator.locked() as twilio:
            return [r.sid for r in twilio.recordings.values() if r.call is call and r.can_be_heard(time.time())]

    def _wait_for(self, detail_type: str, recording_sid: str) -> dict[str, Any]:
        """Return the detail of an event about a recording; empty if it does not come."""
        ends = time.monotonic() + _PATIENCE_SECONDS / 2
        while time.monotonic() < ends:
            for event in self.published():
                if event["detail-type"] == detail_type and event["detail"]["recording_sid"] == recording_sid:
                    detail: dict[str, Any] = event["detail"]
                    return detail
            time.sleep(0.2)
        return {}

    def show_events(self) -> bool:
        """Show what came out on the bus; tell whether the start's reference came back in it."""
        self.console.rule(f"9. What came out on bus {self.stack.event_bus!r}")
        events: list[dict[str, Any]] = []
        ends = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < ends and sum(e["detail-type"] == ARCHIVED for e in events) < len(self._rows()):
            time.sleep(0.2)
            events = self.published()
        for event in events:
            detail = event["detail"]
            change = (
                f"{detail['previous_status'] or '(new)'} → {detail['status']}" if "previous_status" in detail else ""
            )
            named = f"  reference: {detail['reference']}" if "reference" in detail else ""
            self.console.print(f"{event['detail-type']:<35} {detail['recording_sid']}  {change}{named}")
            last = detail
        self.console.print("the detail of the last one:")
        self.console.print_json(data=last)
        return {detail["reference"] for detail in (e["detail"] for e in events) if "reference" in detail} == {
            _REFERENCE
        }

    def show_audio(self, call: Call) -> bool:
        """Fetch archived audio by a link that lives for minutes; tell whether it is what Twilio has."""
        self.console.rule("10. The audio, in the team's own bucket")
        recording = next(r for r in self.stack.simulator.twilio.recordings.values() if r.call.sid == call.sid)
        bucket = self.stack.archive_bucket
        for held in self.stack.client("s3").list_objects_v2(Bucket=bucket)["Contents"]:
            self.console.print(f"s3://{bucket}/{held['Key']}  {held['Size']} bytes")
        path = f"/recordings/{recording.sid}/media?Reason=demo"
        answer = self.stack.call_control_api("GET", path, follow=False)
        self.console.print(f"[bold]GET {path}[/] → [green]{answer.status_code}[/] to a link that lives for minutes")
        _AUDIO.write_bytes(requests.get(answer.headers["Location"], timeout=30).content)
        with wave.open(str(_AUDIO)) as audio:
            seconds, channels = audio.getnframes() / audio.getframerate(), audio.getnchannels()
        self.console.print(f"{_AUDIO.relative_to(PROJECT)}: {seconds:.0f} s on {channels} channels; a player opens it")
        return (seconds, channels) == (recording.duration, recording.channels)

    def _status(self, recording_sid: str) -> str:
        (row,) = [row for row in self._rows() if row["recording_sid"] == recording_sid]
        return str(row["status"])

    def _begin_call(self) -> Call:
        with self.stack.simulator.locked() as twilio:
            return twilio.begin_call(self.stack.account_sid, lasts_seconds=_CALL_SECONDS)

    def _new_attempts(self) -> list[Any]:
        attempts = list(self.stack.simulator.attempts)
        new, self.shown = attempts[self.shown :], len(attempts)
        return new

    def _told(self) -> dict[str, dict[str, Any]]:
        """Return what the rows say of Twilio's recordings, by call: not what we do with their audio meanwhile."""
        return {row["call_sid"]: {name: row.get(name) for name in _COMPARED} for row in self._rows()}

    def _rows(self) -> list[dict[str, Any]]:
        items = self.stack.client("dynamodb").scan(TableName=self.stack.recordings_table, ConsistentRead=True)["Items"]
        rows = [plain(item) for item in items]
        return sorted(rows, key=lambda row: str(row["recording_sid"]))


def _as_row(recording: Recording) -> dict[str, Any]:
    """Return what the row of a recording must say."""
    return {
        "status": recording.status,
        "call_sid": recording.call.sid,
        "account_sid": recording.call.account_sid,
        "channels": recording.channels,
        "track": recording.track,
        "source": recording.source,
        "duration_seconds": recording.duration,
    }
