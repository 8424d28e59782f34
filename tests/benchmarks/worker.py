"""One Lambda execution environment: imports a handler, answers one event, and then as many as it is told to.

A program of its own, started with its subject's folders and nothing else on the path. What it has to
tell, it tells on the standard output; what the handler writes there goes nowhere.
"""

import importlib
import io
import json
import os
import sys
import time
from typing import Any


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
    """Start cold, answer once, then measure the warm calls that are asked for, a number on each line."""
    paths, module_name, makers, text = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w") as told:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

        sys.path += paths
        module = importlib.import_module(module_name)
        for maker in makers:
            getattr(module, maker)()
        tell: dict[str, Any] = {"ready_cpu": time.process_time()}
        if text:
            tell["status"] = module.handler(json.loads(text), Context())["statusCode"]
            tell["answered_cpu"] = time.process_time()
        told.write(json.dumps(tell) + "\n")
        told.flush()

        if text:
            answer_from_memory()
        for count in sys.stdin:
            told.write(json.dumps(own_seconds(module, text, int(count))) + "\n")
            told.flush()
    os._exit(0)


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
    best = float("inf")
    for _ in range(10):
        events = [json.loads(text) for _ in range(calls // 10)]
        began = time.process_time_ns()
        for event in events:
            module.handler(event, Context())
        best = min(best, (time.process_time_ns() - began) / len(events) / 1e9)
    return best


if __name__ == "__main__":
    main()
