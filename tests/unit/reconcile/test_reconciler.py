"""Where a list of an account's recordings begins, whatever its bookmark says."""

from datetime import UTC, datetime, timedelta

import pytest

from call_recording.reconcile.reconciler import _Window

NOW = datetime(2026, 11, 22, 7, 33, tzinfo=UTC)
A_DAY = (NOW - timedelta(hours=24), NOW, None)


def test_a_list_begins_a_quarter_of_an_hour_before_the_end_of_the_last() -> None:
    window = _Window.of({"listed_until": "2026-11-22T07:30:00Z"}, NOW)

    assert window == (datetime(2026, 11, 22, 7, 15, tzinfo=UTC), NOW, None)


def test_a_list_that_was_not_finished_goes_on() -> None:
    window = _Window(NOW - timedelta(days=300), NOW - timedelta(hours=1), "Page=3")

    assert _Window.of(window.unfinished(), NOW) == window


@pytest.mark.parametrize(
    "bookmark",
    [
        {},
        {"listed_until": ""},
        {"listed_until": "yesterday"},
        {"listed_until": "2026-11-22T07:30:00"},
        {"listed_until": "2027-11-22T07:30:00Z"},
        {"listed_until": "0001-01-01T00:00:00Z"},
        {"listed_until": "0900-01-01T00:00:00Z"},
        {"page": "Page=3"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z", "ends": "2026-11-22T06:00:00Z"},
        {"page": "Page=3", "begins": "2026-11-22T07:00:00Z", "ends": "2027-11-22T06:00:00Z"},
        {"page": "Page=3", "begins": "x", "ends": "y"},
        {"what": "ever"},
    ],
    ids=str,
)
def test_without_a_bookmark_that_can_be_used_a_day_is_listed(bookmark: dict[str, str]) -> None:
    assert _Window.of(bookmark, NOW) == A_DAY
