"""Which events a change of a row produces: one for each real change, deterministically, whatever the row contains."""

import json
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final, NamedTuple

from aws_lambda_powertools import Logger

from call_recording import metrics
from call_recording.bus import ARCHIVED, STATUS_CHANGE
from call_recording.errors import CALLER, TWILIO, Cause
from call_recording.recordings.row import KEY, plain, public
from call_recording.sids import ACCOUNT, is_sid

_MOST_BYTES: Final = 240_000
"""EventBridge accepts 256 KiB in one request, names included."""

_WITHOUT_AUDIO: Final = frozenset({"absent", "failed"})
_CODES: Final = frozenset({"16101", "16102", "16104", "16105", "16106"})
"""Twilio's error codes for recordings without audio. Others count as `other`: callbacks can contain anything."""

_OF_THE_CALL: Final = frozenset({"absent-16101", "absent-16102"})
"""Too short, and silent: caused by the call itself. Twilio causes every other recording without audio."""

MAY_BE_PAUSED: Final = "may_be_paused"
"""Set for a new recording if something is paused in its account: `pause_all.late` checks whether its call is."""

_CAN_BE_LEFT_OUT: Final = ("metadata", "encryption_details", "recording_url", "callback_url", "status_at")
_LEAST: Final = (
    *("id", "previous_status", KEY, "call_sid", "account_sid", "conference_sid", "requested_call_sid", "status"),
    *("start_time", "requested_by", "reference", "expires_at", "archive", MAY_BE_PAUSED),
)
"""The fields of a minimal event, each up to `_MOST_BYTES_OF_EACH`."""

_MOST_BYTES_OF_EACH: Final = 16_384

logger = Logger(child=True)


class ChangeEvent(NamedTuple):
    """An event to publish. `sequence_number` is that of the stream's record.

    `least` is a minimal detail, in case EventBridge does not accept `detail`.
    """

    recording_sid: str
    sequence_number: str
    detail_type: str
    detail: str
    least: str
    gap_reason: str | None = None
    """Why there is no audio, if the event reports that."""

    @property
    def gap_cause(self) -> Cause:
        """Return who caused that there is no audio."""
        return CALLER if self.gap_reason in _OF_THE_CALL else TWILIO


def change_events(record: Mapping[str, Any], paused: Container[str] = ()) -> Iterator[ChangeEvent]:
    """Yield the events of a record of the table's stream: none if the row has no public change.

    `paused` are accounts in which something may be paused.

    The `id` in the detail is derived from the record: it stays the same however often the stream is read,
    so that consumers can detect duplicates. An unreadable record also produces an event, which names only
    the recording; otherwise it would block all later records.
    """
    try:
        yield from list(_events(record, paused))
    except Exception:
        change = record.get("dynamodb", {})
        number, key = str(change.get("SequenceNumber")), (change.get("Keys") or change.get("NewImage") or {}).get(KEY)
        logger.exception("unreadable stream record", sequence_number=number)
        if key:  # else it is not a change of this stack's table
            yield _event({KEY: str(key.get("S")), "left_out": ["status"]}, number, STATUS_CHANGE, "status")


def new_in(record: Mapping[str, Any]) -> str | None:
    """Return the account of the recording, if the record is about a new one."""
    change = record.get("dynamodb", {})
    is_new = "NewImage" in change and "OldImage" not in change
    account_sid = change["NewImage"].get("account_sid", {}).get("S") if is_new else None
    return account_sid if is_sid(account_sid, ACCOUNT) else None


def _events(record: Mapping[str, Any], paused: Container[str]) -> Iterator[ChangeEvent]:
    change = record["dynamodb"]
    if "NewImage" not in change:  # its retention has ended
        return
    new, old = (public(plain(change.get(image, {}))) for image in ("NewImage", "OldImage"))
    if "status" not in new:  # not one of our rows
        return
    number = change["SequenceNumber"]
    if new["status"] != old.get("status"):
        told = {"previous_status": old.get("status"), **new}
        if new_in(record) in paused:
            told[MAY_BE_PAUSED] = True
        yield _event(told, number, STATUS_CHANGE, "status")._replace(gap_reason=_gap_reason(new))
    if "archive" in new and "archive" not in old:
        yield _event(new, number, ARCHIVED, "archived")


def _event(told: Mapping[str, Any], number: str, detail_type: str, kind: str) -> ChangeEvent:
    sid = told[KEY]
    detail = {"id": f"{sid}-{number}-{kind}", **told}
    text, least = json.dumps(detail), json.dumps(_least(detail))
    for name in _CAN_BE_LEFT_OUT:
        if len(text) > _MOST_BYTES and name in detail:
            detail = _without(detail, name)
            text = json.dumps(detail)
    return ChangeEvent(sid, number, detail_type, text if len(text) <= _MOST_BYTES else least, least)


def _least(detail: Mapping[str, Any]) -> dict[str, Any]:
    is_short = {name: len(json.dumps(detail[name])) <= _MOST_BYTES_OF_EACH for name in _LEAST if name in detail}
    return _without(detail, *(name for name in detail if name != "left_out" and not is_short.get(name)))


def _without(detail: Mapping[str, Any], *names: str) -> dict[str, Any]:
    left_out = [*detail.get("left_out", []), *names]
    rest = {name: value for name, value in detail.items() if name not in names}
    return rest | {"left_out": left_out} if left_out else rest


def _gap_reason(row: Mapping[str, Any]) -> str | None:
    """Return why there is no audio: the status, with Twilio's code if there is one; None if there can be audio.

    `absent-16101` was too short, `absent-16102` silent.
    """
    status, code = row["status"], row.get("error_code")
    if not isinstance(status, str) or status not in _WITHOUT_AUDIO:
        return None
    if code is None:
        return status
    return f"{status}-{code if isinstance(code, str) and code in _CODES else metrics.OTHER}"
