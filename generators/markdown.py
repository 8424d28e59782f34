"""Tables, and names as code, in GitHub's Markdown."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

_CODE: Final = re.compile(r"(`[^`]*`)")
_URL: Final = re.compile(r"https?://[^\s,;)]*[^\s,;).]")
_WORD: Final = re.compile(r"(?<![\w/.-])[\w.]*\w(?![\w/-])")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with these heads."""
    return "".join([_line(heads), f"|{'---|' * len(heads)}\n", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    # A row is a line, and a bar parts its cells, also where it stands in code.
    shown = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in shown) + "\n"


def code(*values: Any) -> str:
    """Return the values as code, with commas between them."""
    return ", ".join(f"`{value}`" for value in values)


def with_code(text: str, names: AbstractSet[str]) -> str:
    """Return a sentence with addresses, and words that are one of the names, as code."""

    def marked(plain: str) -> str:
        pieces = re.split(f"({_URL.pattern})", plain)
        pieces[1::2] = [f"`{url}`" for url in pieces[1::2]]
        pieces[::2] = [
            _WORD.sub(lambda word: code(word[0]) if word[0] in names else word[0], text) for text in pieces[::2]
        ]
        return "".join(pieces)

    pieces = _CODE.split(text)
    pieces[::2] = map(marked, pieces[::2])
    return "".join(pieces)
