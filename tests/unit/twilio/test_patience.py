"""Twilio is asked again as long as that can still help: longer waits, as it asks, and never past the deadline."""

import random

import pytest

from call_recording import clock
from call_recording.deadline import Deadline
from call_recording.errors import RateLimitedError, TwilioUnavailableError, TwilioUnreachableError
from call_recording.twilio.patience import Patience
from tests.conftest import Time


@pytest.fixture
def waits(time: Time, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without the part that chance decides."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.turn(seconds)

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(random, "uniform", lambda least, _: least)
    return waited


class Work:
    """Raises the errors, one at a time, and then returns what it was called with."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self, *args: int, **named: int) -> tuple[tuple[int, ...], dict[str, int]]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return args, named


def unavailable(times: int) -> list[TwilioUnavailableError]:
    return [TwilioUnavailableError(f"attempt {number}") for number in range(1, times + 1)]


def limited(seconds: int | None) -> RateLimitedError:
    return RateLimitedError(retry_after_seconds=seconds, code=20429, message="Too Many Requests", more_info=None)


def patience(seconds: float = 600) -> Patience:
    return Patience(RateLimitedError, TwilioUnavailableError, deadline=Deadline(seconds))


def test_what_succeeds_is_done_once(waits: list[float]) -> None:
    work = Work()

    assert patience()(work, 1, two=2) == ((1,), {"two": 2})
    assert (work.calls, waits) == (1, [])


def test_what_fails_is_done_again_with_the_same_arguments(waits: list[float]) -> None:
    work = Work(*unavailable(1))

    assert patience()(work, 1, two=2) == ((1,), {"two": 2})
    assert work.calls == 2


def test_every_wait_is_twice_the_last_up_to_four_seconds_and_the_eighth_failure_is_the_end(waits: list[float]) -> None:
    work = Work(*unavailable(20))

    with pytest.raises(TwilioUnavailableError, match="attempt 8"):
        patience()(work)

    assert work.calls == 8
    assert waits == [0.25, 0.5, 1, 2, 4, 4, 4]


def test_chance_adds_at_most_half_a_second(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)

    patience()(Work(*unavailable(2)))

    assert waits == [0.75, 1]


def test_twilio_is_left_alone_as_long_as_it_asks(waits: list[float]) -> None:
    patience()(Work(limited(7), limited(None)))

    assert waits == [7.25, 0.5]


@pytest.mark.parametrize("before", [0, 1])
def test_another_failure_is_nothing_to_wait_for(waits: list[float], before: int) -> None:
    work = Work(*unavailable(before), ValueError("another"))

    with pytest.raises(ValueError, match="another"):
        patience()(work)

    assert work.calls == before + 1


@pytest.mark.parametrize(("seconds", "calls"), [(2.25, 2), (2.24, 1)])
def test_a_wait_must_leave_two_seconds_for_the_request(waits: list[float], seconds: float, calls: int) -> None:
    work = Work(*unavailable(2))

    with pytest.raises(TwilioUnavailableError, match=f"attempt {calls}"):
        patience(seconds)(work)

    assert work.calls == calls


def test_with_less_than_two_seconds_nothing_is_sent(time: Time) -> None:
    patience(2).refuse_without_time()

    with pytest.raises(TwilioUnreachableError):
        patience(1.99).refuse_without_time()
