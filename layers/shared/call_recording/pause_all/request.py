"""The fields of a request to pause or resume everything on a call: `RecordingSid` is `ALL`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from call_recording import sids
from call_recording.control.request import ALL, PAUSED, RESUMED, ControlRequest
from call_recording.http.fields import Reader, did_you_mean, no_sid, one_of

NO_CONFERENCE: Final = "none"
"""As ConferenceSid: the caller guarantees that the call is in no conference."""


_STATUSES: Final = (PAUSED, RESUMED)


def _status(value: Any) -> str:
    if value not in _STATUSES:
        raise ValueError(f"must be {PAUSED} or {RESUMED} where RecordingSid is {ALL}{did_you_mean(value, _STATUSES)}")
    return str(value)


def _conference(value: Any) -> str:
    if value != NO_CONFERENCE and not sids.is_sid(value, sids.CONFERENCE):
        raise ValueError(no_sid(value, sids.CONFERENCE, NO_CONFERENCE))
    return str(value)


_READERS: Final[dict[str, Reader]] = {
    **ControlRequest.readers,
    "RecordingSid": one_of((ALL,)),
    "Status": _status,
    "ConferenceSid": _conference,
}


@dataclass(frozen=True)
class AllRequest(ControlRequest):
    """A valid request; None means that a field is absent."""

    conference_sid: str | None = None

    readers: ClassVar[Mapping[str, Reader]] = _READERS
    only_to_pause: ClassVar[Sequence[str]] = (*ControlRequest.only_to_pause, "ConferenceSid")
