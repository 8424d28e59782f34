"""The fields of a request to pause, resume or stop a recording.

Source: Twilio's update of a call's recording, whose names and values `Status` and `PauseBehavior`
are. `ResumeWithinSeconds` and `AutoResume` are ours: Twilio lets a recording stay paused forever.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

from call_recording import sids
from call_recording.errors import FieldError
from call_recording.http.fields import Fields, Reader, boolean, no_sid, one_of, read_fields, sid, whole_number

PAUSED: Final = "paused"
RESUMED: Final = "in-progress"
STOPPED: Final = "stopped"
CONTROL_STATUSES: Final = (PAUSED, RESUMED, STOPPED)
PAUSE_BEHAVIORS: Final = ("skip", "silence")
CURRENT: Final = "Twilio.CURRENT"
"""Instead of a SID: the only recording that is active on the call."""
ALL: Final = "ALL"
"""Instead of a SID: every recording of the call, its legs, and their conference; see `pause_all`."""

LONGEST_PAUSE_SECONDS: Final = 86_400
"""No call lasts longer."""


def _recording(value: Any) -> str:
    if value != CURRENT and not sids.is_sid(value, sids.RECORDING):
        raise ValueError(no_sid(value, sids.RECORDING, CURRENT, ALL))
    return str(value)


_READERS: Final[dict[str, Reader]] = {
    "AccountSid": sid(sids.ACCOUNT),
    "CallSid": sid(sids.CALL),
    "RecordingSid": _recording,
    "Status": one_of(CONTROL_STATUSES),
    "PauseBehavior": one_of(PAUSE_BEHAVIORS),
    "ResumeWithinSeconds": whole_number(1, LONGEST_PAUSE_SECONDS),
    "AutoResume": boolean,
}


@dataclass(frozen=True)
class ControlRequest:
    """A valid request; None means that a field is absent. `resume_within_seconds` requires status `paused`."""

    account_sid: str
    call_sid: str
    recording_sid: str
    status: str
    pause_behavior: str | None = None
    resume_within_seconds: int | None = None
    auto_resume: bool = False

    readers: ClassVar[Mapping[str, Reader]] = _READERS
    """The known fields."""

    only_to_pause: ClassVar[Sequence[str]] = ("PauseBehavior", "ResumeWithinSeconds", "AutoResume")
    """The fields that require status `paused`."""

    @classmethod
    def parse(cls, given: Fields, *, default_account_sid: str, errors: Sequence[FieldError] = ()) -> Self:
        """Return the request that the `given` fields make.

        `errors` are mistakes that the caller has already found, reported together with these.

        Raises InvalidRequestError naming every invalid field.
        """
        values: dict[str, Any] = {"AccountSid": default_account_sid}
        values |= read_fields(
            given, cls.readers, required=["CallSid", "RecordingSid", "Status"], errors=errors, check=cls.misplaced
        )
        return cls(**{_ATTRIBUTES[name]: value for name, value in values.items()})

    @classmethod
    def misplaced(cls, values: Mapping[str, Any]) -> Iterable[FieldError]:
        """Yield the fields that cannot be combined."""
        if "Status" in values and values["Status"] != PAUSED:
            for name in cls.only_to_pause:
                if name in values:
                    yield FieldError(name, f"is only allowed with Status={PAUSED}")
        elif "AutoResume" in values and "ResumeWithinSeconds" not in values:
            yield FieldError("AutoResume", "is only allowed with ResumeWithinSeconds")

    def said(self) -> dict[str, Any]:
        """Return the fields that the request contains: the payload of its idempotency key.

        A field that a later version adds does not change this for requests without it.
        """
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    def to_form(self) -> list[tuple[str, str]]:
        """Return the body parameters to send to Twilio; absent fields stay absent."""
        form = {"Status": self.status, "PauseBehavior": self.pause_behavior}
        return [(name, value) for name, value in form.items() if value]


_ATTRIBUTES: Final = {
    "AccountSid": "account_sid",
    "CallSid": "call_sid",
    "RecordingSid": "recording_sid",
    "Status": "status",
    "PauseBehavior": "pause_behavior",
    "ResumeWithinSeconds": "resume_within_seconds",
    "AutoResume": "auto_resume",
    "ConferenceSid": "conference_sid",
}
