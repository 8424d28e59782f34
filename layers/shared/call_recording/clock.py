"""What time it is, and how to wait: the only place that asks the machine."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

SKEW: Final = timedelta(seconds=65)
"""How far apart two clocks (ours, another function's, Twilio's) may be without a promise breaking."""


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def monotonic() -> float:
    """Return seconds that only ever grow, for time-outs."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for that many seconds."""
    time.sleep(seconds)


def iso_milliseconds(moment: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def iso_seconds(moment: datetime) -> str:
    """Return ISO 8601 in UTC with whole seconds: the precision of Twilio's own times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_rfc_2822(text: object) -> datetime | None:
    """Return a time as Twilio's resources and HTTP's header Date have it, in UTC; None when missing or unreadable."""
    try:
        parsed = parsedate_to_datetime(str(text))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
