"""mutmut as it runs here: with this pytest, these decorators, and hypothesis without luck."""

import json
import sys
from copy import deepcopy
from functools import cache
from typing import Any, Final

import pytest
import samcli.yamlhelper
from hypothesis import Phase, settings

_MOST_EXAMPLES: Final = 60


def main() -> None:
    """Run mutmut's own command line in the current folder, or print what the mutants named after `diffs` change."""
    # mutmut reads what pytest 9.2 does not have any more.
    pytest.Item._nodeid = property(lambda item: item.nodeid)  # type: ignore[attr-defined] # noqa: SLF001
    _look_at_few_examples()
    _remember_the_template()

    from mutmut.__main__ import cli, get_diff_for_mutant  # noqa: PLC0415 (only in an environment of its own)

    _mutate_what_is_decorated()
    if sys.argv[1] == "diffs":
        print(json.dumps({name: get_diff_for_mutant(name) for name in sys.argv[2:]}))  # noqa: T201 (the answer)
    else:
        cli()


def _look_at_few_examples() -> None:
    """A mutant is dead at the first example that fails: nobody reads the smallest one."""
    settings.register_profile(
        "mutation", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile("mutation")
    make = settings.__init__

    def make_with_few(self: settings, parent: settings | None = None, **said: Any) -> None:
        if "max_examples" in said:
            said["max_examples"] = min(_MOST_EXAMPLES, said["max_examples"])
        make(self, parent, **said)

    settings.__init__ = make_with_few  # type: ignore[method-assign]


def _remember_the_template() -> None:
    """Each mutant's process inherits what this one knows: reading the template is most of a short test."""
    parse = cache(samcli.yamlhelper.yaml_parse)

    def parse_once(text: str) -> Any:
        return deepcopy(parse(text))

    samcli.yamlhelper.yaml_parse = parse_once


def _mutate_what_is_decorated() -> None:
    """Mutate methods of dataclasses, and what says @override: mutmut leaves alone what is decorated."""
    from mutmut.mutation.file_mutation import MutationVisitor  # noqa: PLC0415

    skips = MutationVisitor._skip_node_and_children  # noqa: SLF001

    def skips_here(self: object, node: Any) -> bool:
        kind = type(node).__name__
        if kind == "FunctionDef" and node.decorators:
            names = {getattr(decorator.decorator, "value", "") for decorator in node.decorators}
            return names != {"override"} and bool(skips(self, node))
        return kind != "ClassDef" and bool(skips(self, node))

    MutationVisitor._skip_node_and_children = skips_here  # noqa: SLF001


if __name__ == "__main__":
    main()
