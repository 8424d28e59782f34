"""`make demo`: every promise has its line, and one that does not hold is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from local import demo
from local.stack import Stack


class Forgetful(Stack):
    """Says that it deleted something, and did not."""

    def call_control_api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Answer a deletion by itself."""
        if method != "DELETE":
            return super().call_control_api(method, path, **options)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b'{"removed": {"twilio": "removed", "archive": "removed"}}'  # noqa: SLF001
        return answer


def test_the_demo_shows_each_promise_and_fails_for_the_one_that_does_not_hold(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def forgetful(progress: Callable[[str], None]) -> Iterator[Stack]:
        progress("Not starting it: it runs")
        yield Forgetful(**vars(stack))

    monkeypatch.setattr(demo, "running_stack", forgetful)

    status = demo.main()

    lines = capsys.readouterr().out.splitlines()
    told = {line[2:13].strip(): line[0] for line in lines if line[:1] in {"✓", "✗"}}
    assert status == 1
    assert list(told) == [
        *("start", "repeat", "event", "pause", "late start", "resume", "callbacks", "forgery", "reconcile"),
        *("archive", "link", "events", "deletion"),
    ]
    assert [name for name, mark in told.items() if mark == "✗"] == ["deletion"], lines
    assert "Twilio still has it" in next(line for line in lines if line.startswith("✗"))
    assert lines[-1].startswith("Broken: deletion.")
    # A real run has two lines more of progress.
    assert len(lines) + 2 <= 40
    assert [line for line in lines[:-1] if len(line) > 110] == []
