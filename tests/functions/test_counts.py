"""What a warm call asks of AWS and of Twilio, counted: each is money and a moment that somebody waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from call_recording import clients
from generators.sample_events import RECORDING_SID
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Context, Time

Ask = Callable[..., dict[str, Any]]
Sample = Callable[[str], dict[str, Any]]


@contextmanager
def counted() -> Iterator[list[str]]:
    """Give the list of the AWS operations that are called from now on."""
    called: list[str] = []
    made = [clients.dynamodb(), clients.events(), clients.secrets_manager(), clients.sqs()]

    def count(model: Any, **_: object) -> None:
        called.append(model.name)

    for client in made:
        client.meta.events.register("before-call", count)
    yield called
    for client in made:
        client.meta.events.unregister("before-call", count)


def test_a_warm_callback_is_one_call(recording_status: ModuleType, sample: Sample) -> None:
    def receive(status: str) -> int:
        answer: int = recording_status.handler(sample(f"callback-post-{status}.json"), Context())["statusCode"]
        return answer

    assert receive("in-progress") == 204

    with counted() as called:
        assert receive("completed") == 204

    assert called == ["UpdateItem"]


def test_a_start_after_quiet_minutes_asks_for_the_secret_when_all_else_is_done(
    ask: Ask, twilio: TwilioServer, time: Time
) -> None:
    assert ask({})["statusCode"] == 201
    time.turn(3600)
    requests = len(twilio.twilio.requests)

    with counted() as called:
        assert ask({}, key="a-key")["statusCode"] == 201

    # And whether anything is paused: for two seconds, nobody then needs to look again.
    assert called == ["UpdateItem", "BatchGetItem", "PutItem", "UpdateItem", "GetSecretValue"]
    assert len(twilio.twilio.requests) == requests + 1


@pytest.mark.parametrize(
    ("key", "expected"),
    [(None, ["PutItem"]), ("a-key", ["UpdateItem", "PutItem", "UpdateItem"])],
    ids=["without a key", "with a key"],
)
def test_a_warm_start_is_one_call_or_three_with_a_key(
    ask: Ask, twilio: TwilioServer, key: str | None, expected: list[str]
) -> None:
    assert ask({}, key="another-key")["statusCode"] == 201
    requests = len(twilio.twilio.requests)

    with counted() as called:
        answer = ask({"RecordingChannels": "dual"}, **({"key": key} if key else {}))

    assert answer["statusCode"] == 201
    assert called == expected
    assert len(twilio.twilio.requests) == requests + 1
    assert answer["json"]["sid"] != RECORDING_SID
