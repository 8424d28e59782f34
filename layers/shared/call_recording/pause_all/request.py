"""What a request to pause or resume everything that hears a call may say: `RecordingSid` is `ALL`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from call_recording import sids
from call_recording.control.request import (
    LONGEST_PAUSE_SECONDS,
    PAUSE_BEHAVIORS,
    PAUSED,
    RESUMED,
    misplaced,
)
from call_recording.errors import FieldError
from call_recording.http.fields import Fields, Reader, boolean, one_of, read_fields, sid, whole_number

ALL: Final = "ALL"
"""In place of a recording's SID: whatever records the call, its legs, and the conference that they are in."""

NO_CONFERENCE: Final = "none"
"""As ConferenceSid: the caller's word that the call is in no conference."""


@dataclass(frozen=True)
class AllRequest:
    """A valid request; None means: left out. The last four are there only with status `paused`."""

    account_sid: str
    call_sid: str
    status: str
    pause_behavior: str | None = None
    resume_within_seconds: int | None = None
    auto_resume: bool = False
    conference_sid: str | None = None

    @classmethod
    def parse(cls, given: Fields, *, default_account_sid: str, errors: Sequence[FieldError] = ()) -> Self:
        """Return the request that the `given` fields make.

        `errors` are mistakes that the caller found already, reported together with these.

        Raises InvalidRequestError naming every wrong field.
        """
        values: dict[str, Any] = {"AccountSid": default_account_sid}
        values |= read_fields(
            given, _READERS, required=["CallSid", "RecordingSid", "Status"], errors=errors, check=_misplaced
        )
        return cls(**{_ATTRIBUTES[name]: value for name, value in values.items() if name in _ATTRIBUTES})

    def said(self) -> dict[str, Any]:
        """Return what the request says, and nothing that it leaves out: what its idempotency key stands for."""
        said = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        return {**said, "recording_sid": ALL}

    def to_form(self) -> list[tuple[str, str]]:
        """Return the body parameters to send to Twilio for each recording."""
        form = {"Status": self.status, "PauseBehavior": self.pause_behavior}
        return [(name, value) for name, value in form.items() if value]


def _misplaced(values: Mapping[str, Any]) -> Iterable[FieldError]:
    yield from misplaced(values)
    if values.get("Status") == RESUMED and "ConferenceSid" in values:
        yield FieldError("ConferenceSid", f"only goes with Status={PAUSED}")


def _status(value: Any) -> str:
    if value not in (PAUSED, RESUMED):
        raise ValueError(f"must be {PAUSED} or {RESUMED} where RecordingSid is {ALL}")
    return str(value)


def _conference(value: Any) -> str:
    if value != NO_CONFERENCE and not sids.is_sid(value, sids.CONFERENCE):
        raise ValueError(f"must be {NO_CONFERENCE}, or a SID: {sids.CONFERENCE} and 32 hexadecimal digits")
    return str(value)


_READERS: Final[dict[str, Reader]] = {
    "AccountSid": sid(sids.ACCOUNT),
    "CallSid": sid(sids.CALL),
    "RecordingSid": one_of((ALL,)),
    "Status": _status,
    "PauseBehavior": one_of(PAUSE_BEHAVIORS),
    "ResumeWithinSeconds": whole_number(1, LONGEST_PAUSE_SECONDS),
    "AutoResume": boolean,
    "ConferenceSid": _conference,
}

_ATTRIBUTES: Final = {
    "AccountSid": "account_sid",
    "CallSid": "call_sid",
    "Status": "status",
    "PauseBehavior": "pause_behavior",
    "ResumeWithinSeconds": "resume_within_seconds",
    "AutoResume": "auto_resume",
    "ConferenceSid": "conference_sid",
}
