"""A connection that died while the function was frozen costs a handshake: no wait, no look, no second recording."""

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, override

import pytest
import requests

from call_recording import clients, clock
from call_recording.connections import IDLE, KeptConnections
from call_recording.twilio.api import session
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Context, Time, load_app, rows
from tests.tls import Authority
from tests.wire import Wire

Sample = Callable[[str], dict[str, Any]]
HOURS = 2 * 3600
LONG = IDLE.total_seconds() + 1


@pytest.fixture
def wire(twilio: TwilioServer) -> Iterator[Wire]:
    wire = Wire(int(twilio.url.rpartition(":")[2]))
    yield wire
    wire.close()


@pytest.fixture
def start(
    start_recording: ModuleType, sample: Sample, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dict[str, Any]]:
    monkeypatch.setenv("TWILIO_API_URL", wire.url)
    app = load_app("start_recording")
    return lambda: app.handler(sample("start-rest-api.json"), Context())


def asked(twilio: TwilioServer) -> list[str]:
    return [request.method for request in twilio.twilio.requests]


@pytest.mark.parametrize("how", ["reset", "swallowed"])
@pytest.mark.parametrize("frozen_seconds", [LONG, HOURS])
def test_a_start_on_a_connection_that_died_while_frozen_is_asked_once_and_at_once(
    start: Callable[[], dict[str, Any]], wire: Wire, twilio: TwilioServer, time: Time, how: str, frozen_seconds: float
) -> None:
    assert start()["statusCode"] == 201
    wire.die(how)
    time.turn(frozen_seconds)
    began = clock.monotonic()

    assert start()["statusCode"] == 201

    assert asked(twilio) == ["POST", "POST"], "nothing to look for"
    assert len(twilio.twilio.recordings) == len(rows()) == 2
    assert clock.monotonic() == began, "nothing to wait for"


def test_a_connection_that_is_in_use_is_kept(start: Callable[[], dict[str, Any]], wire: Wire, time: Time) -> None:
    for _ in range(5):
        start()
        time.turn(IDLE.total_seconds() - 1)

    assert len(wire.connections) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_a_connection_that_was_opened_ahead_is_the_one_that_is_sent_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    """A server of TLS 1.3 says something of itself first: that is no reason to take it for dead."""
    authority = Authority.make()
    context = authority.context()
    context.minimum_version = context.maximum_version = version
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    wire = Wire(server.server_port)
    (tmp_path / "authority.pem").write_text(authority.pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    url = f"https://127.0.0.1:{wire.port_here}"
    kept = session(url)

    kept.connect(url)
    threading.Event().wait(0.2)  # for all that the server says of itself
    assert kept.send(requests.Request("POST", url, data=b"x").prepare(), timeout=5).ok

    assert len(wire.connections) == 1
    kept.close()
    wire.close()
    server.shutdown()
    server.server_close()


def test_nothing_is_opened_ahead_where_nobody_listens() -> None:
    url = "https://127.0.0.1:9"

    session(url).connect(url)


FACTORIES: dict[str, Any] = {name: made for name, made in vars(clients).items() if hasattr(made, "cache_clear")}
"""Everything that makes a client of AWS."""


class _Aws(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_DELETE(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def aws_wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A way to an AWS that answers everything with nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    wire = Wire(server.server_port)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": wire.url,
    }.items():
        monkeypatch.setenv(name, value)
    for client in FACTORIES.values():
        client.cache_clear()
    yield wire
    for client in FACTORIES.values():
        client.cache_clear()
    wire.close()
    server.shutdown()
    server.server_close()


CALLS: dict[str, Callable[[], Any]] = {
    "dynamodb": lambda: clients.dynamodb().get_item(TableName="rows", Key={"id": {"S": "1"}}),
    "secrets_manager": lambda: clients.secrets_manager().get_secret_value(SecretId="twilio"),
    "events": lambda: clients.events().put_events(Entries=[]),
    "sqs": lambda: clients.sqs().send_message(QueueUrl=f"{clients.sqs().meta.endpoint_url}/1/queue", MessageBody="1"),
    "logs": lambda: clients.logs().put_log_events(logGroupName="g", logStreamName="s", logEvents=[]),
    "s3": lambda: clients.s3().head_bucket(Bucket="archive"),
    "scheduler": lambda: clients.scheduler().delete_schedule(Name="timer"),
}


def test_there_is_a_call_of_every_client() -> None:
    assert CALLS.keys() == FACTORIES.keys()


@pytest.mark.parametrize("how", ["reset", "swallowed"])
@pytest.mark.parametrize("service", CALLS)
def test_aws_is_asked_once_and_at_once_after_a_rest(aws_wire: Wire, time: Time, service: str, how: str) -> None:
    call = CALLS[service]
    call()
    aws_wire.die(how)
    time.turn(LONG)

    answer = call()

    assert answer["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(aws_wire.connections) == 2


def test_connections_to_aws_that_are_in_use_are_kept(aws_wire: Wire, time: Time) -> None:
    for _ in range(5):
        CALLS["dynamodb"]()
        time.turn(IDLE.total_seconds() - 1)

    assert len(aws_wire.connections) == 1


def test_an_answer_that_was_read_long_after_it_had_arrived_proves_nothing(time: Time) -> None:
    """Lambda froze the function in between, while a thread of its init phase was reading."""
    closed: list[bool] = []
    connections = KeptConnections(lambda: closed.append(True))

    connections.before_use()
    time.turn(HOURS)
    connections.after_use()
    connections.before_use()

    assert closed == [True]


def test_a_clock_that_was_set_back_proves_nothing(time: Time) -> None:
    closed: list[bool] = []
    connections = KeptConnections(lambda: closed.append(True))

    connections.before_use()
    time.turn(-3600)
    connections.before_use()

    assert closed == [True]
