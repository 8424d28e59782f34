"""Whoever else there is: programs that record past this stack, forgers, and an account that has poison signed."""

import json
from typing import Any

from local.twilio_simulator import other_requests
from local.twilio_simulator.model import Call, CallbackTarget, Recording, new_sid
from local.twilio_simulator.twilio import Callback
from tests.conftest import TABLE
from tests.simulation import dynamodb
from tests.simulation.delivering import SHARDS, shard_of
from tests.simulation.ways import CONFERENCES_CALL_BACK, NO_START_TIME, OTHER_REQUESTS, SOURCES
from tests.simulation.world import WEBHOOK_URL, World


class Strangers:
    """They are told apart in the end: what they made is not ours to answer for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.made: set[str] = set()
        """The recordings that were started past this stack."""

        self._poison: list[str] = []

    def record(self, call: Call) -> None:
        """Record by TwiML, or by the API as we do: this stack hears of it by no callback at all."""
        if call.is_live:
            source = self.random.choice(["RecordVerb", "StartCallRecordingAPI"])
            if SOURCES in self.world.ways:
                source = self.random.choice(["DialVerb", "RecordVerb", "OutboundAPI", "Trunking"])
            recording = self.world.twilio.record(call, source=source)
            recording.shows_start_time = NO_START_TIME not in self.world.ways
            self.made.add(recording.sid)
            self._send_others(recording)

    def meet(self, call: Call) -> None:
        """Have the call meet others in a conference that is recorded, by TwiML or by the API."""
        if not call.is_live:
            return
        twilio, form = self.world.twilio, {}
        if CONFERENCES_CALL_BACK in self.world.ways:
            events = "in-progress completed absent"
            form = {"RecordingStatusCallback": [WEBHOOK_URL], "RecordingStatusCallbackEvent": [events]}
        conference = twilio.begin_conference([call, twilio.begin_call(call.account_sid, lasts_seconds=90)])
        source = self.random.choice(["Conference", "StartConferenceRecordingAPI"])
        self.made.add(twilio.record_conference(conference, form, source=source).sid)
        self.world.wake_for_twilio()

    def _send_others(self, recording: Recording) -> None:
        """Have what else Twilio signs come to the same URL."""
        if OTHER_REQUESTS not in self.world.ways:
            return
        twilio, call = self.world.twilio, recording.call
        for parameters in (
            other_requests.record_action(recording, base_url=twilio.base_url),
            other_requests.transcription(recording, base_url=twilio.base_url),
            other_requests.call_status(call),
        ):
            twilio.send(WEBHOOK_URL, call.account_sid, parameters)
        self.world.wake_for_twilio()

    def record_poisoned(self) -> None:
        """Let the poisoner have recordings of its own, so that its list is asked for and is odd."""
        call = self.world.twilio.begin_call(self.world.poisoner.sid, lasts_seconds=30)
        for _ in range(2):
            self.made.add(self.world.twilio.record(call, source="RecordVerb").sid)
        self.world.wake_for_twilio()

    def forge(self) -> None:
        """Send a callback that Twilio never made, about a recording that exists or not."""
        recording = self._one_of_theirs()
        parameters = {
            "AccountSid": self.random.choice(self.world.accounts).sid,
            "CallSid": recording.call.sid if recording else new_sid("CA", self.random),
            "RecordingSid": recording.sid if recording and self.random.random() < 0.7 else new_sid("RE", self.random),
            "RecordingStatus": self.random.choice(["absent", "completed", "failed"]),
            "RecordingDuration": "9999",
        }
        self._deliver(parameters, "forged", whose="forged")

    def poison(self) -> None:
        """Have Twilio sign something odd in the poisoner's name: made-up statuses, our CallSid, our RecordingSid."""
        recording = self._one_of_theirs()
        if not self._poison or self.random.random() < 0.4:
            self._poison.append(new_sid("RE", self.random))
        # One of ours only once it has its row: before that, whoever knew its SID would be the first to say whose it is.
        is_ours = recording is not None and self.random.random() < 0.15 and self.world.has_row(recording.sid)
        known = recording.sid if recording and is_ours else self.random.choice(self._poison)
        parameters = {
            "AccountSid": self.world.poisoner.sid,
            "CallSid": recording.call.sid if recording else new_sid("CA", self.random),
            "RecordingSid": known,
            "RecordingStatus": self.random.choice(
                ["completed", "absent", "paused", f"z{self.random.getrandbits(60):x}"]
            ),
            "ErrorCode": str(self.random.randrange(10**6)),
        }
        odd = {
            "RecordingStartTime": "Thu, 01 Jan 2099 00:00:00 +0000",
            "EncryptionDetails": json.dumps({"cek": 10**45 - 1}),
            f"X{self.random.getrandbits(30)}": "é" * 1500,
            "RecordingUrl": "https://example.com/" + "x" * 1000,
            "RecordingDuration": "7",
            "RecordingChannels": "2",
        }
        parameters |= {name: value for name, value in odd.items() if self.random.random() < 0.3}
        self._deliver(parameters, self.world.poisoner.auth_token, whose="poison")

    def plant(self) -> None:
        """Leave a row in each shard whose events are larger than the bus takes.

        Thousands of callbacks with made-up statuses can have made one in former days; here it has few long ones.
        """
        seen = {letter * 30_000: {"S": "2026-11-22T07:33:00.000Z"} for letter in "abcdefghij"}
        for shard in range(SHARDS):
            sid = new_sid("RE", self.random)
            while shard_of(sid) != shard:
                sid = new_sid("RE", self.random)
            row: dict[str, Any] = {
                "recording_sid": {"S": sid},
                "account_sid": {"S": self.world.poisoner.sid},
                "call_sid": {"S": new_sid("CA", self.random)},
                "status": {"S": "failed"},
                "status_at": {"M": seen},
                "start_time": {"S": "2026-11-22T07:33:00Z"},
                "account_day": {"S": f"{self.world.poisoner.sid}#2026-11-22"},
                "fact_ranks": {"M": {}},
                "requested_by": {"S": "twilio"},
                "expires_at": {"N": "1829892780"},
            }
            dynamodb.answer("PutItem", {"TableName": TABLE, "Item": row})
        self.world.aws.changes.collect()

    def _one_of_theirs(self) -> Recording | None:
        found = [r for r in self.world.twilio.recordings.values() if r.call.account_sid != self.world.poisoner.sid]
        return self.random.choice(found) if found else None

    def _deliver(self, parameters: dict[str, str], token: str, *, whose: str) -> None:
        target = CallbackTarget(f"{WEBHOOK_URL}#rc=0", self.random.choice(["POST", "GET"]), frozenset())
        self.world.deliver(Callback(target, "", parameters), token, whose=whose)
