"""A timer fires once, never too soon, and not into the past; one that may have been set is taken back."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from email.utils import formatdate
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from call_recording.control.request import PAUSED, ControlRequest
from call_recording.control.resume_timers import ResumeTimer, ResumeTimers
from call_recording.errors import TimerNotSetError
from tests.conftest import Time

GROUP, PREFIX = "timers", "resume-0123-"
ROLE = "arn:aws:iam::123456789012:role/timer"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:control"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:function"
ACCOUNT, CALL, SID = "AC" + "1" * 32, "CA" + "1" * 32, "RE" + "1" * 32
BEGAN = "2026-11-22T07:33:01.000Z"


@pytest.fixture
def timers(aws: None, time: Time) -> ResumeTimers:
    client = boto3.client("scheduler")
    client.create_schedule_group(Name=GROUP)
    return ResumeTimers(client, GROUP, PREFIX, ROLE, QUEUE, FUNCTION)


def timer(name: str = "resume-0123-1", *, seconds: int = 60, asked_at: str = BEGAN) -> ResumeTimer:
    return ResumeTimer(name, ACCOUNT, CALL, SID, asked_at, seconds, auto_resume=True)


def schedule(timers: ResumeTimers, name: str = "resume-0123-1") -> dict[str, Any]:
    return dict(timers.client.get_schedule(Name=name, GroupName=GROUP))


def scheduled(timers: ResumeTimers) -> list[str]:
    return [each["Name"] for each in timers.client.list_schedules(GroupName=GROUP)["Schedules"]]


def assert_set(timers: ResumeTimers, *, is_set: bool) -> None:
    """Set a timer for the next second, and see that it is there, or that it was refused and taken back."""
    with nullcontext() if is_set else pytest.raises(TimerNotSetError):
        timers.set(timer(seconds=1), "{}")

    assert scheduled(timers) == (["resume-0123-1"] if is_set else [])


def test_a_timer_knows_what_was_asked_for_and_comes_back_as_it_was(time: Time) -> None:
    request = ControlRequest(ACCOUNT, CALL, SID, PAUSED, resume_within_seconds=60, auto_resume=True)

    made = ResumeTimer.of(request, name="t", resume_within_seconds=60)

    assert made == timer("t")
    assert ResumeTimer.of_event(json.loads(json.dumps(made.as_event()))) == made
    assert ResumeTimer.of_event({"httpMethod": "GET"}) is None


def test_names_are_new_and_in_the_order_of_their_times(timers: ResumeTimers, time: Time) -> None:
    names = [timers.new_name()]
    for _ in range(20):
        time.turn(0.002)
        names.append(timers.new_name())

    assert names == sorted(names)
    assert len(set(names)) == 21
    assert timers.new_name() != timers.new_name(), "in the same millisecond, too"
    for name in names:
        assert name.startswith(PREFIX)
        assert len(name.removeprefix(PREFIX)) == 36
    began = int(datetime.fromisoformat(BEGAN).timestamp() * 1000)
    assert int(names[0].removeprefix(PREFIX).replace("-", "")[:12], 16) == began


def test_what_is_random_in_a_name_leaves_its_time_alone(timers: ResumeTimers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbits", lambda bits: (1 << bits) - 1)
    began = int(datetime.fromisoformat(BEGAN).timestamp() * 1000)

    assert int(timers.new_name().removeprefix(PREFIX).replace("-", ""), 16) == (began + 1 << 80) - 1


def test_a_timer_invokes_the_function_once_with_its_payload(timers: ResumeTimers) -> None:
    timers.set(timer(), '{"a": 1}')

    made = schedule(timers)
    assert made["ScheduleExpression"] == "at(2026-11-22T07:34:01)"
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert made["ActionAfterCompletion"] == "DELETE"
    assert made["Target"] == {
        "Arn": FUNCTION,
        "RoleArn": ROLE,
        "Input": '{"a": 1}',
        "RetryPolicy": {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 3600},
        "DeadLetterConfig": {"Arn": QUEUE},
    }


@pytest.mark.parametrize(
    ("asked_at", "seconds", "fires_at"),
    [
        ("2026-11-22T07:33:01.000Z", 60, "07:34:01"),
        ("2026-11-22T07:33:01.001Z", 60, "07:34:02"),
        ("2026-11-22T07:33:00.999Z", 60, "07:34:01"),
        ("2026-11-22T07:33:01.000Z", 10, "07:33:11"),
        ("2026-11-22T07:33:01.000Z", 9, "07:33:11"),
        ("2026-11-22T07:30:00.000Z", 60, "07:33:11"),
    ],
)
def test_a_timer_never_fires_too_soon_nor_in_the_past(
    timers: ResumeTimers, asked_at: str, seconds: int, fires_at: str
) -> None:
    timers.set(timer(asked_at=asked_at, seconds=seconds), "{}")

    assert schedule(timers)["ScheduleExpression"] == f"at(2026-11-22T{fires_at})"


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException"}}, "CreateSchedule"),
        ConnectTimeoutError(endpoint_url="https://scheduler"),
    ],
    ids=["refused", "no answer"],
)
def test_a_timer_that_may_have_been_set_is_taken_back(
    timers: ResumeTimers, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create = timers.client.create_schedule

    def set_and_say_nothing(**arguments: Any) -> None:
        create(**arguments)
        raise error

    monkeypatch.setattr(timers.client, "create_schedule", set_and_say_nothing)

    with pytest.raises(TimerNotSetError):
        timers.set(timer(), "{}")

    assert scheduled(timers) == []


def test_a_timer_that_is_there_already_was_set_by_us(timers: ResumeTimers) -> None:
    timers.set(timer(), "{}")
    timers.set(timer(), "{}")

    assert scheduled(timers) == ["resume-0123-1"]


@pytest.mark.parametrize(("seconds", "is_set"), [(9.999, True), (10, False)])
def test_setting_that_took_until_the_timer_was_due_is_no_timer(
    timers: ResumeTimers, time: Time, monkeypatch: pytest.MonkeyPatch, seconds: float, *, is_set: bool
) -> None:
    create = timers.client.create_schedule

    def slowly(**arguments: Any) -> Any:
        answer = create(**arguments)
        time.turn(seconds)
        return answer

    monkeypatch.setattr(timers.client, "create_schedule", slowly)

    assert_set(timers, is_set=is_set)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "there since an earlier attempt"])
@pytest.mark.parametrize(("ahead", "is_set"), [(9, True), (10, False), (30, False)])
def test_a_timer_in_the_past_of_schedulers_own_clock_is_no_timer(
    timers: ResumeTimers, time: Time, monkeypatch: pytest.MonkeyPatch, ahead: int, *, is_set: bool, is_there: bool
) -> None:
    create = timers.client.create_schedule

    def elsewhere(**arguments: Any) -> Any:
        date = formatdate(time.seconds + ahead, usegmt=True)
        try:
            return create(**arguments) | {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
        except ClientError as error:
            error.response["ResponseMetadata"]["HTTPHeaders"]["date"] = date
            raise

    if is_there:
        timers.set(timer(seconds=1), "{}")
    monkeypatch.setattr(timers.client, "create_schedule", elsewhere)

    assert_set(timers, is_set=is_set)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"ResponseMetadata": {}},
        {"ResponseMetadata": {"HTTPHeaders": {}}},
        {"ResponseMetadata": {"HTTPHeaders": {"date": "soon"}}},
    ],
    ids=str,
)
def test_where_scheduler_does_not_say_what_time_it_is_our_own_clock_counts(
    timers: ResumeTimers, monkeypatch: pytest.MonkeyPatch, metadata: dict[str, Any]
) -> None:
    create = timers.client.create_schedule

    def answer(**arguments: Any) -> Any:
        create(**arguments)
        return metadata

    monkeypatch.setattr(timers.client, "create_schedule", answer)

    timers.set(timer(seconds=1), "{}")

    assert scheduled(timers) == ["resume-0123-1"]


def test_a_timer_that_is_taken_back_is_gone_and_one_that_is_not_says_so(timers: ResumeTimers) -> None:
    timers.set(timer(), "{}")

    assert timers.cancel(timer().name)
    assert scheduled(timers) == []
    assert not timers.cancel(timer().name)
    assert not replace(timers, group="another").cancel(timer().name)
