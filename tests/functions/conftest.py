"""Ways to ask for a recording that several modules here use."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import Bus, Context


@pytest.fixture
def ask(start_recording: ModuleType, sample: Callable[[str], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return a function that asks over HTTP and gives the answer, its JSON under `json`."""

    def send(body: object = None, *, key: str | None = None, **changes: Any) -> dict[str, Any]:
        event = sample("start-rest-api.json") | {"body": json.dumps(body or {})} | changes
        if key is not None:
            event["headers"] = event["headers"] | {"Idempotency-Key": key}
        answer: dict[str, Any] = start_recording.handler(event, Context())
        return answer | {"json": json.loads(answer["body"])}

    return send


@pytest.fixture
def put_event(start_recording: ModuleType, sample: Callable[[str], dict[str, Any]]) -> Callable[..., None]:
    """Return a function that hands the sample event over, with changes."""

    def put(**changes: Any) -> None:
        start_recording.handler(sample("start-eventbridge.json") | changes, Context())

    return put


@pytest.fixture
def bus(aws: None) -> Bus:
    return Bus()
