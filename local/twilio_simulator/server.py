"""The simulated Twilio on a loopback port, with a few routes of its own to create calls."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from local.twilio_simulator.audio import Audio
from local.twilio_simulator.control import CONTROL, control
from local.twilio_simulator.delivery import Attempt, Route, deliver
from local.twilio_simulator.model import SharedKey
from local.twilio_simulator.twilio import Callback, Request, Twilio

_IDLE_SECONDS: Final = 0.05
_CLOSING_SECONDS: Final = 0.01
"""How long closing may take; there are hundreds of servers in a run of the tests."""

_HANG_SECONDS: Final = 60.0


class TwilioServer:
    """Serves one `Twilio` and delivers its callbacks until it is closed.

    `route` says where on this machine a public URL is; without it callbacks go where they say.
    """

    def __init__(self, *, route: Route = lambda url: (url, {})) -> None:
        self.route = route
        self.attempts: list[Attempt] = []
        self.lock = threading.RLock()
        self._closing = threading.Event()
        self._http = _HttpServer(("127.0.0.1", 0), _Handler)
        self._http.simulator = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.twilio = Twilio(clock=time.time, base_url=self.url)
        self._senders = ThreadPoolExecutor(max_workers=16, thread_name_prefix="twilio-callback")
        self._threads = [
            threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": _CLOSING_SECONDS}, daemon=True),
            threading.Thread(target=self._run_clock, daemon=True),
        ]

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop serving; callbacks that are on their way are waited for."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join()
        self._senders.shutdown(wait=True, cancel_futures=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[Twilio]:
        """Allow only one thread at a time to use the simulated Twilio."""
        with self.lock:
            yield self.twilio

    def wait_out_hang(self) -> None:
        """Keep a connection silent for as long as any client would wait."""
        self._closing.wait(_HANG_SECONDS)

    def _run_clock(self) -> None:
        while not self._closing.wait(_IDLE_SECONDS):
            with self.locked() as twilio:
                due = [
                    (callback, account.auth_token, account.shared_key)
                    for callback in twilio.due_callbacks()
                    if (account := twilio.accounts[callback.account_sid])
                ]
            for callback, auth_token, shared_key in due:
                self._senders.submit(self._deliver, callback, auth_token, shared_key)

    def _deliver(self, callback: Callback, auth_token: str, shared_key: SharedKey | None) -> None:
        attempts = deliver(callback, auth_token=auth_token, shared_key=shared_key, route=self.route)
        with self.lock:
            self.attempts += attempts


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    simulator: TwilioServer


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each body waits 40 ms for the client to acknowledge its headers

    def _respond(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, address.path, address.query, headers, body)
        with self.server.simulator.locked() as twilio:
            is_control = address.path.startswith(CONTROL)
            attempts = self.server.simulator.attempts
            answer = control(twilio, attempts, request) if is_control else twilio.handle(request)
        if answer.transport == "hang":
            self.server.simulator.wait_out_hang()
        if answer.transport != "send" and not answer.audio:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.content_type, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(answer.audio.length if answer.audio else len(answer.body)))
        self.end_headers()
        if answer.audio:
            # A client that has seen enough may hang up.
            with contextlib.suppress(ConnectionError):
                self._stream(answer.audio, is_cut=answer.transport == "cut")
        else:
            self.wfile.write(answer.body)

    def _stream(self, audio: Audio, *, is_cut: bool) -> None:
        sent = 0
        for piece in audio.pieces:
            if is_cut and sent + len(piece) > audio.length // 2:
                self.wfile.write(piece[: audio.length // 2 - sent])
                self.close_connection = True
                return
            self.wfile.write(piece)
            sent += len(piece)

    do_GET = do_POST = do_DELETE = _respond  # noqa: N815 (the base class's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Say nothing: the requests are kept in `Twilio.requests`."""
