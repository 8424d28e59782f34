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
# `deleted` is no status of Twilio's callbacks, only of ours, and outranks all others: whoever can have Twilio sign a
# query of their own must not be able to end a recording's life here.
_STATUS: Final = re.compile(r"(?!deleted$)[a-z][a-z-]{0,31}")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_MOST_METADATA_BYTES: Final = 16_384


def callback_facts(fields: Iterable[tuple[str, str]]) -> Facts:
    """Return the facts of a callback whose signature was verified before.

    `fields` are its form or query parameters. `RecordingSid RecordingStatus AccountSid CallSid` are
    required, everything else is optional, and parameters that are not known become metadata.

    Raises UnreadableCallbackError naming every parameter that cannot be understood.
    """
    given, found = _by_name(fields)
    found += [
        FieldError(name, "missing or malformed")
        for name, is_valid in _REQUIRED.items()
        if not is_valid(given.get(name, ""))
    ]
    told: dict[str, Any] = {"call_sid": given.get("CallSid")}
    for name, (attribute, is_readable, read) in _OPTIONAL.items():
        value = given.get(name, "")
        if value and not is_readable(value):
            found.append(FieldError(name, "malformed"))
        else:
            told[attribute] = read(value) if value else None
    metadata = {name: value for name, value in given.items() if name not in _KNOWN}
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


def _by_name(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[FieldError]]:
    """Return one value for each parameter, and the known ones that have several."""
    several: dict[str, set[str]] = {}
    for name, value in fields:
        several.setdefault(name, set()).add(value)
    # Twilio signs a repeated parameter's values as a set, so which of them counts is not proven.
    errors = [
        FieldError(name, "given more than once, with different values")
        for name, values in several.items()
        if len(values) > 1 and name in _KNOWN
    ]
    return {name: ",".join(sorted(values)) for name, values in several.items()}, errors


def callback_account_sid(fields: Iterable[tuple[str, str]]) -> str | None:
    """Return the account that the callback says to speak for, or None if it names none, or several."""
    named = {value for name, value in fields if name == "AccountSid"}
    account_sid = named.pop() if len(named) == 1 else None
    return account_sid if sids.is_sid(account_sid, sids.ACCOUNT) else None


def _is_url(value: str) -> bool:
    return value.startswith(("https://", "http://")) and value.isprintable()


def _encryption_details(value: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(value, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) and parsed else None


_REQUIRED: Final[Mapping[str, Callable[[str], bool]]] = {
    "RecordingSid": lambda value: sids.is_sid(value, sids.RECORDING),
    "RecordingStatus": lambda value: _STATUS.fullmatch(value) is not None,
    "AccountSid": lambda value: sids.is_sid(value, sids.ACCOUNT),
    "CallSid": lambda value: sids.is_sid(value, sids.CALL),
}


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_word(value: str) -> bool:
    return _WORD.fullmatch(value) is not None


# Parameter: attribute, whether the value can be read, reader.
_OPTIONAL: Final[Mapping[str, tuple[str, Callable[[str], object], Callable[[str], Any]]]] = {
    "RecordingDuration": ("duration_seconds", _is_number, facts.count),
    "RecordingChannels": ("channels", _is_number, facts.channel_count),
    "RecordingSource": ("source", _is_word, facts.text),
    "RecordingTrack": ("track", _is_word, facts.text),
    "RecordingStartTime": ("start_time", facts.moment, facts.moment),
    "RecordingUrl": ("recording_url", _is_url, facts.text),
    "ErrorCode": ("error_code", _is_number, facts.error_code),
    "EncryptionDetails": ("encryption_details", _encryption_details, _encryption_details),
}

_KNOWN: Final = _REQUIRED.keys() | _OPTIONAL.keys()
