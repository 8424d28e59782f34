"""The page of `make local`: the rows, the published events, and a button for each thing to try. Never deployed.

It needs no sign-in, so it listens only on loopback and answers only its own page: no cross-site requests from other
pages, and no other host names (DNS rebinding).
"""

import contextlib
import functools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import requests
from flask import Flask, Response, abort, jsonify, redirect, request, send_file
from flask.json.provider import DefaultJSONProvider
from werkzeug.serving import make_server
from werkzeug.wrappers import Response as AnyResponse

from call_recording.recordings.row import plain
from local.stack import Stack
from local.twilio_simulator.model import Call

type Published = Callable[[], list[dict[str, Any]]]

_FOLDER: Final = Path(__file__).parent
_LOOPBACK: Final = "127.0.0.1"
_LOOKS_AGAIN_SECONDS: Final = 0.5
_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        "media-src 'self' http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _InOrder(DefaultJSONProvider):
    """Answers are shown unchanged."""

    sort_keys = False


@contextlib.contextmanager
def serving(stack: Stack, published: Published) -> Iterator[str]:
    """Serve the page; yield its URL. `published` returns the events published so far."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(_LOOPBACK, 0, _app(stack, published), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{_LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _app(stack: Stack, published: Published) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.json = _InOrder(app)
    app.before_request(_refuse_strangers)
    app.after_request(_protect)
    app.register_error_handler(requests.RequestException, _tell_of)
    for path, name in (("/", "page.html"), ("/page.js", "page.js")):
        app.add_url_rule(path, name, functools.partial(send_file, _FOLDER / name))
    _show(app, stack, published)
    _act(app, stack)
    return app


def _refuse_strangers() -> None:
    port = request.environ["SERVER_PORT"]  # the address of this server, whatever the request says
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if host not in {f"{_LOOPBACK}:{port}", f"localhost:{port}"}:
        abort(403, "This page answers to 127.0.0.1 and localhost only.")
    # A page of another program on this machine has the same site but another origin. Links to this page are allowed.
    is_foreign = request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"} and request.path != "/"
    if is_foreign or origin not in {None, f"http://{host}"}:
        abort(403, "This page answers to itself only.")
    # If a browser sends neither header, another page's form cannot send this content type.
    if request.method == "POST" and not request.is_json:
        abort(415, "Send application/json.")


def _protect(response: Response) -> Response:
    response.headers.update(_SECURITY)
    return response


def _tell_of(error: requests.RequestException) -> tuple[Response, int]:
    asked = f"{request.method} {request.path}"
    return jsonify(asked=asked, sent={}, status="no answer", answer={"error": type(error).__name__}), 504


def _show(app: Flask, stack: Stack, published: Published) -> None:
    listens = threading.Lock()

    def events() -> list[dict[str, Any]]:
        with listens:
            return published()

    @app.get("/state")
    def state() -> Response:
        return jsonify(calls=_calls(stack), rows=_rows(stack), events=events())

    @app.get("/events")
    def follow() -> Response:
        def lines() -> Iterator[str]:
            shown = 0
            while True:
                told = events()
                yield "".join(f"{json.dumps(event)}\n" for event in told[shown:])
                shown = len(told)
                time.sleep(_LOOKS_AGAIN_SECONDS)

        return Response(lines(), content_type="application/x-ndjson")

    @app.get("/recordings/<recording_sid>/audio")
    def audio(recording_sid: str) -> AnyResponse:
        answer = stack.call_control_api("GET", f"/recordings/{recording_sid}/media?Reason=local%20page", follow=False)
        if answer.status_code != requests.codes.found:
            return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])
        return redirect(answer.headers["Location"])


def _act(app: Flask, stack: Stack) -> None:
    @app.post("/calls")
    def place() -> Response:
        with stack.simulator.locked() as twilio:
            return jsonify(call_sid=twilio.begin_call(stack.account_sid).sid)

    @app.post("/calls/<call_sid>/<action>")
    def act(call_sid: str, action: str) -> Response:
        call = stack.simulator.twilio.calls.get(call_sid)
        if call is None or action not in _ACTIONS:
            abort(404)
        return jsonify(_ACTIONS[action](stack, call))


def _calls(stack: Stack) -> list[dict[str, Any]]:
    """Return the calls at the simulated Twilio, the latest first; the table may not have them yet."""
    with stack.simulator.locked() as twilio:
        now, recordings = time.time(), list(twilio.recordings.values())
        return [
            {
                "sid": call.sid,
                "status": call.status(now),
                "recordings": sum(one.call is call for one in recordings),
                "heard_in": sum(one.call is call and one.can_be_heard(now) for one in recordings),
            }
            for call in reversed(twilio.calls.values())
        ]


def _rows(stack: Stack) -> list[dict[str, Any]]:
    """Return every row, the latest recording first."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.recordings_table)
    rows = [plain(item) for page in pages for item in page["Items"]]
    return sorted(rows, key=lambda row: (str(row.get("start_time", "")), row["recording_sid"]), reverse=True)


def _start(stack: Stack, call: Call) -> dict[str, Any]:
    # Each press is a new request.
    key = {"Idempotency-Key": uuid.uuid4().hex}
    return _ask(stack, f"/calls/{call.sid}/recordings", {"RecordingChannels": "dual"}, key)


def _pause(stack: Stack, call: Call) -> dict[str, Any]:
    return _ask(stack, f"/calls/{call.sid}/recordings/ALL", {"Status": "paused", "ResumeWithinSeconds": 120})


def _resume(stack: Stack, call: Call) -> dict[str, Any]:
    return _ask(stack, f"/calls/{call.sid}/recordings/ALL", {"Status": "in-progress"})


def _ask(stack: Stack, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = stack.call_control_api("POST", path, json=body, headers=headers)
    sent = {"headers": headers or {}, "body": body}
    return {"asked": f"POST {path}", "sent": sent, "status": answer.status_code, "answer": answer.json()}


def _hang_up(stack: Stack, call: Call) -> dict[str, Any]:
    with stack.simulator.locked() as twilio:
        twilio.hang_up(call.sid)
    return {"asked": "Hang up at the simulated Twilio", "sent": {}, "status": 200, "answer": {"call_sid": call.sid}}


def _forge(stack: Stack, call: Call) -> dict[str, Any]:
    """Report the call's latest recording as empty, like a forger without the auth token."""
    of_call = [sid for sid, one in stack.simulator.twilio.recordings.items() if one.call is call]
    forged = {
        "AccountSid": call.account_sid,
        "CallSid": call.sid,
        "RecordingSid": (of_call or [f"RE{uuid.uuid4().hex}"])[-1],
        "RecordingStatus": "absent",
    }
    signature = {"X-Twilio-Signature": "Zm9yZ2Vk"}
    answer = requests.post(stack.webhook_local_url, data=forged, headers=signature, timeout=30)
    sent = {"headers": signature, "body": forged}
    return {"asked": "POST /recording-status", "sent": sent, "status": answer.status_code, "answer": answer.json()}


_ACTIONS: Final[dict[str, Callable[[Stack, Call], dict[str, Any]]]] = {
    "start": _start,
    "pause": _pause,
    "resume": _resume,
    "hang-up": _hang_up,
    "forge": _forge,
}
