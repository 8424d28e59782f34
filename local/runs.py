"""The runs of the stack in this checkout: a folder for each, clean-up after dead ones, and the run of `make local`."""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

PROJECT: Final = Path(__file__).parent.parent
STATE: Final = PROJECT / ".local"

LOG: Final = "ministack.log"

_STOP_SECONDS: Final = 180


class AlreadyRunningError(Exception):
    """`make local` runs in this checkout; `pid` is its process."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"A stack is already running here (pid {pid}). To stop it: `make local-stop`.")
        self.pid = pid


# The kernel releases a lock when its process ends for any reason: a crashed run blocks nobody.
@contextlib.contextmanager
def alone(state: Path = STATE) -> Iterator[None]:
    """Wait until no other run of this checkout is in this section, such as the build, which has one folder for all."""
    runs = state / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def own_folder(state: Path = STATE) -> Iterator[Path]:
    """Create a folder for a run, and remove the folders of dead runs.

    It is removed at the end; after a failure, the log stays until the next run.
    """
    with contextlib.ExitStack() as stack:
        with alone(state):
            _sweep(state / "runs")
            folder = state / "runs" / f"{os.getpid()}-{secrets.token_hex(4)}"
            folder.mkdir()
            lock = stack.enter_context((folder / "lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        except Exception:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(runs: Path) -> None:
    for lock in runs.glob("*/lock"):
        with contextlib.suppress(OSError), lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


@contextlib.contextmanager
def only_one(state: Path = STATE) -> Iterator[None]:
    """Become the run of `make local`; raise AlreadyRunningError if there is one."""
    with alone(state), contextlib.ExitStack() as stack:
        kept = stack.enter_context((state / "runs" / "local.pid").open("a+"))
        try:
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(_pid(kept)) from None
        kept.truncate(0)
        kept.write(str(os.getpid()))
        kept.flush()
        held = stack.pop_all()
    with held:
        yield
        kept.truncate(0)


def stop(state: Path = STATE) -> int | None:
    """Stop the run of `make local`, and wait until it has ended; return its pid, or None if there is none.

    Raises TimeoutError.
    """
    path = state / "runs" / "local.pid"
    if not path.exists():
        return None
    with path.open("a+") as kept:
        # Only the process that holds the lock is stopped: the pid alone may belong to another program by now.
        if _is_free(kept):
            return None
        pid = _pid(kept)
        os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + _STOP_SECONDS
        while not _is_free(kept):
            if time.monotonic() > ends:
                raise TimeoutError(f"pid {pid} has not ended in {_STOP_SECONDS} seconds")
            time.sleep(0.1)
    return pid


def _is_free(kept: IO[str]) -> bool:
    try:
        fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(kept, fcntl.LOCK_UN)
    return True


def _pid(kept: IO[str]) -> int:
    kept.seek(0)
    return int(kept.read())
