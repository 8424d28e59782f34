"""What Twilio's recording status callbacks say about a recording."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from call_recording import clock, sids
from call_recording.errors import FieldError, UnreadableCallbackError
from call_recording.recordings import facts
from call_recording.recordings.facts import Facts

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
    for name, (attribute, read) in _OPTIONAL.items():
        if value := given.get(name):
            try:
                told[attribute] = read(value)
            except ValueError:
                found.append(FieldError(name, "malformed"))
    metadata = {name: value for name, value in given.items() if name not in _KNOWN}
    if metadata and len(json.dumps(metadata)) > _MOST_METADATA_BYTES:
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


# Readers of one parameter: they raise ValueError where its value cannot be what Twilio sends.


def _url(value: str) -> str:
    if not value.startswith(("https://", "http://")) or not value.isprintable():
        raise ValueError(value)
    return value


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError(value)
    return value


def _moment(value: str) -> str:
    moment = facts.moment(value)
    if moment is None:
        raise ValueError(value)
    return moment


def _number[T](read: Callable[[str], T]) -> Callable[[str], T]:
    def reader(value: str) -> T:
        if not _NUMBER.fullmatch(value):
            raise ValueError(value)
        return read(value)

    return reader


def _encryption_details(value: str) -> dict[str, Any]:
    try:
        details = facts.details(json.loads(value, parse_float=str, parse_constant=str))
    except RecursionError as error:
        raise ValueError(value) from error
    if details is None:
        raise ValueError(value)
    return details


_REQUIRED: Final[Mapping[str, Callable[[str], bool]]] = {
    "RecordingSid": lambda value: sids.is_sid(value, sids.RECORDING),
    "RecordingStatus": lambda value: _STATUS.fullmatch(value) is not None,
    "AccountSid": lambda value: sids.is_sid(value, sids.ACCOUNT),
    "CallSid": lambda value: sids.is_sid(value, sids.CALL),
}


# Parameter: attribute, and what its value says there (None: nothing).
_OPTIONAL: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "RecordingDuration": ("duration_seconds", _number(facts.count)),
    "RecordingChannels": ("channels", _number(facts.channel_count)),
    "RecordingSource": ("source", _word),
    "RecordingTrack": ("track", _word),
    "RecordingStartTime": ("start_time", _moment),
    "RecordingUrl": ("recording_url", _url),
    "ErrorCode": ("error_code", _number(facts.error_code)),
    "EncryptionDetails": ("encryption_details", _encryption_details),
}

_KNOWN: Final = _REQUIRED.keys() | _OPTIONAL.keys()
