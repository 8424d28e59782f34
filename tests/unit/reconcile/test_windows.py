"""A busy account's time is cut so that nothing falls between the parts, and only where that saves requests."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_recording import clock
from call_recording.reconcile.together import all_at_once
from call_recording.reconcile.windows import Slice, Window
from call_recording.twilio.api import RecordingResource

NOW = datetime(2026, 11, 22, 7, 33, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(minutes=20), NOW)
SECOND = timedelta(seconds=1)


def page(*created: datetime | None) -> list[RecordingResource]:
    """Return recordings that were created then, as Twilio lists them."""
    told = {"account_sid": "AC" + "1" * 32, "status": "completed"}
    times = [{"date_created": format_datetime(at)} if at else {} for at in created]
    return [
        RecordingResource(told | {"sid": f"RE{number:032x}"} | at, api_url="https://api.twilio.com")
        for number, at in enumerate(times)
    ]


def of_seconds(seconds: float) -> list[RecordingResource]:
    """Return a page that goes back so far from now on."""
    return page(NOW, NOW - timedelta(seconds=seconds / 2), NOW - timedelta(seconds=seconds))


@settings(deadline=None)
@given(seconds=st.integers(1, 1200), at_once=st.integers(1, 10), minutes=st.integers(1, 1440))
def test_slices_leave_nothing_out_of_what_is_behind_the_page_and_go_forward_in_time(
    seconds: int, at_once: int, minutes: int
) -> None:
    window = Window(NOW - timedelta(minutes=minutes), NOW)

    slices = window.slices(of_seconds(seconds), at_once=at_once)

    if slices:
        assert slices[0].begins == window.begins
        assert slices[-1].ends == NOW - timedelta(seconds=seconds)
        assert [part.ends for part in slices[:-1]] == [part.begins for part in slices[1:]]
        assert all(part.begins < part.ends for part in slices)
        assert len(slices) % at_once == 0


@pytest.mark.parametrize(
    ("seconds", "at_once", "slices"),
    [(1, 10, 1500), (10, 10, 150), (60, 10, 30), (200, 10, 0), (200, 5, 10), (300, 4, 0), (1, 1, 0)],
)
def test_a_slice_is_a_little_less_than_a_page_and_there_are_whole_rounds_of_them(
    seconds: int, at_once: int, slices: int
) -> None:
    """None where the pages that are left are fewer than would be listed at once."""
    assert len(WINDOW.slices(of_seconds(seconds), at_once=at_once)) == slices


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(page(), id="nothing"),
        pytest.param(page(NOW), id="one"),
        pytest.param(page(NOW, NOW), id="all in one second"),
        pytest.param(page(NOW - SECOND, NOW), id="forward in time"),
        pytest.param(page(NOW, NOW - 2 * SECOND, NOW - SECOND), id="to and fro"),
        pytest.param(page(NOW, None, NOW - SECOND), id="one that does not say when"),
        pytest.param(page(NOW - timedelta(hours=1), NOW - timedelta(hours=1) - SECOND), id="behind the window"),
    ],
)
def test_without_pages_that_go_back_in_time_nothing_is_cut(listed: list[RecordingResource]) -> None:
    assert WINDOW.slices(listed, at_once=10) == []


@pytest.mark.parametrize(
    ("created", "is_all"),
    [
        ((), True),
        ((NOW, NOW - timedelta(minutes=1)), True),
        ((NOW + SECOND, NOW - timedelta(minutes=1) - SECOND), True),
        ((NOW + 2 * SECOND,), False),
        ((NOW, NOW - timedelta(minutes=1) - 2 * SECOND), False),
        ((NOW, None), False),
    ],
)
def test_whether_twilio_looks_at_times_shows_in_what_it_lists(
    created: tuple[datetime | None, ...], *, is_all: bool
) -> None:
    assert Slice(NOW - timedelta(minutes=1), NOW).has_all(page(*created)) == is_all


def test_what_is_created_between_two_slices_is_asked_for_with_both() -> None:
    """Whether Twilio counts the second of a bound or not, and it knows whole seconds only."""
    border = NOW - timedelta(seconds=30.5)
    earlier, later = Slice(NOW - timedelta(minutes=1), border), Slice(border, NOW)

    asked = [[clock.iso_seconds(bound) for bound in part.bounds] for part in (earlier, later)]

    assert asked == [["2026-11-22T07:31:59Z", "2026-11-22T07:32:30Z"], ["2026-11-22T07:32:28Z", "2026-11-22T07:33:01Z"]]


def test_what_is_asked_at_once_is_on_its_way_at_once_and_answers_keep_their_places() -> None:
    all_of_them = Barrier(4, timeout=30)

    def fail() -> int:
        all_of_them.wait()
        raise ValueError

    first, second, third, fourth = all_at_once(
        [all_of_them.wait, fail, all_of_them.wait, lambda: all_of_them.wait() * 0]
    )

    assert {type(first), type(third), fourth} == {int, 0}
    assert isinstance(second, ValueError)
