"""The tests stand where a reader looks for them."""

from collections import Counter
from pathlib import Path

from local.stack import PROJECT

TESTS, LAYER = PROJECT / "tests", PROJECT / "layers/shared/call_recording"


def names_for(module: Path) -> set[str]:
    """Return what the tests of a module may be called: those of a `request` name its package, as several have one."""
    package = module.parent.relative_to(LAYER)
    return {
        (package / f"test_{'_'.join(parts)}.py").as_posix() for parts in ([module.stem], [package.name, module.stem])
    }


def test_no_two_files_of_tests_have_the_same_name() -> None:
    times = Counter(path.name for path in TESTS.rglob("test_*.py"))

    assert [name for name, count in times.items() if count > 1] == []


def test_each_unit_test_stands_and_is_named_as_its_module_of_the_layer() -> None:
    found = {path.relative_to(TESTS / "unit").as_posix() for path in (TESTS / "unit").rglob("test_*.py")}
    modules = [path for path in LAYER.rglob("*.py") if path.name != "__init__.py"]

    assert found, "otherwise nothing was looked at"
    assert found - {name for module in modules for name in names_for(module)} == set()
