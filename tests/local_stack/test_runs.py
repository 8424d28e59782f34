"""Stacks in one checkout leave each other alone, and whoever was killed leaves nothing that is in the way."""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local import serve
from local.runs import LOG, AlreadyRunningError, only_one, own_folder, stop
from local.stack import PROJECT
from tests.local_stack.conftest import eventually

HOLDS = """
import signal, sys, threading
from pathlib import Path
from local.runs import only_one, own_folder
from local.stack import ministack
signal.signal(signal.SIGTERM, signal.default_int_handler)
with {what}:
    print({tells}, flush=True)
    threading.Event().wait()
"""


@contextlib.contextmanager
def another_run(what: str, tells: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Give another process that holds something, and what it told of that; it is killed in the end."""
    code = HOLDS.format(what=what, tells=tells)
    with subprocess.Popen(  # noqa: S603 (the code above)
        [sys.executable, "-c", code],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_each_run_has_a_folder_of_its_own_and_takes_only_that_away(tmp_path: Path) -> None:
    with another_run(f"own_folder(Path({str(tmp_path)!r})) as folder", "folder") as (_, told):
        theirs = Path(told)
        with own_folder(tmp_path) as ours:
            assert (ours != theirs, ours.is_dir(), theirs.is_dir()) == (True, True, True)

        assert (ours.exists(), theirs.is_dir()) == (False, True)


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with another_run(f"own_folder(Path({str(tmp_path)!r})) as folder", "folder") as (process, left):
        process.kill()
        process.wait()
    assert Path(left).is_dir()

    with own_folder(tmp_path):
        assert not Path(left).exists()


def test_a_run_that_fails_leaves_its_log_alone(tmp_path: Path) -> None:
    def fail() -> None:
        with own_folder(tmp_path) as folder:
            (folder / LOG).write_text("why")
            (folder / "state").mkdir()
            raise ValueError("went wrong")

    with pytest.raises(ValueError, match="went wrong"):
        fail()

    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == ["lock", LOG]


def test_a_second_make_local_is_refused_and_told_how_to_end_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "only_one", functools.partial(only_one, tmp_path))
    with another_run(f"only_one(Path({str(tmp_path)!r}))", "'running'") as (process, _):
        assert serve.main() == 1

    assert capsys.readouterr().out == (
        f"A stack is already running here (pid {process.pid}). To stop it: `make local-stop`.\n"
    )


def test_make_local_can_begin_again_after_one_that_was_killed(tmp_path: Path) -> None:
    with another_run(f"only_one(Path({str(tmp_path)!r}))", "'running'") as (process, _):
        with pytest.raises(AlreadyRunningError), only_one(tmp_path):
            pass
        process.kill()
        process.wait()

        with only_one(tmp_path):
            pass


def test_make_local_stop_ends_the_run_and_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "stop", functools.partial(stop, tmp_path))
    with another_run(f"only_one(Path({str(tmp_path)!r}))", "'running'") as (process, _):
        assert serve.stop_main() == 0
        assert process.wait(10) != 0

    assert serve.stop_main() == 0
    assert capsys.readouterr().out == (
        f"Stopped pid {process.pid}; nothing is left running.\nNo stack is running here.\n"
    )


def test_make_local_stop_ends_nobody_whose_number_a_killed_run_once_had(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "local.pid").write_text(str(os.getpid()))

    assert stop(tmp_path) is None


def test_ministack_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    with another_run(f"ministack(Path({str(tmp_path)!r})) as url", "url") as (process, url):
        assert eventually(lambda: is_up(url))

        process.kill()
        process.wait()

        assert eventually(lambda: not is_up(url))


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/_ministack/ready", timeout=5).ok
    except requests.RequestException:
        return False
