"""Tokens rotate while calls run: no request and no callback is refused for it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from call_recording import clients
from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN
from local.api_gateway import http_api_event
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Context, Time, put_secret
from tests.functions.test_recording_status import signed

Ask = Callable[..., dict[str, Any]]


def received(app: ModuleType, *, auth_token: str, status: str = "completed") -> int:
    request = signed(auth_token=auth_token, RecordingStatus=status)
    event = http_api_event(request.method, request.url, headers=request.headers, body=request.body)
    answer: int = app.handler(event, Context())["statusCode"]
    return answer


def test_requests_go_on_through_every_step_of_a_rotation(ask: Ask, twilio: TwilioServer) -> None:
    account = twilio.twilio.accounts[ACCOUNT_SID]
    assert ask()["statusCode"] == 201

    account.secondary_auth_token = "new"
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "auth_token_secondary": "new"})
    assert ask()["statusCode"] == 201
    account.auth_token, account.secondary_auth_token = "new", None  # promoted
    assert ask()["statusCode"] == 201
    put_secret(ACCOUNT_SID, {"auth_token": "new"})
    assert ask()["statusCode"] == 201


@pytest.mark.parametrize("rest_seconds", [10, 3600], ids=["after ten seconds", "after an hour"])
def test_a_start_with_a_token_that_was_replaced_since_it_was_read_makes_one_recording(
    ask: Ask, twilio: TwilioServer, time: Time, rest_seconds: float
) -> None:
    assert ask()["statusCode"] == 201
    put_secret(ACCOUNT_SID, {"auth_token": "new"})
    twilio.twilio.accounts[ACCOUNT_SID].auth_token = "new"
    time.turn(rest_seconds)
    before = len(twilio.twilio.recordings)

    assert ask()["statusCode"] == 201

    assert len(twilio.twilio.recordings) == before + 1


def test_a_token_that_was_taken_out_of_the_secret_is_believed_for_five_minutes_and_no_longer(
    recording_status: ModuleType, time: Time
) -> None:
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "auth_token_secondary": "old"})
    assert received(recording_status, auth_token="old") == 204
    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN})
    time.turn(301)

    assert received(recording_status, auth_token="old") == 403


def test_callbacks_are_believed_through_every_step_of_a_rotation(recording_status: ModuleType, time: Time) -> None:
    assert received(recording_status, auth_token=AUTH_TOKEN) == 204

    put_secret(ACCOUNT_SID, {"auth_token": AUTH_TOKEN, "auth_token_secondary": "new"})
    assert received(recording_status, auth_token="new") == 204, "the cached secret does not know it yet"
    assert received(recording_status, auth_token=AUTH_TOKEN) == 204, "sent before the promotion"
    time.turn(11)
    put_secret(ACCOUNT_SID, {"auth_token": "newer"})
    assert received(recording_status, auth_token="newer") == 204


def test_forged_callbacks_do_not_become_calls_of_secrets_manager(recording_status: ModuleType, time: Time) -> None:
    reads: list[str] = []
    clients.secrets_manager().meta.events.register(
        "provide-client-params.secretsmanager.GetSecretValue", lambda params, **_: reads.append(params["SecretId"])
    )

    answers = {received(recording_status, auth_token="forged") for _ in range(100)}

    assert answers == {403}
    assert len(reads) == 2, "one to know the token, one to doubt it"
