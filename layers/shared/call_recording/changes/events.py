"""Which events a change of a row makes: one for each real change, always the same ones."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from call_recording.bus import ARCHIVED, STATUS_CHANGE
from call_recording.recordings.row import plain, public

_MOST_BYTES: Final = 240_000
"""What EventBridge takes in one request is 256 KiB, names and all."""

_WITHOUT_AUDIO: Final = frozenset({"absent", "failed"})
_CAN_BE_LEFT_OUT: Final = ("metadata", "encryption_details", "recording_url", "callback_url")


@dataclass(frozen=True)
class ChangeEvent:
    """An event to publish. `sequence_number` is that of the stream's record."""

    recording_sid: str
    sequence_number: str
    detail_type: str
    detail: str
    gap_reason: str | None = None
    """Why there is no audio, if the event says that there is none."""


def change_events(record: Mapping[str, Any]) -> Iterator[ChangeEvent]:
    """Give the events of a record of the table's stream: none where the row says the same as before.

    The `id` in the detail follows from the record: however often the stream is read, it stays the
    same, so that a consumer can tell a repetition.
    """
    change = record["dynamodb"]
    if "NewImage" not in change:  # its retention has ended
        return
    new, old = plain(change["NewImage"]), plain(change.get("OldImage", {}))
    if "status" not in new:  # none of our rows
        return
    if new["status"] != old.get("status"):
        yield _event(new, change, STATUS_CHANGE, "status", previous_status=old.get("status"))
    if "archive" in new and "archive" not in old:
        yield _event(new, change, ARCHIVED, "archived")


def _event(new: Mapping[str, Any], change: Mapping[str, Any], detail_type: str, kind: str, **more: Any) -> ChangeEvent:
    sid, number = new["recording_sid"], change["SequenceNumber"]
    detail = {"id": f"{sid}-{number}-{kind}", **more, **public(new)}
    text = json.dumps(detail)
    for name in _CAN_BE_LEFT_OUT:
        if len(text.encode()) > _MOST_BYTES and name in detail:
            del detail[name]
            detail["left_out"] = [*detail.get("left_out", []), name]
            text = json.dumps(detail)
    is_gap = detail_type == STATUS_CHANGE and new["status"] in _WITHOUT_AUDIO
    return ChangeEvent(sid, number, detail_type, text, _gap_reason(new) if is_gap else None)


def _gap_reason(row: Mapping[str, Any]) -> str:
    """Return the status, with Twilio's code where it names one: `absent-16101` was too short, `absent-16102` silent."""
    return "-".join(filter(None, (row["status"], row.get("error_code"))))
