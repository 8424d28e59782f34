"""A busy account's time is cut so that nothing falls between the parts, and only where that saves requests."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_recording import clock
from call_recording.reconcile.together import all_at_once
from call_recording.reconcile.windows import LOOK_BACK, OVERLAP, Slice, Window
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


def test_an_unfinished_list_goes_on_where_it_stopped_however_long_ago() -> None:
    for page in ("https://api.twilio.com/next", "a"):
        stopped = WINDOW._replace(page=page)
        assert Window.of(stopped.unfinished(), NOW + timedelta(days=3)) == stopped


def test_after_a_list_that_ended_the_next_one_begins_a_little_before_its_end() -> None:
    for rest in ({}, WINDOW.unfinished()):
        window = Window.of({"listed_until": "2026-11-22T07:30:00Z", **rest}, NOW)
        assert window == Window(datetime(2026, 11, 22, 7, 30, tzinfo=UTC) - OVERLAP, NOW)


def bookmark(begins: datetime, ends: datetime) -> dict[str, str]:
    return Window(begins, ends, "a").unfinished()


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param({}, id="none"),
        pytest.param({"page": "a"}, id="no times"),
        pytest.param({"listed_until": "yesterday"}, id="no time"),
        pytest.param({"listed_until": "2026-11-22T07:30:00"}, id="no offset"),
        pytest.param({"listed_until": "0001-01-01T00:00:00Z"}, id="before all time"),
        pytest.param(bookmark(NOW, NOW - SECOND), id="ends before it begins"),
        pytest.param(bookmark(NOW, NOW + clock.SKEW + SECOND), id="ends later than clocks differ"),
        pytest.param(bookmark(datetime(1999, 12, 31, tzinfo=UTC), NOW), id="before there was a Twilio"),
    ],
)
def test_where_a_bookmark_is_of_no_use_a_whole_day_is_listed(unusable: dict[str, str]) -> None:
    assert Window.of(unusable, NOW) == Window(NOW - LOOK_BACK, NOW)


@pytest.mark.parametrize(
    "window",
    [Window(NOW, NOW, "a"), Window(NOW, NOW + clock.SKEW, "a"), Window(datetime(2000, 1, 1, tzinfo=UTC), NOW, "a")],
)
def test_a_bookmark_is_used_up_to_those_limits(window: Window) -> None:
    assert Window.of(window.unfinished(), NOW) == window


@pytest.mark.parametrize(
    ("created", "is_held"),
    [
        (WINDOW.begins - SECOND, False),
        (WINDOW.begins, True),
        (WINDOW.ends + clock.SKEW, True),
        (WINDOW.ends + clock.SKEW + SECOND, False),
        (None, True),
    ],
)
def test_a_window_holds_what_was_created_in_it_by_twilio_s_clock(created: datetime | None, *, is_held: bool) -> None:
    (recording,) = page(created)

    assert WINDOW.holds(recording) == is_held


@pytest.mark.parametrize(
    ("listed", "is_behind"),
    [
        (page(NOW, WINDOW.begins - SECOND), True),
        (page(NOW, NOW - SECOND, WINDOW.begins - SECOND), True),
        (page(NOW, WINDOW.begins), False),
        (page(WINDOW.begins - SECOND, NOW), False),
        (page(), False),
    ],
)
def test_a_list_is_done_where_a_page_goes_back_behind_the_window(
    listed: list[RecordingResource], *, is_behind: bool
) -> None:
    assert WINDOW.is_behind(listed) == is_behind


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
    [(1, 10, 1500), (10, 10, 150), (60, 10, 30), (200, 10, 0), (200, 5, 10), (300, 4, 0), (300, 2, 4), (1, 1, 0)],
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
