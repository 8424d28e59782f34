"""Reads a request's fields by Twilio's names, and reports all mistakes together."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from call_recording import sids
from call_recording.errors import MOST_ERRORS, FieldError, InvalidRequestError

Fields = Iterable[tuple[str, Any]]
"""The fields of a body, a query or an event's detail, in order, repetitions included."""

LONGEST_URL: Final = 4000

_LONGEST_HOST: Final = 253
_NO_URL: Final = (
    f"must be an absolute http or https URL of at most {LONGEST_URL} characters, "
    "all of them ASCII, and percent-encoded where necessary"
)
_CHARACTER: Final = r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})"
_URL: Final = (
    rf"https?://(?:{_CHARACTER}*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]*)?"
    rf"(?:/(?:{_CHARACTER}|[@/])*)?"
    # Brackets are not strictly allowed there, but common, as in `ids[]=1`.
    rf"(?:\?(?:{_CHARACTER}|[@/?\[\]])*)?(?:#(?:{_CHARACTER}|[@/?\[\]])*)?"
)
_LABEL: Final = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*\.?"

_LONGEST_MISTYPED: Final = 100
_LEAST_LIKENESS: Final = 0.7

Reader = Callable[[Any], Any]
"""Returns the parsed value, or raises ValueError that says what it must be."""

Check = Callable[[Mapping[str, Any]], Iterable[FieldError]]
"""Finds invalid combinations of fields that are each valid."""


def read_fields(
    fields: Fields,
    readers: Mapping[str, Reader],
    *,
    required: Collection[str] = (),
    errors: Sequence[FieldError] = (),
    check: Check = lambda _: (),
) -> dict[str, Any]:
    """Return the value of each given field.

    `readers` are the known fields. `errors` are mistakes that the caller has already found,
    `check` finds invalid combinations of valid fields; all are reported together.

    Raises InvalidRequestError naming every invalid field.
    """
    given = list(fields)
    names = [name for name, _ in given]
    found = list(errors)
    unknown = [name for name in dict.fromkeys(names) if name not in readers]
    # Only names that are reported are worth a comparison with every field.
    found += [FieldError(name, f"unknown field{did_you_mean(name, readers)}") for name in unknown[:MOST_ERRORS]]
    found += [FieldError(name, "unknown field") for name in unknown[MOST_ERRORS:]]
    found += [FieldError(name, "given more than once") for name, times in Counter(names).items() if times > 1]
    values: dict[str, Any] = {}
    for name, value in dict(given).items():
        if name in readers:
            try:
                values[name] = readers[name](value)
            except ValueError as error:
                found.append(FieldError(name, str(error)))
    found += [FieldError(name, "required") for name in required if name not in names]
    if set(names) & readers.keys() == values.keys():  # otherwise invalid fields would count as absent
        found += check(values)
    if found:
        raise InvalidRequestError(list(dict.fromkeys(found)))
    return values


def sid(prefix: str) -> Reader:
    """Return a reader of SIDs with that prefix."""

    def read(value: Any) -> str:
        if not sids.is_sid(value, prefix):
            raise ValueError(no_sid(value, prefix))
        return str(value)

    return read


def no_sid(value: Any, prefix: str, *words: str) -> str:
    """Return the message for a value that is neither such a SID nor one of the words."""
    named = "".join(f"{word}, or " for word in words)
    return f"must be {named}a SID: {prefix} and 32 hexadecimal digits{did_you_mean(value, words)}"


def one_of(values: tuple[str, ...]) -> Reader:
    """Return a reader of one of these values."""

    def read(value: Any) -> str:
        if value not in values:
            raise ValueError(f"must be {'one of ' * (len(values) > 1)}{', '.join(values)}{did_you_mean(value, values)}")
        return str(value)

    return read


def did_you_mean(given: Any, words: Iterable[str]) -> str:
    """Return the end of a message that suggests the most similar word, or nothing if none is similar.

    Upper and lower case make no difference, nor do `_`, `-` and `.`: `recording_channels` means
    `RecordingChannels`.
    """
    if not isinstance(given, str) or len(given) > _LONGEST_MISTYPED:
        return ""
    # Imported here to shorten cold starts: only mistakes need it.
    from difflib import get_close_matches  # noqa: PLC0415

    plain = {_plain(word): word for word in words}
    found = get_close_matches(_plain(given), plain, n=1, cutoff=_LEAST_LIKENESS)
    return f"; did you mean {plain[found[0]]}?" if found else ""


def _plain(word: str) -> str:
    return word.lower().translate({ord(mark): None for mark in "_-. "})


def absolute_url(value: Any) -> str:
    """Read an http or https URL with a host and valid characters (RFC 3986).

    Twilio accepts other URLs, too, but then sends nothing: its error 13256 appears only in its own log.
    """
    if (
        not isinstance(value, str)
        or len(value) > LONGEST_URL
        or not re.fullmatch(_URL, value, re.IGNORECASE | re.ASCII)
    ):
        raise ValueError(_NO_URL)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a port that is not a number, or half an IPv6 address
        raise ValueError(_NO_URL) from None
    is_name = len(host) <= _LONGEST_HOST and re.fullmatch(_HOST, host)
    if port == 0 or not (is_name or (":" in host and "%" not in host)):
        raise ValueError(_NO_URL)
    return value


def whole_number(least: int, most: int) -> Reader:
    """Return a reader of whole numbers within these limits, also as text, as in a form."""

    def read(value: Any) -> int:
        # Nothing else becomes text: JSON can be nested so deeply that Python reads it and cannot write it.
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def boolean(value: Any) -> bool:
    """Read true or false, also as text, as in a form."""
    if value in {"true", "false"} if isinstance(value, str) else isinstance(value, bool):
        return value in {True, "true"}
    raise ValueError(f"must be true or false{did_you_mean(value, ('true', 'false'))}")
