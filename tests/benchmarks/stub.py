"""AWS and Twilio as one server on loopback, over TLS, that says yes to everything, always in the same words."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Final

from generators.sample_events import ACCOUNT_SID, AUTH_TOKEN, CALL_SID
from local.twilio_simulator.model import Call, Recording, new_sid
from tests.tls import server_context

_STARTED: Final = 1795332780.0


def _recording() -> bytes:
    recording = Recording(new_sid("RE"), Call(CALL_SID, ACCOUNT_SID), 2, "both", "do-not-trim", _STARTED, None)
    return json.dumps(recording.resource(status="in-progress")).encode()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    secret: ClassVar = json.dumps(
        {
            "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:twilio",
            "Name": f"twilio/{ACCOUNT_SID}",
            "SecretString": json.dumps({"auth_token": AUTH_TOKEN}),
            "VersionId": "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE",
            "CreatedDate": _STARTED,
        }
    ).encode()
    nothing: ClassVar = {"BatchGetItem": b'{"Responses": {}, "UnprocessedKeys": {}}'}
    """What DynamoDB always names in its answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target", "")
        if target.startswith("secretsmanager"):
            self._answer(200, "application/x-amz-json-1.1", self.secret)
        elif target.startswith("DynamoDB"):
            self._answer(200, "application/x-amz-json-1.0", self.nothing.get(target.partition(".")[2], b"{}"))
        else:
            self._answer(201, "application/json", _recording())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Connections that die are a part of what is measured."""


def main() -> None:
    """Print the port and serve until the end, proven by the file that the argument names."""
    server = _Server(("127.0.0.1", 0), _Answers)
    context = server_context(Path(sys.argv[1]))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
