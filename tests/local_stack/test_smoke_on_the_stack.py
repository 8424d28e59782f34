"""What the smoke test does with a recording, on the local stack: the steps are those of AWS and Twilio themselves."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from local.stack import Stack
from local.twilio_simulator.model import Call
from operations.smoke.recording import record
from operations.smoke.report import NotAsExpectedError, Report


class SimulatedPhone:
    """Hangs a call of the simulator's up."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def hang_up(self, call_sid: str) -> None:
        with self._stack.simulator.locked() as twilio:
            twilio.hang_up(call_sid)


def test_every_step_of_the_smoke_test_is_as_it_should_be(stack: Stack, call: Call, tmp_path: Path) -> None:
    def send(method: str, path: str, params: dict[str, str] | None = None, **asked: Any) -> requests.Response:
        return stack.call_control_api(method, f"{path}?{urlencode(params or {})}", follow=False, **asked)

    report = Report("One call", hidden={})

    record(send, SimulatedPhone(stack), call.sid, report, talk_seconds=1.0)

    report.write(tmp_path / "report.md")
    assert report.is_good
    assert len(report.steps) == 8
    assert "✗" not in (tmp_path / "report.md").read_text()
    assert "Idempotent-Replayed: true" in (tmp_path / "report.md").read_text()


def test_a_call_that_is_over_ends_the_smoke_test_at_its_first_step(stack: Stack, call: Call) -> None:
    SimulatedPhone(stack).hang_up(call.sid)
    report = Report("One call", hidden={})

    with pytest.raises(NotAsExpectedError, match="HTTP 409 instead of 201"):
        record(stack.call_control_api, SimulatedPhone(stack), call.sid, report, talk_seconds=0)
    assert not report.is_good
