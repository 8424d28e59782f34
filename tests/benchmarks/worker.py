"""One Lambda execution environment: imports a handler, answers one event, and then as many as it is told to.

A program of its own, started with its subject's folders and nothing else on the path. What it has to
tell, it tells on the standard output; what the handler writes there goes nowhere.
"""

import importlib
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

        network = Network() if text else None
        for count in sys.stdin:
            taken = sorted(own_seconds(module, text, network) for _ in range(int(count)))
            told.write(json.dumps(taken[len(taken) // 2]) + "\n")
            told.flush()
    os._exit(0)


class Network:
    """What sending a request and reading its answer takes of the processor; every subject does it with urllib3."""

    def __init__(self) -> None:
        from urllib3.connectionpool import HTTPConnectionPool  # noqa: PLC0415 (the subject's own)

        self.taken_ns = 0
        send = HTTPConnectionPool.urlopen

        def timed(*args: Any, **named: Any) -> Any:
            began = time.process_time_ns()
            try:
                return send(*args, **named)
            finally:
                self.taken_ns += time.process_time_ns() - began

        HTTPConnectionPool.urlopen = timed  # type: ignore[method-assign]


def own_seconds(module: Any, text: str, network: Network | None) -> float:
    """Return what answering the event once takes of the processor, the network left out."""
    assert network
    event = json.loads(text)
    network.taken_ns, began = 0, time.process_time_ns()
    module.handler(event, Context())
    return (time.process_time_ns() - began - network.taken_ns) / 1e9


if __name__ == "__main__":
    main()
