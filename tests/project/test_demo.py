"""How `make demo` shows a promise that breaks; the whole of it is tried by `make operations`."""

import io

import pytest
import requests
from rich.console import Console

from local import demo
from local.promises import BrokenPromiseError


@pytest.mark.parametrize(
    "error", [BrokenPromiseError("seen"), KeyError("archive"), requests.ConnectionError("gone"), IndexError()]
)
def test_a_promise_that_breaks_in_any_way_is_told_and_the_others_are_tried(error: Exception) -> None:
    def broken() -> str:
        raise error

    shown = io.StringIO()

    names = demo.try_all([("one", broken), ("other", lambda: "[evidence]")], Console(file=shown, width=200))

    assert names == ["one"]
    first, second = shown.getvalue().splitlines()
    assert first.startswith("✗ one")
    assert second.split() == ["✓", "other", "[evidence]"]
