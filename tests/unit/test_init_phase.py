"""What is made and fetched before the first request, when, and what that must not do."""

import random
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest
from urllib3.connection import HTTPConnection

from call_recording import clients, init_phase
from call_recording.errors import CredentialsUnavailableError
from call_recording.twilio import api
from call_recording.twilio.accounts import Accounts
from generators.sample_events import ACCOUNT_SID
from local.twilio_simulator.model import Account
from local.twilio_simulator.server import TwilioServer
from tests.conftest import IDEMPOTENCY_TABLE, SETTINGS, Context, Time, load_app, put_secret, set_environment

Sample = Callable[[str], dict[str, Any]]
FOLDERS = (
    *("archive_recording", "publish_changes", "reconcile_recordings", "recording_status", "recordings_api"),
    "start_recording",
)
type Fetch = Callable[[], object]


@pytest.fixture
def lambda_is(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes this Lambda, and says how it initializes."""
    return lambda kind: monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that does what Lambda's runtime does once a snapshot was restored."""
    hooks: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
    runtime: Any = ModuleType("snapshot_restore_py")
    runtime.register_after_restore = lambda hook, *arguments: hooks.append((hook, arguments))
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)

    def restore() -> None:
        for hook, arguments in hooks:
            hook(*arguments)

    return restore


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes out: each call to AWS by its operation, each new connection to Twilio, each request on one."""
    seen: list[str] = []
    connect, send = HTTPConnection.connect, api.Session.send

    def connected(connection: HTTPConnection) -> None:
        seen.append("connect")
        connect(connection)

    def sent(session: api.Session, request: Any, **named: Any) -> Any:
        seen.append(request.method)
        return send(session, request, **named)

    monkeypatch.setattr(HTTPConnection, "connect", connected)
    monkeypatch.setattr(api.Session, "send", sent)
    for client in (clients.dynamodb(), clients.secrets_manager()):
        client.meta.events.register("before-call", lambda model, **_: seen.append(model.name))
    return seen


def settings_of(monkeypatch: pytest.MonkeyPatch, twilio: TwilioServer) -> None:
    for kind in SETTINGS.values():
        for name in kind.variables():
            monkeypatch.setenv(name, "1" if name.endswith(("CONCURRENCY", "DAYS", "MINUTES", "RECEIVES")) else "wav")
    set_environment(monkeypatch, TWILIO_API_URL=twilio.url, EVENT_BUS_NAME="default")


@pytest.fixture
def given(aws: None, twilio: TwilioServer, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that any function asks its environment for."""
    api.session.cache_clear()
    settings_of(monkeypatch, twilio)


@pytest.mark.parametrize("function", FOLDERS)
def test_importing_a_function_outside_of_lambda_makes_nothing_and_reads_nothing(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in SETTINGS.values():
        for name in kind.variables():
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_LAMBDA_INITIALIZATION_TYPE", raising=False)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: pytest.fail("a client was made"))

    load_app(function)


@pytest.mark.parametrize("kind", ["on-demand", "provisioned-concurrency", "snap-start"])
@pytest.mark.parametrize("function", FOLDERS)
def test_in_lambda_a_function_has_made_its_clients_before_its_first_request(
    given: None,
    restore: Fetch,
    lambda_is: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    kind: str,
) -> None:
    made: list[str] = []
    make = boto3.client

    def note(name: Any, **named: Any) -> Any:
        made.append(name)
        return make(name, **named)

    monkeypatch.setattr(boto3, "client", note)
    lambda_is(kind)

    load_app(function)

    talks_to_rows = function != "publish_changes"
    assert ("dynamodb" if talks_to_rows else "events") in made
    assert len(made) == len(set(made))


def first_start(app: ModuleType, sample: Sample, *, key: str | None = None) -> int:
    event = sample("start-rest-api.json")
    event["headers"] = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    event["multiValueHeaders"] = {name: [value] for name, value in event["headers"].items()}
    status: int = app.handler(event, Context())["statusCode"]
    return status


@pytest.mark.parametrize(("key", "claim"), [(None, []), ("a-key", ["UpdateItem"])], ids=["without a key", "with a key"])
def test_nothing_but_the_claim_stands_between_a_first_start_and_twilio(
    given: None,
    network: list[str],
    lambda_is: Callable[[str], None],
    sample: Sample,
    key: str | None,
    claim: list[str],
) -> None:
    lambda_is("on-demand")
    app = load_app("start_recording")
    assert sorted(network) == ["BatchGetItem", "GetItem", "GetSecretValue", "connect"]
    network.clear()

    assert first_start(app, sample, key=key) == 201

    assert network[: network.index("POST")] == claim
    assert "connect" not in network


def test_an_account_that_was_met_before_is_not_noted_again(
    given: None, network: list[str], lambda_is: Callable[[str], None], sample: Sample, twilio: TwilioServer
) -> None:
    other = "AC" + "7" * 32
    twilio.twilio.add_account(Account(other, "token-of-the-other"))
    put_secret(other, {"auth_token": "token-of-the-other"})
    Accounts(clients.dynamodb(), IDEMPOTENCY_TABLE, ACCOUNT_SID).note(other)
    lambda_is("on-demand")
    app = load_app("start_recording")
    network.clear()

    app.starter().accounts.note(other)

    assert network == []


def test_what_cannot_be_fetched_ahead_fails_no_init_phase(
    given: None, lambda_is: Callable[[str], None], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens where Twilio should be, there is no table, and no secret."""
    monkeypatch.setenv("TWILIO_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("IDEMPOTENCY_TABLE", "nowhere")
    monkeypatch.setenv("TWILIO_SECRET_PREFIX", "nothing/")
    lambda_is("on-demand")

    app = load_app("start_recording")

    assert first_start(app, sample) == 422


def test_an_init_phase_waits_for_what_hangs_only_so_long(
    lambda_is: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = threading.Event()
    monkeypatch.setattr(init_phase, "_MOST_SECONDS", 0.01)
    lambda_is("on-demand")

    init_phase.early(lambda: Made([ends.wait]))

    ends.set()


class Made:
    """Something that can fetch ahead."""

    def __init__(self, fetches: list[Fetch]) -> None:
        self.ahead = lambda: fetches


def test_one_fetch_that_fails_does_not_keep_the_others(lambda_is: Callable[[str], None]) -> None:
    done: list[str] = []
    lambda_is("on-demand")

    def fails() -> None:
        raise CredentialsUnavailableError(ACCOUNT_SID)

    init_phase.early(lambda: Made([fails, lambda: done.append("fetched")]))

    assert done == ["fetched"]


def test_a_snapshot_has_the_clients_and_no_connection_and_no_secret(
    given: None,
    network: list[str],
    restore: Fetch,
    lambda_is: Callable[[str], None],
    sample: Sample,
    twilio: TwilioServer,
) -> None:
    lambda_is("snap-start")
    app = load_app("start_recording")
    assert network == []
    put_secret(ACCOUNT_SID, {"auth_token": "rotated"})  # between the snapshot and its restoration
    twilio.twilio.accounts[ACCOUNT_SID] = Account(ACCOUNT_SID, "rotated")

    restore()

    assert sorted(network) == ["BatchGetItem", "GetItem", "GetSecretValue", "connect"]
    network.clear()
    assert first_start(app, sample) == 201
    assert network[0] == "POST"


def drawn_by_two(restore: Fetch) -> list[float]:
    """Return what each of two environments from one snapshot draws first."""
    snapshot, drawn = random.getstate(), []
    for _ in range(2):
        random.setstate(snapshot)
        restore()
        drawn.append(random.random())  # noqa: S311 (that is what is tested)
    return drawn


def test_environments_from_one_snapshot_do_not_draw_the_same(
    restore: Fetch, lambda_is: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stirred: list[tuple[bytes, float]] = []
    monkeypatch.setattr("ssl.RAND_add", lambda fresh, entropy: stirred.append((fresh, entropy)))
    lambda_is("snap-start")
    init_phase.early(lambda: Made([]))

    drawn = drawn_by_two(restore)

    assert drawn[0] != drawn[1]
    assert stirred[0] != stirred[1]
    assert {(len(fresh), entropy) for fresh, entropy in stirred} == {(32, 32.0)}


@pytest.mark.parametrize("function", FOLDERS)
def test_no_two_environments_of_a_function_from_one_snapshot_wait_alike(
    given: None, restore: Fetch, lambda_is: Callable[[str], None], function: str
) -> None:
    """Our own back-offs draw from `random`, as boto3's and tenacity's do."""
    lambda_is("snap-start")
    load_app(function)

    drawn = drawn_by_two(restore)

    assert drawn[0] != drawn[1]
