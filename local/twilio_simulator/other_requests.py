"""Other signed requests that Twilio sends to a URL about recordings, which are not recording status callbacks.

Each function returns the parameters of such a request, for `Exchange.send`. Sources: the pages of `<Record>`
(`action`, `transcribeCallback`) and of the Call resource (`StatusCallback`). All come with phone numbers.
"""

from typing import Final

from local.twilio_simulator.model import API_VERSION, Call, Recording, new_sid

_FROM, _TO = "+15005550006", "+15005550001"
"""Numbers that Twilio keeps for tests."""

_TEXT: Final = "Please call me back."


def record_action(recording: Recording, *, base_url: str) -> dict[str, str]:
    """Return what `<Record action>` gets: the recording's SID, URL and length, but no status of it."""
    return _of_call(recording.call, status="in-progress") | {
        "RecordingUrl": base_url + recording.path,
        "RecordingDuration": str(recording.duration or 0),
        "Digits": "hangup",
        "RecordingSid": recording.sid,
    }


def transcription(recording: Recording, *, base_url: str) -> dict[str, str]:
    """Return what `transcribeCallback` gets: what was said."""
    sid = new_sid("TR")
    return _of_call(recording.call, status="completed") | {
        "TranscriptionSid": sid,
        "TranscriptionText": _TEXT,
        "TranscriptionStatus": "completed",
        "TranscriptionUrl": f"{base_url}{recording.path}/Transcriptions/{sid}",
        "RecordingSid": recording.sid,
        "RecordingUrl": base_url + recording.path,
    }


def call_status(call: Call, *, recording: Recording | None = None, base_url: str = "") -> dict[str, str]:
    """Return what a call's `StatusCallback` gets; of a call that was made with `Record=true`, also its recording."""
    parameters = _of_call(call, status="in-progress" if call.is_live else "completed") | {
        "Timestamp": "Sun, 22 Nov 2026 07:33:00 +0000",
        "CallbackSource": "call-progress-events",
        "SequenceNumber": "0",
    }
    if not call.is_live:
        parameters |= {"CallDuration": "7", "Duration": "1"}
    if recording:
        parameters |= {
            "RecordingUrl": base_url + recording.path,
            "RecordingSid": recording.sid,
            "RecordingDuration": str(recording.duration or 0),
        }
    return parameters


def _of_call(call: Call, *, status: str) -> dict[str, str]:
    parent = {"ParentCallSid": call.parent.sid} if call.parent else {}
    return parent | {
        "CallSid": call.sid,
        "AccountSid": call.account_sid,
        "From": _FROM,
        "To": _TO,
        "Caller": _FROM,
        "Called": _TO,
        "CallStatus": status,
        "ApiVersion": API_VERSION,
        "Direction": "inbound",
    }
