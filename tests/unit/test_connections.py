"""A connection that died while the function was frozen costs a handshake: no wait, no look, no second recording."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any, override

import pytest

from call_recording import clients, clock
from call_recording.connections import IDLE, KeptConnections
from local.twilio_simulator.server import TwilioServer
from tests.conftest import Context, Time, load_app, rows

Sample = Callable[[str], dict[str, Any]]
HOURS = 2 * 3600
LONG = IDLE.total_seconds() + 1
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing a socket sends RST."""


class Wire:
    """A way to a server on this machine on which connections can die without either end's doing."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[socket.socket] = []
        self._dead: dict[socket.socket, str] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def die(self, how: str) -> None:
        """Have every connection that there is die: at the next bytes by `reset`, or by having them `swallowed`."""
        self._dead |= dict.fromkeys(self.connections, how)

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                server = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self._carry, args=(connection, server), daemon=True).start()
                threading.Thread(target=self._carry_back, args=(server, connection), daemon=True).start()

    def _carry(self, connection: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), server:
            while sent := connection.recv(65_536):
                how = self._dead.get(connection)
                if how == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.close()
                    return
                if how is None:
                    server.sendall(sent)

    def _carry_back(self, server: socket.socket, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while sent := server.recv(65_536):
                connection.sendall(sent)


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


class _Aws(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

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
    made = (clients.dynamodb, clients.events, clients.secrets_manager, clients.sqs, clients.logs, clients.scheduler)
    for client in made:
        client.cache_clear()
    yield wire
    for client in made:
        client.cache_clear()
    wire.close()
    server.shutdown()
    server.server_close()


CALLS: dict[str, Callable[[], Any]] = {
    "dynamodb": lambda: clients.dynamodb().get_item(TableName="rows", Key={"id": {"S": "1"}}),
    "secretsmanager": lambda: clients.secrets_manager().get_secret_value(SecretId="twilio"),
    "events": lambda: clients.events().put_events(Entries=[]),
    "sqs": lambda: clients.sqs().send_message(QueueUrl=f"{clients.sqs().meta.endpoint_url}/1/queue", MessageBody="1"),
    "logs": lambda: clients.logs().put_log_events(logGroupName="g", logStreamName="s", logEvents=[]),
}


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


def test_a_clock_that_was_set_back_proves_nothing(time: Time) -> None:
    closed: list[bool] = []
    connections = KeptConnections(lambda: closed.append(True))

    connections.before_use()
    time.turn(-3600)
    connections.before_use()

    assert closed == [True]
