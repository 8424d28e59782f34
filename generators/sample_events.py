"""The files in `events/`, made from the simulator's own requests; `python -m generators.sample_events` writes them."""

import base64
import json
from collections.abc import Mapping
from copy import replace
from typing import Any, Final

from call_recording.bus import SOURCE, STATUS_CHANGE
from call_recording.callbacks.facts import callback_facts
from call_recording.changes.events import change_events
from call_recording.control.request import ALL
from call_recording.control.resume_timers import ResumeTimer
from call_recording.recordings.facts import BY_HTTP, Facts
from call_recording.recordings.merge import merge
from call_recording.recordings.row import Row, attributes
from call_recording.twilio.api import RecordingResource
from local.api_gateway import http_api_event, rest_api_event
from local.stack import EVENTS
from local.twilio_simulator.delivery import sign
from local.twilio_simulator.model import Call, CallbackTarget, Recording
from local.twilio_simulator.twilio import Callback

ACCOUNT_SID: Final = "AC0123456789abcdef0123456789abcdef"
CALL_SID: Final = "CA0123456789abcdef0123456789abcdef"
RECORDING_SID: Final = "RE0123456789abcdef0123456789abcdef"
NEXT_RECORDING_SID: Final = "RE123456789abcdef0123456789abcdef0"
AUTH_TOKEN: Final = "5a3c1e907b2d4f68a1c3e5f7092b4d6e"  # noqa: S105 (of no account that exists)
WEBHOOK_URL: Final = "https://f6g7h8i9j0.execute-api.us-east-1.amazonaws.com/recording-status"

_DELIVERY: Final = "a7ca9dd3-7b1c-4b5e-9c0d-2f6f1c1f8e55"
_API_URL: Final = "https://api.twilio.com"
_RETENTION_DAYS: Final = 400
_STARTED: Final = 1795332780.0
_RESOURCE: Final = "/calls/{CallSid}/recordings"
_ONE: Final = "/recordings/{RecordingSid}"
_REQUEST: Final = {"RecordingChannels": "dual", "RecordingTrack": "both", "Trim": "do-not-trim"}
_OUTCOMES: Final[dict[str, dict[str, Any]]] = {
    "in-progress": {},
    "completed": {"duration": 42},
    "absent": {"duration": 0, "error_code": 16102},
    "failed": {"duration": 0, "error_code": 16104},
}


def sample_events() -> dict[str, dict[str, Any]]:
    """Return every sample event by its file's name."""
    return (
        _start_events()
        | _read_events()
        | _control_events()
        | _events_of_all()
        | _stream_events()
        | {
            f"callback-{method.lower()}-{status}.json": callback_event(method, status)
            for method in ("POST", "GET")
            for status in _OUTCOMES
        }
    )


def _start_events() -> dict[str, dict[str, Any]]:
    body = json.dumps(_REQUEST)
    headers = {"Accept": "*/*", "Content-Type": "application/json"}
    return {
        "start-rest-api.json": rest_api_event(
            "POST", resource=_RESOURCE, path_parameters={"CallSid": CALL_SID}, headers=headers, body=body
        ),
        "start-http-api.json": http_api_event(
            "POST",
            f"https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/calls/{CALL_SID}/recordings",
            headers=headers,
            body=body.encode(),
            resource=_RESOURCE,
            path_parameters={"CallSid": CALL_SID},
        ),
        "start-eventbridge.json": {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Call Recording Requested",
            "source": "com.example.contact-centre",
            "account": "123456789012",
            "time": "2026-11-22T07:33:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail": {"CallSid": CALL_SID, "AccountSid": ACCOUNT_SID, **_REQUEST},
        },
    }


def _read_events() -> dict[str, dict[str, Any]]:
    one, this_call = {"RecordingSid": RECORDING_SID}, {"CallSid": CALL_SID}
    day = f"AccountSid={ACCOUNT_SID}&Date=2026-11-22&PageSize=2"
    return {
        "get-rest-api.json": rest_api_event("GET", resource=_ONE, path_parameters=one),
        "media-rest-api.json": rest_api_event(
            "GET", resource=_ONE + "/media", path_parameters=one, query="Reason=Complaint%204711"
        ),
        "list-of-call-rest-api.json": rest_api_event("GET", resource=_RESOURCE, path_parameters=this_call),
        "list-of-day-rest-api.json": rest_api_event("GET", resource="/recordings", query=day),
    }


def _control_events() -> dict[str, dict[str, Any]]:
    request = {"Status": "paused", "PauseBehavior": "silence", "ResumeWithinSeconds": 60}
    timer = ResumeTimer(
        name="resume-8f14e45f-ceea-467f-9575-1f5a3d0c2b7e",
        account_sid=ACCOUNT_SID,
        call_sid=CALL_SID,
        recording_sid=RECORDING_SID,
        asked_at="2026-11-22T07:33:00.000Z",
        resume_within_seconds=60,
        auto_resume=False,
    )
    return {
        "control-rest-api.json": rest_api_event(
            "POST",
            resource=_RESOURCE + "/{RecordingSid}",
            path_parameters={"CallSid": CALL_SID, "RecordingSid": RECORDING_SID},
            headers={"Accept": "*/*", "Content-Type": "application/json"},
            body=json.dumps(request),
        ),
        "control-eventbridge.json": {
            "version": "0",
            "id": "6f87ff3e-9d0e-4a0b-8a6e-6a3a1e3b5c2d",
            "detail-type": "Call Recording Control Requested",
            "source": "com.example.contact-centre",
            "account": "123456789012",
            "time": "2026-11-22T07:33:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail": {"CallSid": CALL_SID, "RecordingSid": RECORDING_SID, "AccountSid": ACCOUNT_SID, **request},
        },
        "delete-rest-api.json": rest_api_event(
            "DELETE", resource=_ONE, path_parameters={"RecordingSid": RECORDING_SID}
        ),
        "resume-timer.json": timer.as_event(),
    }


def _events_of_all() -> dict[str, dict[str, Any]]:
    """Return what pauses everything on a call, and what follows from that."""
    controls = _control_events()
    by_http, by_event, timer = (
        controls[name] for name in ("control-rest-api.json", "control-eventbridge.json", "resume-timer.json")
    )
    request = {"Status": "paused", "PauseBehavior": "silence", "ResumeWithinSeconds": 120, "ConferenceSid": "none"}
    named = {"CallSid": CALL_SID, "RecordingSid": ALL}
    started = _answered_row(NEXT_RECORDING_SID, seen_at="2026-11-22T07:33:46.000Z")
    record = stream_record(None, started, sequence_number="400000000000000000002")
    (change,) = change_events(record, paused={ACCOUNT_SID})
    return {
        "control-all-rest-api.json": rest_api_event(
            "POST",
            resource=_RESOURCE + "/{RecordingSid}",
            path_parameters=named,
            headers=by_http["headers"],
            body=json.dumps(request),
        ),
        "control-all-eventbridge.json": by_event
        | {"id": "0b9c7d4e-52a1-4f6e-9d38-7c1e2f3a4b5d", "detail": {**named, "AccountSid": ACCOUNT_SID, **request}},
        "new-while-paused-eventbridge.json": by_event
        | {
            "id": "d1f0a2b3-6c4e-4a58-8b7d-9e0f1a2b3c4d",
            "detail-type": STATUS_CHANGE,
            "source": SOURCE,
            "time": "2026-11-22T07:33:46Z",
            "detail": json.loads(change.detail),
        },
        "resume-timer-all.json": {
            "resume_timer": timer["resume_timer"]
            | {
                "name": "resume-2c9e7a10-1b7d-4e4f-a1c6-3d5b8f0e9a64",
                "recording_sid": ALL,
                "resume_within_seconds": 120,
            }
        },
    }


def _stream_events() -> dict[str, dict[str, Any]]:
    started = _answered_row(RECORDING_SID, seen_at="2026-11-22T07:33:00.500Z")
    parameters = _recording(RECORDING_SID, "completed").callback_parameters("completed", base_url=_API_URL)
    told = replace(callback_facts(parameters.items()), seen_at="2026-11-22T07:33:45.250Z")
    completed = merge(started, told, retention_days=_RETENTION_DAYS)
    following = _answered_row(NEXT_RECORDING_SID, seen_at="2026-11-22T07:33:46.000Z")
    return {
        "stream-completed.json": {
            "Records": [
                stream_record(started, completed, sequence_number="400000000000000000001"),
                stream_record(None, following, sequence_number="400000000000000000002"),
            ]
        }
    }


def stream_record(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, *, sequence_number: str
) -> dict[str, Any]:
    """Return a change of RecordingsTable as Lambda gives it of its stream: a row that came, changed or went."""
    rows = {name: attributes(row) for name, row in (("NewImage", new), ("OldImage", old)) if row is not None}
    images = json.loads(json.dumps(rows, default=lambda binary: base64.b64encode(binary).decode()))
    return {
        "eventID": sequence_number,
        "eventName": "REMOVE" if new is None else "MODIFY" if old else "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": int(_STARTED) + 46,
            "Keys": attributes({"recording_sid": (new or old or {})["recording_sid"]}),
            **images,
            "SequenceNumber": sequence_number,
            "SizeBytes": len(json.dumps(images)),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/recordings/stream/2026-11-22T00:00:00.000",
    }


def _answered_row(sid: str, *, seen_at: str) -> Row:
    """Return the row that Twilio's answer to a start makes."""
    answer = _recording(sid, "in-progress").resource(status="in-progress")
    facts = Facts.from_recording(RecordingResource(answer, api_url=_API_URL)).asked_for(
        by=BY_HTTP, callback_url=WEBHOOK_URL, intent=f"{BY_HTTP}#{sid}", call_sid=CALL_SID
    )
    return merge(None, replace(facts, seen_at=seen_at), retention_days=_RETENTION_DAYS)


def callback_event(method: str, status: str) -> dict[str, Any]:
    """Return a signed callback of that status as WebhookApi hands it over."""
    parameters = _recording(RECORDING_SID, status).callback_parameters(status, base_url=_API_URL)
    target = CallbackTarget(WEBHOOK_URL, method, frozenset())
    callback = Callback(target, ACCOUNT_SID, parameters, idempotency_token=_DELIVERY)
    signed = sign(callback, auth_token=AUTH_TOKEN)
    return http_api_event(signed.method, signed.url, headers=signed.headers, body=signed.body)


def _recording(sid: str, status: str) -> Recording:
    return Recording(
        sid=sid,
        call=Call(CALL_SID, ACCOUNT_SID),
        channels=2,
        track="both",
        trim="do-not-trim",
        started_at=_STARTED,
        target=None,
        **_OUTCOMES[status],
    )


def main() -> None:
    """Write the files."""
    for name, event in sample_events().items():
        (EVENTS / name).write_text(json.dumps(event, indent=2) + "\n")


if __name__ == "__main__":
    main()
