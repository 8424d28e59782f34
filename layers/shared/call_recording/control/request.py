"""What a request to pause, resume or stop a recording may say.

Source: Twilio's update of a call's recording, whose names and values `Status` and `PauseBehavior`
are. `ResumeWithinSeconds` and `AutoResume` are ours: Twilio lets a recording stay paused for ever.
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
"""In place of a SID: the one recording that is active on the call."""
ALL: Final = "ALL"
"""In place of a SID: whatever records the call, its legs, and the conference that they are in; see `pause_all`."""

LONGEST_PAUSE_SECONDS: Final = 86_400
"""A call lives no longer."""


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
    """A valid request; None means: left out. `resume_within_seconds` is there only with status `paused`."""

    account_sid: str
    call_sid: str
    recording_sid: str
    status: str
    pause_behavior: str | None = None
    resume_within_seconds: int | None = None
    auto_resume: bool = False

    readers: ClassVar[Mapping[str, Reader]] = _READERS
    """The fields that there are."""

    only_to_pause: ClassVar[Sequence[str]] = ("PauseBehavior", "ResumeWithinSeconds", "AutoResume")
    """Those that go with status `paused` alone."""

    @classmethod
    def parse(cls, given: Fields, *, default_account_sid: str, errors: Sequence[FieldError] = ()) -> Self:
        """Return the request that the `given` fields make.

        `errors` are mistakes that the caller found already, reported together with these.

        Raises InvalidRequestError naming every wrong field.
        """
        values: dict[str, Any] = {"AccountSid": default_account_sid}
        values |= read_fields(
            given, cls.readers, required=["CallSid", "RecordingSid", "Status"], errors=errors, check=cls.misplaced
        )
        return cls(**{_ATTRIBUTES[name]: value for name, value in values.items()})

    @classmethod
    def misplaced(cls, values: Mapping[str, Any]) -> Iterable[FieldError]:
        """Give the fields that do not go with each other."""
        if "Status" in values and values["Status"] != PAUSED:
            for name in cls.only_to_pause:
                if name in values:
                    yield FieldError(name, f"only goes with Status={PAUSED}")
        elif "AutoResume" in values and "ResumeWithinSeconds" not in values:
            yield FieldError("AutoResume", "only goes with ResumeWithinSeconds")

    def said(self) -> dict[str, Any]:
        """Return what the request says, and nothing that it leaves out: what its idempotency key stands for.

        A field that a later version adds does not change that for requests which do not use it.
        """
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    def to_form(self) -> list[tuple[str, str]]:
        """Return the body parameters to send to Twilio; what was left out stays out."""
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
