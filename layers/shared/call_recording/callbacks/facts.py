"""Reads what Twilio's recording status callbacks report about a recording."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from call_recording import clock, sids
from call_recording.errors import FieldError, UnreadableCallbackError
from call_recording.recordings import facts
from call_recording.recordings.facts import Facts

Fields = Iterable[tuple[str, str]]
"""Names and values of parameters, in order, repetitions included."""

# Twilio can add values to these, but they are always words: a value with other characters was assembled
# from several parameters (the signature has no separators) and must not be trusted.
# `deleted` is not a status of Twilio's callbacks, only of this stack, and outranks all others: anyone who can make
# Twilio sign their own query must not be able to mark a recording as deleted.
_STATUS: Final = re.compile(r"(?!deleted$)[a-z][a-z-]{0,31}")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_MOST_METADATA_BYTES: Final = 16_384

_MOST_CHARACTERS: Final = 1_024
"""The most that is kept of a value that is unknown or unreadable, so that none keeps a callback out of its row."""
_MOST_NAME_CHARACTERS: Final = 100


def callback_facts(fields: Fields) -> Facts:
    """Return the facts of a callback whose signature was verified before.

    `fields` are its parameters. `RecordingSid RecordingStatus AccountSid` and `CallSid` or `ConferenceSid`
    (`<Conference>` names no call) are required, everything else is optional. Unknown parameters, and
    optional values that cannot be read, become metadata under Twilio's names.

    Raises UnreadableCallbackError naming every required parameter that cannot be understood.
    """
    given, several = _by_name(fields)
    found = [
        FieldError(name, "missing, malformed, or given more than once with different values")
        for name, is_valid in _REQUIRED.items()
        if name in several or not is_valid(given.get(name, ""))
    ]
    told: dict[str, Any] = {}
    odd: dict[str, str] = {}
    for name, (attribute, read) in _OPTIONAL.items():
        if value := given.get(name):
            try:
                if name in several:
                    raise ValueError(value)  # treated like an unreadable value
                told[attribute] = read(value)
            except ValueError:
                odd[name] = value[:_MOST_CHARACTERS]
    if not {"call_sid", "conference_sid"} & told.keys():
        found.append(FieldError("CallSid", "missing or malformed, and so is ConferenceSid"))
    metadata = {name: value for name, value in given.items() if name and name not in _KNOWN}
    if found:
        raise UnreadableCallbackError(found)
    return Facts(
        recording_sid=given["RecordingSid"],
        account_sid=given["AccountSid"],
        status=given["RecordingStatus"],
        seen_at=clock.iso_milliseconds(clock.now()),
        told=facts.mentioned(told),
        metadata=_bounded(metadata) | odd,
    )


def _bounded(metadata: dict[str, str]) -> dict[str, str]:
    """Return as much of it as a row takes: long values are cut, long names left out, and the longest of too many."""
    kept = {name: value[:_MOST_CHARACTERS] for name, value in metadata.items() if len(name) <= _MOST_NAME_CHARACTERS}
    while _bytes(kept) > _MOST_METADATA_BYTES:
        del kept[max(kept, key=lambda name: (len(name) + len(kept[name]), name))]
    return kept


def _bytes(metadata: dict[str, str]) -> int:
    return sum(len(f"{name}{value}".encode()) for name, value in metadata.items())


def _by_name(fields: Fields) -> tuple[dict[str, str], set[str]]:
    """Return one value for each parameter, and the names that have several."""
    values_of: dict[str, set[str]] = {}
    for name, value in fields:
        values_of.setdefault(name, set()).add(value)
    # Twilio signs a repeated parameter's values as a set, so the signature does not prove which one counts.
    several = {name for name, values in values_of.items() if len(values) > 1}
    return {name: ",".join(sorted(values)) for name, values in values_of.items()}, several


def with_query(form: Fields, query: Fields) -> list[tuple[str, str]]:
    """Return a form's parameters with those of its signed URL, which the URL's owner chose.

    A form's own parameter wins over one of the same name. Twilio's report counts only in the form: whoever
    chooses the URL must not be able to report about a recording.
    """
    sent = list(form)
    written = {name for name, _ in sent} | _KNOWN
    return sent + [(name, value) for name, value in query if name not in written]


def is_of_something_else(fields: Fields) -> bool:
    """Return whether this is another signed request of Twilio, without a recording's status.

    For example a call's StatusCallback, the `action` of `<Record>` or `<Dial>`, a transcription, or a
    conference's events. Some name a recording; only recording status callbacks have a RecordingStatus.
    """
    given = {name for name, value in fields if value or name in {*_OF_SOMETHING_ELSE, "RecordingStatus"}}
    return (
        bool(given)
        and "RecordingStatus" not in given
        and bool(given & _OF_SOMETHING_ELSE or "RecordingSid" not in given)
    )


def callback_account_sid(fields: Fields) -> str | None:
    """Return the account that the callback names, or None if it names none or several."""
    return _named(fields, "AccountSid", sids.ACCOUNT)


def named_sids(fields: Fields) -> dict[str, str]:
    """Return the SIDs in a callback by our names, even if it is otherwise unreadable."""
    named = {
        "account_sid": _named(fields, "AccountSid", sids.ACCOUNT),
        "call_sid": _named(fields, "CallSid", sids.CALL),
        "recording_sid": _named(fields, "RecordingSid", sids.RECORDING),
    }
    return {name: sid for name, sid in named.items() if sid}


def _named(fields: Fields, parameter: str, prefix: str) -> str | None:
    named = {value for name, value in fields if name == parameter}
    sid = named.pop() if len(named) == 1 else None
    return sid if sids.is_sid(sid, prefix) else None


# Readers of one parameter: they raise ValueError if Twilio cannot have sent the value.


def _sid(prefix: str) -> Callable[[str], str]:
    def reader(value: str) -> str:
        if not sids.is_sid(value, prefix):
            raise ValueError(value)
        return value

    return reader


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
}


# Parameter: attribute, and the value's meaning there (None: nothing).
_OPTIONAL: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "CallSid": ("call_sid", _sid(sids.CALL)),
    "ConferenceSid": ("conference_sid", _sid(sids.CONFERENCE)),
    "RecordingDuration": ("duration_seconds", _number(facts.count)),
    "RecordingChannels": ("channels", _number(facts.channel_count)),
    "RecordingSource": ("source", _word),
    "RecordingTrack": ("track", _word),
    "RecordingStartTime": ("start_time", _moment),
    "RecordingUrl": ("recording_url", _url),
    "ErrorCode": ("error_code", _number(facts.error_code)),
    "EncryptionDetails": ("encryption_details", _encryption_details),
}

_OF_SOMETHING_ELSE: Final = frozenset({"CallStatus", "DialCallStatus", "StatusCallbackEvent", "TranscriptionSid"})
"""Parameters of requests that can name a recording without being its status callback.

Source: Twilio's pages on voice requests, `<Record>`, `<Dial>`, `<Conference>` and `<Transcription>`.
"""

_KNOWN: Final = _REQUIRED.keys() | _OPTIONAL.keys()
