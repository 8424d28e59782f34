"""The simulated Twilio on a loopback port, with a few routes of its own to make calls happen."""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from local.twilio_simulator.audio import Audio
from local.twilio_simulator.delivery import Attempt, Route, deliver
from local.twilio_simulator.faults import RequestFault
from local.twilio_simulator.model import Account, SharedKey, new_sid
from local.twilio_simulator.twilio import Answer, Callback, Request, Twilio

_CONTROL: Final = "/_simulator/"
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
        """Give the simulated Twilio to one thread at a time."""
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
            is_control = address.path.startswith(_CONTROL)
            answer = _control(self.server.simulator, request) if is_control else twilio.handle(request)
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


def _control(simulator: TwilioServer, request: Request) -> Answer:
    """Answer the simulator's own routes, for a person with curl: see `_let_happen` and `_show`."""
    route = request.path.removeprefix(_CONTROL).split("/")
    told: object = None
    if request.method == "POST":
        told = _let_happen(simulator.twilio, route, json.loads(request.body or b"{}"))
    elif request.method == "GET":
        told = _show(simulator, route)
    return Answer(404) if told is None else Answer(200, (json.dumps(told, indent=2) + "\n").encode())


def _let_happen(twilio: Twilio, route: list[str], options: dict[str, Any]) -> object:
    """Do what a POST asks for, and return what to tell of it, or None if there is no such thing.

    `calls` (`account_sid`, `lasts_seconds`, `is_silent`, `parent_call_sid`, `in_progress_after_seconds`,
    `refuses_recordings`, all optional) begins a call, and `calls/{CallSid}/hang-up` ends it. `conferences`
    (`call_sids`) lets calls meet in one that is recorded. `accounts` opens an account. What Twilio's own routes for
    auth tokens do is `accounts/{AccountSid}/auth-tokens/secondary`, which makes a second one, and
    `…/promote`, which puts that in place of the first. `faults` (`requests`, `callbacks`, `media`:
    lists) is what goes wrong next.
    """
    told: object = None
    match route:
        case ["calls"]:
            account_sid = options.pop("account_sid", next(iter(twilio.accounts)))
            told = {"call_sid": twilio.begin_call(account_sid, **options).sid}
        case ["calls", call_sid, "hang-up"] if call_sid in twilio.calls:
            twilio.hang_up(call_sid)
            told = {"call_sid": call_sid}
        case ["conferences"] if (met := options.get("call_sids")) and all(sid in twilio.calls for sid in met):
            conference = twilio.begin_conference([twilio.calls[sid] for sid in met])
            recording = twilio.record_conference(conference)
            told = {"conference_sid": conference.sid, "recording_sid": recording.sid}
        case ["accounts"]:
            opened = twilio.add_account(Account(new_sid("AC"), secrets.token_hex(16)))
            told = {"account_sid": opened.sid, "auth_token": opened.auth_token}
        case ["accounts", account_sid, "auth-tokens", "secondary"] if account := twilio.accounts.get(account_sid):
            account.secondary_auth_token = secrets.token_hex(16)
            told = {"account_sid": account.sid, "secondary_auth_token": account.secondary_auth_token}
        case ["accounts", account_sid, "auth-tokens", "promote"] if account := twilio.accounts.get(account_sid):
            if promoted := account.secondary_auth_token:
                account.auth_token, account.secondary_auth_token = promoted, None
                told = {"account_sid": account.sid, "auth_token": promoted}
        case ["faults"]:
            faults = twilio.faults
            faults.requests += [fault and RequestFault(**fault) for fault in options.get("requests", [])]
            faults.callbacks += [tuple(delays) for delays in options.get("callbacks", [])]
            faults.media += options.get("media", [])
            told = {"requests": len(faults.requests), "callbacks": len(faults.callbacks), "media": len(faults.media)}
    return told


def _show(simulator: TwilioServer, route: list[str]) -> object:
    """Return what a GET asks for, or None if there is no such thing.

    `recordings` is what Twilio has, `requests` what it was asked for, and `callbacks` each attempt to
    call back, with the status that was answered.
    """
    match route:
        case ["recordings"]:
            return [recording.resource() for recording in simulator.twilio.recordings.values()]
        case ["requests"]:
            return [{"method": r.method, "path": r.path, "body": r.body.decode()} for r in simulator.twilio.requests]
        case ["callbacks"]:
            told = ("AccountSid", "RecordingSid", "RecordingStatus")
            return [
                {name: attempt.callback.parameters[name] for name in told} | {"answer": attempt.status}
                for attempt in simulator.attempts
            ]
    return None
