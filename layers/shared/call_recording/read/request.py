"""What a request for one recording, or for a list of them, may say."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Self

from call_recording import clock, sids
from call_recording.http.fields import Fields, Reader, read_fields, sid, whole_number
from call_recording.read.page_tokens import PAGE_TOKEN

DEFAULT_PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 1000
LONGEST_REASON: Final = 200

_STATUS: Final = re.compile(r"[a-z][a-z-]{0,31}")
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

        Raises InvalidRequestError naming every wrong field.
        """
        return cls(**_read(fields, "RecordingSid", "AccountSid", required=["RecordingSid"]))


@dataclass(frozen=True)
class MediaRequest(RecordingPath):
    """The audio of one recording; `reason` says what for, in the caller's own words."""

    reason: str | None = None

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Return the request that a path and a query make.

        Raises InvalidRequestError naming every wrong field.
        """
        return cls(**_read(fields, "RecordingSid", "AccountSid", "Reason", required=["RecordingSid"]))


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

        Raises InvalidRequestError naming every wrong field.
        """
        return cls(**_read(fields, "CallSid", "AccountSid", "PageSize", PAGE_TOKEN, required=["CallSid"]))

    @property
    def name(self) -> str:
        """What tells this list from every other."""
        return f"call {self.call_sid} {self.account_sid or ''}"


@dataclass(frozen=True, kw_only=True)
class DayList(_Page):
    """The recordings of an account that began on a day (UTC, ISO 8601); with one status, or with any."""

    account_sid: str
    day: str
    status: str | None = None

    @classmethod
    def parse(cls, fields: Fields, *, default_account_sid: str) -> Self:
        """Return the request that a query makes; today's unless it says otherwise.

        Raises InvalidRequestError naming every wrong field.
        """
        values: dict[str, Any] = {"account_sid": default_account_sid, "day": clock.now().date().isoformat()}
        return cls(**values | _read(fields, "AccountSid", "Date", "Status", "PageSize", PAGE_TOKEN))

    @property
    def name(self) -> str:
        """What tells this list from every other."""
        return f"day {self.account_sid} {self.day} {self.status or ''}"


def _read(fields: Fields, *names: str, required: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of these fields, by the names of our attributes."""
    values = read_fields(fields, {name: _READERS[name] for name in names}, required=required)
    return {_ATTRIBUTES[name]: value for name, value in values.items()}


def _day(value: Any) -> str:
    message = "must be a day such as 2026-11-22"
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(message) from error
    if day.isoformat() != value or day.year < _FIRST_YEAR:
        raise ValueError(message)
    return day.isoformat()


def _status(value: Any) -> str:
    if not isinstance(value, str) or not _STATUS.fullmatch(value):
        raise ValueError("must be one status, such as completed")
    return value


def _reason(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_REASON or not value.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_REASON} printable characters")
    return value


def _token(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TOKEN:
        raise ValueError("is not a token that this list has given")
    return value


_READERS: Final[dict[str, Reader]] = {
    "AccountSid": sid(sids.ACCOUNT),
    "CallSid": sid(sids.CALL),
    "RecordingSid": sid(sids.RECORDING),
    "Date": _day,
    "Status": _status,
    "PageSize": whole_number(1, LARGEST_PAGE),
    PAGE_TOKEN: _token,
    "Reason": _reason,
}

_ATTRIBUTES: Final = {
    "AccountSid": "account_sid",
    "CallSid": "call_sid",
    "RecordingSid": "recording_sid",
    "Date": "day",
    "Status": "status",
    "PageSize": "page_size",
    PAGE_TOKEN: "page_token",
    "Reason": "reason",
}
