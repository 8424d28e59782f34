"""Which recordings of a call are running or paused, as far as Twilio and the table can tell."""

from typing import Final

from call_recording.control.request import RESUMED
from call_recording.deadline import Deadline
from call_recording.errors import CallRecordingError
from call_recording.recordings.reader import RecordingsReader
from call_recording.recordings.statuses import ACTIVE, is_open, may_be_active
from call_recording.twilio.api import RecordingResource, TwilioAccount

MOST: Final = 100
"""The most recordings that are checked: DynamoDB's limit of a batch."""

_READS_UNTIL_SECONDS: Final = 5.0


def nothing_is_active(reader: RecordingsReader, twilio: TwilioAccount, call_sid: str, *, deadline: Deadline) -> bool:
    """Return whether Twilio knows the call, and no recording can be active on it.

    In doubt the answer is no: callers that pause rely on "nothing is recording".
    """
    try:
        listed = twilio.list_call_recordings(call_sid, deadline=deadline)
        if _active(reader, listed):
            return False
        # The table may have more: recordings that Twilio does not list yet, or lists under the call's other leg.
        rows = reader.all_of_call(call_sid, account_sid=twilio.account_sid)
    except CallRecordingError:
        return False
    ended = {recording["sid"] for recording in listed if not is_open(recording["status"])}
    return not any(may_be_active(row["status"]) for row in rows if row["recording_sid"] not in ended)


def active_on_call(reader: RecordingsReader, twilio: TwilioAccount, call_sid: str, *, deadline: Deadline) -> list[str]:
    """Return the call's recordings that are running or paused, oldest first.

    Twilio lists a recording that was stopped a moment ago as running; the table knows better. If Twilio
    does not answer, only the table is used. Raises RowsUnavailableError.
    """
    try:
        recordings = twilio.list_call_recordings(call_sid, deadline=deadline)
    except CallRecordingError:
        rows = reader.all_of_call(
            call_sid,
            account_sid=twilio.account_sid,
            is_enough=lambda: deadline.remaining_seconds() < _READS_UNTIL_SECONDS,
        )
        return [row["recording_sid"] for row in reversed(rows) if row["status"] in ACTIVE]
    return _active(reader, recordings)


def _active(reader: RecordingsReader, recordings: list[RecordingResource]) -> list[str]:
    listed = [recording["sid"] for recording in recordings if is_open(recording["status"])][:MOST]
    known = reader.statuses(listed) if listed else {}
    return [sid for sid in listed if may_be_active(known.get(sid, RESUMED))]
