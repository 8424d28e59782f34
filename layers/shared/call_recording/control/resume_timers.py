"""Timers of monitored pauses: one-time schedules that invoke the function when the time is over."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clock
from call_recording.control.request import ControlRequest
from call_recording.errors import TimerNotSetError

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

_MARK: Final = "resume_timer"
_RETRIES: Final = 20
_OLDEST_SECONDS: Final = 3600

_SOONEST: Final = timedelta(seconds=10)
"""The minimum lead time of a timer: one in the past may never fire, and setting it takes time."""


@dataclass(frozen=True)
class ResumeTimer:
    """A timer and the pause that it monitors. `recording_sid` may be `Twilio.CURRENT`.

    `asked_at` is when the pause was requested: ISO 8601, UTC, with milliseconds.
    """

    name: str
    account_sid: str
    call_sid: str
    recording_sid: str
    asked_at: str
    resume_within_seconds: int
    auto_resume: bool

    @classmethod
    def of(cls, request: ControlRequest, *, name: str, resume_within_seconds: int) -> Self:
        """Return a new timer for a request to pause."""
        return cls(
            name=name,
            account_sid=request.account_sid,
            call_sid=request.call_sid,
            recording_sid=request.recording_sid,
            asked_at=clock.iso_milliseconds(clock.now()),
            resume_within_seconds=resume_within_seconds,
            auto_resume=request.auto_resume,
        )

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Self | None:
        """Return the timer in the event, or None if the event is not from a timer."""
        return cls(**event[_MARK]) if _MARK in event else None

    @property
    def due_at(self) -> datetime:
        """When the time is over, aware, in UTC."""
        return datetime.fromisoformat(self.asked_at) + timedelta(seconds=self.resume_within_seconds)

    def as_event(self) -> dict[str, Any]:
        """Return the event with which the function is invoked when the time is over."""
        return {_MARK: asdict(self)}


@dataclass(frozen=True)
class ResumeTimers:
    """EventBridge Scheduler: one schedule for each monitored pause, deleted after it has fired."""

    client: "EventBridgeSchedulerClient"
    group: str
    prefix: str
    """Prefix of the names of this stack's timers, which its policy uses."""
    role_arn: str
    dead_letter_queue_arn: str
    function_arn: str

    def new_name(self) -> str:
        """Return a unique name; names with the same prefix sort by time."""
        milliseconds = int(clock.now().timestamp() * 1000)
        return f"{self.prefix}{uuid.UUID(int=milliseconds << 80 | secrets.randbits(80))}"

    def set(self, timer: ResumeTimer, payload: str) -> None:
        """Schedule an invocation with `payload` for when the time is over (at most a minute later).

        Raises TimerNotSetError. Then the timer, which may have been set, was deleted if possible.
        """
        # Scheduler uses whole seconds; never earlier than requested.
        fires_at = (max(timer.due_at, clock.now() + _SOONEST) + timedelta(seconds=0.999)).replace(microsecond=0)
        try:
            answered_at = self._create(timer.name, fires_at, payload)
        except (ClientError, BotoCoreError) as error:
            self.cancel(timer.name)
            raise TimerNotSetError from error
        if max(clock.now(), answered_at) >= fires_at:
            self.cancel(timer.name)
            raise TimerNotSetError

    def _create(self, name: str, fires_at: datetime, payload: str) -> datetime:
        """Set the timer, and return Scheduler's time: our own clock may be slow."""
        answer: Any
        try:
            answer = self.client.create_schedule(
                Name=name,
                GroupName=self.group,
                ScheduleExpression=f"at({fires_at:%Y-%m-%dT%H:%M:%S})",
                ScheduleExpressionTimezone="UTC",
                FlexibleTimeWindow={"Mode": "OFF"},
                ActionAfterCompletion="DELETE",
                Target={
                    "Arn": self.function_arn,
                    "RoleArn": self.role_arn,
                    "Input": payload,
                    "RetryPolicy": {"MaximumRetryAttempts": _RETRIES, "MaximumEventAgeInSeconds": _OLDEST_SECONDS},
                    "DeadLetterConfig": {"Arn": self.dead_letter_queue_arn},
                },
            )
        except self.client.exceptions.ConflictException as error:
            # The name is unique, so it exists from an attempt whose answer was lost.
            answer = error.response
        return _answered_at(answer)

    def cancel(self, name: str) -> bool:
        """Delete the timer; return False if that failed, so that it will fire."""
        try:
            self.client.delete_schedule(Name=name, GroupName=self.group)
        except (ClientError, BotoCoreError):
            return False
        return True


def _answered_at(answer: Any) -> datetime:
    """Return Scheduler's time from the answer's Date header, or our own time without one."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return clock.from_rfc_2822(date) or clock.now()
