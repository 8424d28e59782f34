"""One recording from its start to its deletion, and what must be observed on the way."""

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import requests

from operations.smoke.report import NotAsExpectedError, Report

_ARCHIVE_SECONDS: Final = 300

type Send = Callable[..., requests.Response]
"""Sends a signed request to ControlApi: a method, a path, and arguments for `requests.request`; follows no redirect."""


class Telephone(Protocol):
    """What hangs up."""

    def hang_up(self, call_sid: str) -> None:
        """End the call."""


def record(send: Send, phone: Telephone, call_sid: str, report: Report, *, talk_seconds: float) -> None:
    """Start, repeat, pause, resume, end, get the audio of and delete a recording of a call that is in progress.

    Raises NotAsExpectedError at the first unexpected result.
    """
    recordings, key = f"/calls/{call_sid}/recordings", {"Idempotency-Key": f"smoke-{call_sid}"}
    with report.step("Start a recording") as told:
        started = _expect(send("POST", recordings, json={"RecordingChannels": "dual"}, headers=key), 201)
        recording = f"/recordings/{started['sid']}"
        told.append(f"{started['sid']}, {started['status']}")
    with report.step("Repeat the request with the same key: still one recording") as told:
        again = send("POST", recordings, json={"RecordingChannels": "dual"}, headers=key)
        _same(_expect(again, 201)["sid"], started["sid"])
        told.append(f"Idempotent-Replayed: {again.headers.get('Idempotent-Replayed')}")
    time.sleep(talk_seconds)
    with report.step("Pause everything on the call") as told:
        paused = _expect(send("POST", f"{recordings}/ALL", json={"Status": "paused", "ConferenceSid": "none"}), 200)
        told.append(f"confirmed at {paused.get('proven_at')}")
    with report.step("Resume everything"):
        _expect(send("POST", f"{recordings}/ALL", json={"Status": "in-progress"}), 200)
    time.sleep(talk_seconds)
    with report.step("Hang up"):
        phone.hang_up(call_sid)
    with report.step("Twilio's callbacks complete the row, and the audio is archived") as told:
        row = _until_archived(send, recording)
        told.append(f"{row['archive']['bytes']} bytes, {row.get('duration_seconds')} s, {sorted(row['status_at'])}")
    with report.step("Get the audio: it has the archived checksum") as told:
        link = send("GET", f"{recording}/media", params={"Reason": "smoke test"})
        if link.status_code != 302:
            raise NotAsExpectedError(f"HTTP {link.status_code} instead of 302")
        audio = requests.get(link.headers["Location"], timeout=(5, 60))
        _same(hashlib.sha256(audio.content).hexdigest(), row["archive"]["sha256"])
        told.append(f"{len(audio.content)} bytes of {audio.headers.get('Content-Type')}")
    with report.step("Delete it, here and at Twilio") as told:
        receipt = _expect(send("DELETE", recording), 200)
        _same(receipt["removed"], {"twilio": "removed", "archive": "removed"})
        told.append(str(receipt["removed"]))


def _until_archived(send: Send, recording: str) -> dict[str, Any]:
    ends = time.monotonic() + _ARCHIVE_SECONDS
    while "archive" not in (row := _expect(send("GET", recording), 200)):
        if time.monotonic() > ends:
            raise NotAsExpectedError(f"after {_ARCHIVE_SECONDS} s the row is {row['status']} and has no archive")
        time.sleep(1)
    _same(row["status"], "completed")
    return row


def _expect(response: requests.Response, status: int) -> dict[str, Any]:
    if response.status_code != status:
        raise NotAsExpectedError(f"HTTP {response.status_code} instead of {status}: {response.text[:500].strip()}")
    told: dict[str, Any] = response.json()
    return told


def _same(seen: object, expected: object) -> None:
    if seen != expected:
        raise NotAsExpectedError(f"{seen} instead of {expected}")
