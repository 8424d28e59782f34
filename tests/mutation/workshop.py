"""A folder for each module, in which mutmut finds what it expects: the layer as `src`, the tests, and its settings."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from local.stack import PROJECT, STATE
from tests.mutation.modules import MODULES, TOO_SLOW

_LAYER: Final = PROJECT / "layers/shared/call_recording"
_TOOLS: Final = PROJECT / ".venv/mutation"
_BESIDE: Final = ("events", "functions", "generators", "layers", "local", "tests", "template.yaml")
"""What the tests read."""

_CACHED: Final = re.compile(r"^@(?:functools\.)?lru_cache\b.*$", re.MULTILINE)
"""What a cache remembers of the original would hide its mutants."""

_UNDECIDED: Final = (r"\blogger\.", r"\braise \w+\(f?\"")
"""Lines that decide nothing: what is logged, and the words of an error."""


_QUIET: Final = (
    *("-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:unraisableexception"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
"""One process, nothing kept, no collecting of garbage after every mutant; and hypothesis is there before pytest is."""


def folder_of(module: str) -> Path:
    """Return where a module is mutated."""
    return STATE / "mutation" / module.replace("/", ".")


def prepare(module: str) -> Path:
    """Make the module's folder, or bring it up to date; return it."""
    folder = folder_of(module)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _BESIDE:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(PROJECT / name)
    source = folder / "src/call_recording"
    shutil.copytree(_LAYER, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    mutated = source / f"{module}.py"
    mutated.write_text(_CACHED.sub("#", mutated.read_text()))
    (folder / "pyproject.toml").write_text(_settings(module))
    # Tests may have come: which of them meet which function is found out anew.
    (folder / "mutants/mutmut-stats.json").unlink(missing_ok=True)
    _forget_survivors(folder, module)
    return folder


def run(folder: Path, *arguments: str) -> int:
    """Run mutmut in a module's folder, and return its exit status."""
    return subprocess.run(_command(arguments), cwd=folder, env=_environment(), check=False).returncode  # noqa: S603


def ask(folder: Path, *arguments: str) -> str:
    """Return what mutmut prints in a module's folder."""
    command, environment = _command(arguments), _environment()
    return subprocess.run(command, cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout  # noqa: S603


def results(folder: Path, module: str) -> dict[str, int | None]:
    """Return how the tests ended for each mutant; None is not tested yet."""
    path = _results(folder, module)
    found: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"] if path.exists() else {}
    return found


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "tests.mutation.mutmut_here", *arguments]


def _environment() -> dict[str, str]:
    # Bytecode that is known by its path would mix up the original and the mutants.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(_TOOLS), str(PROJECT))), "PYTHONDONTWRITEBYTECODE": "1"}


def _results(folder: Path, module: str) -> Path:
    return folder / f"mutants/src/call_recording/{module}.py.meta"


def _forget_survivors(folder: Path, module: str) -> None:
    """Have tested again what no test failed of; what one did stays dead as long as its function is the same."""
    path = _results(folder, module)
    if path.exists():
        told = json.loads(path.read_text())
        codes = told["exit_code_by_key"]
        told["exit_code_by_key"] = {name: code if code in _NOTICED else None for name, code in codes.items()}
        path.write_text(json.dumps(told))


_NOTICED: Final = (1, 3)
"""Exit statuses of a mutant's process: a test failed, or pytest itself did."""

NOBODY_NOTICED: Final = (0, 5, 33)
"""The same: every test passed, or there was none. Whatever is neither did not end in time."""


def _settings(module: str) -> str:
    tests = [f"tests/{path}" for path in MODULES[module] if (PROJECT / "tests" / path).exists()]
    slow = [f"--deselect=tests/{name}" for name in TOO_SLOW]
    mutmut: dict[str, object] = {
        "source_paths": ["src"],
        "only_mutate": [f"src/call_recording/{module}.py"],
        "also_copy": list(_BESIDE),
        "do_not_mutate_patterns": list(_UNDECIDED),
        "pytest_add_cli_args": [*_QUIET, *slow],
        "pytest_add_cli_args_test_selection": tests,
        "timeout_constant": 30.0,  # where others keep the machine busy, no mutant dies of that
        "timeout_multiplier": 3.0,
        "track_dependencies": False,
        "use_git_change_detection": False,
    }
    ours = (PROJECT / "pyproject.toml").read_text().replace('pythonpath = ["."]', 'pythonpath = [".", "src"]')
    lines = [f"{name} = {json.dumps(value)}" for name, value in mutmut.items()]
    return "\n".join([ours, "[tool.mutmut]", *lines, ""])
