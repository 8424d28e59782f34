"""`python -m local demo [--verbose]`, `python -m local serve` and `python -m local stop`."""

import signal
import sys

from local import demo, serve

_VERBS = {"demo": lambda: demo.main(is_verbose="--verbose" in sys.argv), "serve": serve.main, "stop": serve.stop_main}

if __name__ == "__main__":
    # The stack is ended in good order, also where a shell starts us with Ctrl-C ignored.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    try:
        sys.exit(_VERBS[sys.argv[1]]())
    except KeyboardInterrupt:
        if sys.argv[1] != "stop":
            print("\nStopped; nothing is left running.")  # noqa: T201
        sys.exit(0 if sys.argv[1] == "serve" else 128 + signal.SIGINT)
