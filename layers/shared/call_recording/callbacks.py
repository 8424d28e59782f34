"""What Twilio's recording status callbacks say about a recording."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from call_recording import clock, facts, sids
from call_recording.errors import FieldError, UnreadableCallbackError
from call_recording.facts import Facts

# Values of these are open lists at Twilio, but they are words: a value with anything else in it was
# cut together from several parameters (the signature has no separators) and must not be believed.
_STATUS: Final = re.compile(r"[a-z][a-z-]{0,31}")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_MOST_METADATA_BYTES: Final = 16_384


def callback_facts(fields: Iterable[tuple[str, str]]) -> Facts:
    """Return the facts of a callback whose signature was verified before.

    `fields` are its form or query parameters. `RecordingSid RecordingStatus AccountSid CallSid` are
    required, everything else is optional, and parameters that are not known become metadata.

    Raises UnreadableCallbackError naming every parameter that cannot be understood.
    """
    found: list[FieldError] = []
    given: dict[str, str] = {}
    for name, value in fields:
        # Twilio signs repeated parameters as a set, so which of several values counts is not proven.
        if given.setdefault(name, value) != value:
            found.append(FieldError(name, "given more than once, with different values"))

    for name, is_valid in _REQUIRED.items():
        if not is_valid(given.get(name, "")):
            found.append(FieldError(name, "missing or malformed"))
    told: dict[str, Any] = {"call_sid": given.get("CallSid")}
    for name, (attribute, pattern, read) in _OPTIONAL.items():
        value = given.get(name, "")
        if value and pattern is not None and not pattern.fullmatch(value):
            found.append(FieldError(name, "malformed"))
        else:
            told[attribute] = read(value)
            if value and told[attribute] is None and pattern is None:
                found.append(FieldError(name, "malformed"))
    metadata = {name: value for name, value in given.items() if name not in _REQUIRED and name not in _OPTIONAL}
    if len(json.dumps(metadata)) > _MOST_METADATA_BYTES:
        found.append(FieldError("metadata", f"more than {_MOST_METADATA_BYTES} bytes of unknown parameters"))
    if found:
        raise UnreadableCallbackError(found)
    return Facts(
        recording_sid=given["RecordingSid"],
        account_sid=given["AccountSid"],
        status=given["RecordingStatus"],
        seen_at=clock.iso_milliseconds(clock.now()),
        told=facts.mentioned(told),
        metadata=metadata,
    )


def callback_account_sid(fields: Iterable[tuple[str, str]]) -> str | None:
    """Return the account that the callback says to speak for, or None if it names none, or several."""
    named = {value for name, value in fields if name == "AccountSid"}
    account_sid = named.pop() if len(named) == 1 else None
    return account_sid if sids.is_sid(account_sid, sids.ACCOUNT) else None


def _url(value: str) -> str | None:
    return value if value.startswith(("https://", "http://")) and value.isprintable() else None


def _encryption_details(value: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and parsed else None


_REQUIRED: Final[Mapping[str, Callable[[str], bool]]] = {
    "RecordingSid": lambda value: sids.is_sid(value, sids.RECORDING),
    "RecordingStatus": lambda value: _STATUS.fullmatch(value) is not None,
    "AccountSid": lambda value: sids.is_sid(value, sids.ACCOUNT),
    "CallSid": lambda value: sids.is_sid(value, sids.CALL),
}

# Parameter: attribute, what the value must look like (None: the reader decides), reader.
_OPTIONAL: Final[Mapping[str, tuple[str, re.Pattern[str] | None, Callable[[str], Any]]]] = {
    "RecordingDuration": ("duration_seconds", _NUMBER, facts.count),
    "RecordingChannels": ("channels", _NUMBER, facts.channel_count),
    "RecordingSource": ("source", _WORD, facts.text),
    "RecordingTrack": ("track", _WORD, facts.text),
    "RecordingStartTime": ("start_time", None, facts.moment),
    "RecordingUrl": ("recording_url", None, _url),
    "ErrorCode": ("error_code", _NUMBER, facts.error_code),
    "EncryptionDetails": ("encryption_details", None, _encryption_details),
}
