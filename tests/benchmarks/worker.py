"""One Lambda execution environment: imports a handler, answers one event, and then does what it is told.

A program of its own, started with its subject's folders and nothing else on the path. What it has to
tell, it tells on the standard output; what the handler writes there goes nowhere.
"""

import functools
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

_CREATE = "/Recordings.json"


class Context:
    """A Lambda context as far as handlers look at it."""

    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-154f-163f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left, always as many."""
        return 28_000


def main() -> None:
    """Start cold, answer once if that is asked for, then do what each line says."""
    paths, module_name, makers, text, answers = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

        sys.path += paths
        module = importlib.import_module(module_name)
        for maker in makers:
            getattr(module, maker)()
        tell: dict[str, Any] = {"ready_cpu": time.process_time()}
        if answers:
            tell["status"] = module.handler(json.loads(text), Context())["statusCode"]
            tell["answered_cpu"] = time.process_time()
        told.write(json.dumps(tell) + "\n")
        told.flush()

        for line in sys.stdin:
            command, _, number = line.partition(" ")
            told.write(json.dumps(COMMANDS[command.strip()](module, text, int(number or 0))) + "\n")
            told.flush()
    os._exit(0)


@functools.cache
def answer_from_memory() -> None:
    """Give every request, from now on, the answer that the same request got first.

    What is left is what a handler does itself. Every subject sends its requests with urllib3; what a
    socket and the other process take of a shared machine is many times that, and says nothing of the
    handler.
    """
    from urllib3 import HTTPResponse  # noqa: PLC0415 (the subject's own)
    from urllib3.connectionpool import HTTPConnectionPool  # noqa: PLC0415

    answers: dict[Any, tuple[int, Any, bytes]] = {}
    send = HTTPConnectionPool.urlopen

    def answer(pool: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        key = (method, url, named["headers"].get("X-Amz-Target"))
        if key not in answers:
            response = send(pool, method, url, *args, **named)
            answers[key] = (response.status, response.headers, response.read())
        status, headers, body = answers[key]
        return HTTPResponse(io.BytesIO(body), headers, status, preload_content=False, request_method=method)

    HTTPConnectionPool.urlopen = answer  # type: ignore[assignment]


def own_seconds(module: Any, text: str, calls: int) -> float:
    """Return what answering the event takes of the processor: the best of ten batches of that many calls together.

    The best, as `timeit` has it: what others do on the machine only ever makes a batch slower.
    """
    answer_from_memory()
    best = float("inf")
    for _ in range(10):
        events = [json.loads(text) for _ in range(calls // 10)]
        began = time.process_time_ns()
        for event in events:
            module.handler(event, Context())
        best = min(best, (time.process_time_ns() - began) / len(events) / 1e9)
    return best


def call(module: Any, text: str, calls: int) -> float:
    """Answer the event that many times, through the network; return how long the last one took, in seconds."""
    return _last(module, text, calls, time.monotonic)


def processor(module: Any, text: str, calls: int) -> float:
    """Answer the event that many times, through the network; return what the last one took of the processor."""
    return _last(module, text, calls, time.process_time)


def _last(module: Any, text: str, calls: int, clock: Callable[[], float]) -> float:
    taken = 0.0
    for _ in range(calls):
        event = json.loads(text)
        began = clock()
        module.handler(event, Context())
        taken = clock() - began
    return taken


def rest(_module: Any, _text: str, seconds: int) -> None:
    """Turn our clock on, as if the function had been frozen for so long."""
    clock = importlib.import_module("call_recording.clock")
    now = clock.now
    clock.now = lambda: now() + timedelta(seconds=seconds)  # type: ignore[attr-defined]


def trips(module: Any, text: str, _number: int) -> int:
    """Answer the event once; return how many round trips come before the one that asks Twilio to record.

    A new connection is two of them, one for TCP and one for TLS 1.3; a request is one.
    """
    from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: PLC0415 (the subject's own)

    counted: list[int] = []
    before: list[int] = []
    connect, send = HTTPSConnection.connect, HTTPConnection.request

    def connected(connection: Any) -> None:
        counted.extend((1, 1))
        connect(connection)

    def sent(connection: Any, method: str, url: str, *args: Any, **named: Any) -> Any:
        if url.endswith(_CREATE):
            before.append(len(counted))
        counted.append(1)
        return send(connection, method, url, *args, **named)

    HTTPSConnection.connect = connected  # type: ignore[method-assign, assignment]
    HTTPConnection.request = sent  # type: ignore[method-assign, assignment]
    module.handler(json.loads(text), Context())
    HTTPSConnection.connect = connect  # type: ignore[method-assign]
    HTTPConnection.request = send  # type: ignore[method-assign]
    return before[0]


COMMANDS = {"own": own_seconds, "call": call, "processor": processor, "rest": rest, "trips": trips}


if __name__ == "__main__":
    main()
