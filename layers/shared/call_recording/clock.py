"""The current time, and waiting: the only module that uses the system clock."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

SKEW: Final = timedelta(seconds=65)
"""How far two clocks (ours, another function's, Twilio's) may differ without breaking a promise."""


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def monotonic() -> float:
    """Return monotonic seconds, for timeouts."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for that many seconds."""
    time.sleep(seconds)


def iso_milliseconds(moment: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds, which sorts by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def iso_seconds(moment: datetime) -> str:
    """Return ISO 8601 in UTC with whole seconds: the precision of Twilio's own times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_rfc_2822(text: object) -> datetime | None:
    """Return a time of Twilio's resources or of HTTP's Date header, in UTC; None if missing or unreadable."""
    try:
        parsed = parsedate_to_datetime(str(text))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
