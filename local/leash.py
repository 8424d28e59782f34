"""`python -m local.leash`: runs MiniStack until the process that started it ends, for any reason.

Its standard input is a pipe from the starter. A starter that is killed cannot stop it, but the kernel closes the pipe.
"""

import os
import runpy
import signal
import threading
import time
from typing import Final

_STOP_SECONDS: Final = 10


def _follow(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is ever written
    # The whole group: its Lambda workers are children of their own.
    os.killpg(0, signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_follow, args=[pipe], daemon=True).start()
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
