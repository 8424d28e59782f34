"""`make mutate`: change a module in small ways, see which its tests notice, and write docs/reference/quality.md."""

import argparse
import json
import re
import sys
from datetime import UTC, datetime

from local.stack import PROJECT
from tests.mutation import report, workshop
from tests.mutation.modules import MODULES


def main() -> int:
    """Go through the modules, one after the other; what was killed in a run that was broken off stays so."""
    parser = argparse.ArgumentParser(prog="make mutate")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"which ones: {', '.join(MODULES)}")
    parser.add_argument("--processes", type=int, default=2, help="how many mutants are tested at once")
    arguments = parser.parse_args()
    modules = arguments.modules or list(MODULES)
    if unknown := set(modules) - MODULES.keys():
        parser.error(f"no such module: {', '.join(sorted(unknown))}")

    for module in modules:
        print(f"{module}.py", flush=True)  # noqa: T201 (what make shows)
        folder = workshop.prepare(module)
        if status := workshop.run(folder, "run", "--max-children", str(arguments.processes)):
            return status
        codes = workshop.results(folder, module)
        if None in codes.values():
            print("Broken off. The next run goes on here.")  # noqa: T201
            return 1
        alive = [name for name, code in codes.items() if code in workshop.NOBODY_NOTICED]
        report.note(module, report.Result(datetime.now(UTC).date().isoformat(), len(codes), changes(module, alive)))
    complaints = report.complaints(modules)
    print("\n".join([*complaints, f"{report.PAGE.relative_to(PROJECT)} is written"]))  # noqa: T201
    return 1 if complaints else 0


def changes(module: str, mutants: list[str]) -> tuple[str, ...]:
    """Return what each of the mutants changed: the function, what stood there, and what stands there instead."""
    diffs: dict[str, str] = json.loads(workshop.ask(workshop.folder_of(module), "diffs", *mutants)) if mutants else {}
    return tuple(sorted(f"{_function(name)}: {_change(diff)}" for name, diff in diffs.items()))


def _function(mutant: str) -> str:
    return re.sub(r"^x_|^xǁ", "", mutant.rpartition(".")[2].partition("__mutmut_")[0]).replace("ǁ", ".")


def _change(diff: str) -> str:
    lines = diff.splitlines()[3:]
    was, becomes = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"{was} → {becomes}"


if __name__ == "__main__":
    sys.exit(main())
