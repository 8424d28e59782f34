"""The fields of a request for one recording, or for a list of recordings."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Self

from call_recording import clock, sids
from call_recording.errors import FieldError
from call_recording.http.fields import Check, Fields, Reader, one_of, read_fields, sid, whole_number
from call_recording.http.reference import reference
from call_recording.read.page_tokens import PAGE_TOKEN
from call_recording.recordings import statuses

DEFAULT_PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 1000
LONGEST_REASON: Final = 200
MOST_DAYS: Final = 31
"""The most days of one list; each is a separate query."""
SHORTEST_LINK_SECONDS: Final = 60
LONGEST_LINK_SECONDS: Final = 3600

_FIRST_YEAR: Final = 2000
_LONGEST_TOKEN: Final = 2048


@dataclass(frozen=True)
class RecordingPath:
    """One recording; of any account, unless one is named."""

    recording_sid: str
    account_sid: str | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Return the request that a path and a query make.

        Raises InvalidRequestError naming every invalid field.
        """
        return cls(**_read(fields, "RecordingSid", "AccountSid", required=["RecordingSid"]))


@dataclass(frozen=True)
class MediaRequest(RecordingPath):
    """The audio of one recording, through a link with an expiry; `reason` is the caller's own text."""

    reason: str | None = None
    expires_in_seconds: int | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Return the request that a path and a query make.

        Raises InvalidRequestError naming every invalid field.
        """
        return cls(**_read(fields, "RecordingSid", "AccountSid", "Reason", "ExpiresIn", required=["RecordingSid"]))


@dataclass(frozen=True)
class _Page:
    """Which part of a list."""

    page_size: int = DEFAULT_PAGE_SIZE
    page_token: str | None = None


@dataclass(frozen=True, kw_only=True)
class CallList(_Page):
    """The recordings of one call; of any account, unless one is named."""

    call_sid: str
    account_sid: str | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Return the request that a path and a query make.

        Raises InvalidRequestError naming every invalid field.
        """
        return cls(**_read(fields, "CallSid", "AccountSid", "PageSize", PAGE_TOKEN, required=["CallSid"]))

    @property
    def name(self) -> str:
        """What distinguishes this list from every other."""
        return f"call {self.call_sid} {self.account_sid or ''}"


@dataclass(frozen=True, kw_only=True)
class DayList(_Page):
    """The recordings of an account that began on a day, or from `first_day` to it (UTC, ISO 8601).

    With a reference or a conference (of any account) they are of any day, unless one is named.
    """

    account_sid: str
    day: str | None = None
    first_day: str | None = None
    status: str | None = None
    conference_sid: str | None = None
    reference: str | None = None
    is_of_any_account: bool = False

    @classmethod
    def parse(cls, fields: Fields, *, default_account_sid: str) -> Self:
        """Return the request in a query; by default for today.

        Raises InvalidRequestError naming every invalid field.
        """
        names = ("AccountSid", "ConferenceSid", "Date", "From", "To", "Status", "Reference", "PageSize", PAGE_TOKEN)
        values = _read(fields, *names, check=_misplaced_days)
        last_day = values.pop("last_day", None)
        if "first_day" in values:
            values["day"] = last_day or max(_today(), values["first_day"])
        elif not values.keys() & {"day", "conference_sid", "reference"}:
            values["day"] = _today()
        values["is_of_any_account"] = "conference_sid" in values and "account_sid" not in values
        return cls(**{"account_sid": default_account_sid} | values)

    @property
    def days(self) -> list[str]:
        """The days of the list, the last one first; empty for any time."""
        if self.day is None:
            return []
        last, first = date.fromisoformat(self.day), date.fromisoformat(self.first_day or self.day)
        return [(last - timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]

    @property
    def name(self) -> str:
        """What distinguishes this list from every other."""
        name = f"day {self.account_sid} {self.day} {self.status or ''}"
        more = (self.first_day, self.conference_sid, self.is_of_any_account, self.reference)
        return f"{name} {json.dumps(more)}" if any(more) else name


def _read(fields: Fields, *names: str, required: Collection[str] = (), check: Check = lambda _: ()) -> dict[str, Any]:
    """Return the values of these fields, by our attribute names."""
    values = read_fields(fields, {name: _READERS[name] for name in names}, required=required, check=check)
    return {_ATTRIBUTES[name]: value for name, value in values.items()}


def _misplaced_days(values: Mapping[str, Any]) -> Iterator[FieldError]:
    if "Date" in values and values.keys() & {"From", "To"}:
        yield FieldError("Date", "is only allowed without From and To")
    if "From" not in values:
        if "To" in values:
            yield FieldError("From", "required with To")
        return
    first, last = values["From"], values.get("To") or max(_today(), values["From"])
    if last < first:
        yield FieldError("To", "must not be before From")
    elif (date.fromisoformat(last) - date.fromisoformat(first)).days >= MOST_DAYS:
        yield FieldError("To" if "To" in values else "From", f"From and To must span at most {MOST_DAYS} days")


def _today() -> str:
    return clock.now().date().isoformat()


def _day(value: Any) -> str:
    message = "must be a day such as 2026-11-22"
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(message) from error
    if day.isoformat() != value or day.year < _FIRST_YEAR:
        raise ValueError(message)
    return day.isoformat()


def _reason(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_REASON or not value.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_REASON} printable characters")
    return value


def _token(value: Any) -> str:
    # Text from JSON can contain half a character, which has no bytes to verify a signature of.
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TOKEN or not value.isascii():
        raise ValueError("is not a token of this list")
    return value


_READERS: Final[dict[str, Reader]] = {
    "AccountSid": sid(sids.ACCOUNT),
    "CallSid": sid(sids.CALL),
    "ConferenceSid": sid(sids.CONFERENCE),
    "RecordingSid": sid(sids.RECORDING),
    "Date": _day,
    "From": _day,
    "To": _day,
    "Reference": reference,
    # A row can have a status that Twilio adds later; lists without a filter include it.
    "Status": one_of(statuses.ORDER),
    "PageSize": whole_number(1, LARGEST_PAGE),
    PAGE_TOKEN: _token,
    "Reason": _reason,
    "ExpiresIn": whole_number(SHORTEST_LINK_SECONDS, LONGEST_LINK_SECONDS),
}

_ATTRIBUTES: Final = {
    "AccountSid": "account_sid",
    "CallSid": "call_sid",
    "ConferenceSid": "conference_sid",
    "RecordingSid": "recording_sid",
    "Date": "day",
    "From": "first_day",
    "To": "last_day",
    "Reference": "reference",
    "Status": "status",
    "PageSize": "page_size",
    PAGE_TOKEN: "page_token",
    "Reason": "reason",
    "ExpiresIn": "expires_in_seconds",
}
