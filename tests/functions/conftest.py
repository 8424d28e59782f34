"""Ways to ask for a recording that several modules here use."""

import json
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from call_recording.reconcile.reconciler import Reconciler
from tests.conftest import Bus, Context, timers


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


Api = Callable[..., dict[str, Any]]


@pytest.fixture
def api(recordings_api: ModuleType, sample: Callable[[str], dict[str, Any]]) -> Api:
    """Return a function that sends a sample request, with changes, and gives the answer, its JSON under `json`."""

    def send(
        name: str,
        body: object = None,
        *,
        key: str | None = None,
        path: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        event = sample(name)
        if body is not None:
            event["body"] = json.dumps(body)
        if key is not None:
            event["headers"] = event["headers"] | {"Idempotency-Key": key}
        if path is not None:
            event["pathParameters"] = path
        if query is not None:
            event["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()}
        answer: dict[str, Any] = recordings_api.handler(event, Context())
        headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
        return answer | {"json": json.loads(answer["body"]), "headers": headers}

    return send


@pytest.fixture
def fire(recordings_api: ModuleType) -> Callable[[], None]:
    """Do what EventBridge Scheduler does when the (only) timer of a pause is due."""

    def invoke() -> None:
        (timer,) = timers()
        recordings_api.handler(json.loads(timer["Target"]["Input"]), Context())

    return invoke


@pytest.fixture
def bus(aws: None) -> Bus:
    return Bus()


@pytest.fixture
def bounded(reconcile_recordings: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets a run send only so many requests, for each that it may send at once."""

    def bound(most_requests: int) -> None:
        monkeypatch.setattr(reconcile_recordings, "Reconciler", partial(Reconciler, most_requests=most_requests))

    return bound
