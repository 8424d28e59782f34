"""Equivalent spellings of a query: Twilio may have signed another one than the one that arrives.

Proxies between Twilio and a function may re-encode a URL, and Twilio itself signs some characters
unencoded and sends them encoded. (Twilio's validator for Node tries a second spelling for that; the one for Python does
not.) All these spellings mean the same as the query that arrived, so a signature over one of them proves that query.
"""

import re
from itertools import combinations
from typing import Final, NamedTuple

MOST_SPELLINGS: Final = 48
"""The most spellings to try, which limits the cost of a forgery."""

_RESERVED: Final = ":@,/;?!$'()*~[]="
"""Characters that encoders treat differently. Never `&`, `+`, `#` or `%`, which would change the meaning."""

# What some encoder leaves unencoded. First any combination of those in Twilio's own values and URLs, then RFC
# 3986's query, JavaScript's encodeURIComponent, the form encoding of browsers and Java, and .NET's.
_USUAL: Final = tuple("".join(chars) + "~" for size in (2, 4, 0, 3, 1) for chars in combinations(":@,/", size))
_WHOLE_QUERY: Final = _RESERVED
_COMPONENT: Final = "!'()*~"
_FORM: Final = "*"
_NET: Final = "!*()"


class _Style(NamedTuple):
    """A spelling; None: unchanged. `safe` are the characters of `_RESERVED` that stay unencoded."""

    safe: str | None
    space: str | None
    is_upper: bool


_STYLES: Final = (
    *(_Style(safe, "%20", is_upper=True) for safe in (*_USUAL, _WHOLE_QUERY, _COMPONENT)),
    *(_Style(safe, "+", is_upper=True) for safe in (*_USUAL, _WHOLE_QUERY, _FORM)),
    *(_Style(None, None, is_upper=is_upper) for is_upper in (True, False)),
    *(_Style(safe, space, is_upper=False) for safe in (":@~", ":@,/~", "~", _RESERVED) for space in ("%20", "+")),
    _Style(_NET, "+", is_upper=False),
)

_PIECES: Final = re.compile(rf"(%[0-9A-Fa-f]{{2}}|[&+{re.escape(_RESERVED)}])")


def spellings(query: str) -> list[str]:
    """Return the query as sent, then its other spellings, the likely ones first; at most `MOST_SPELLINGS`."""
    pieces = _PIECES.split(query)
    changing = _changing(pieces)
    anew, found = pieces.copy(), {query: None}
    for style in _STYLES:
        spelt = {piece: _spelt(piece, style) for piece in {pieces[at] for at in changing}}
        for at in changing:
            anew[at] = spelt[pieces[at]]
        found["".join(anew)] = None
    return list(found)


def _spelt(piece: str, style: _Style) -> str:
    if piece in {"+", "%20"}:
        return style.space or piece
    char = chr(int(piece[1:], 16)) if len(piece) > 1 else piece
    is_left = style.safe is None or char not in _RESERVED
    if (len(piece) == 1) if is_left else char in (style.safe or ""):
        return char
    return f"%{ord(char):02X}" if style.is_upper else f"%{ord(char):02x}"


def _changing(pieces: list[str]) -> list[int]:
    """Return the positions of characters that encoders treat differently: not `&`, nor the `=` after a name.

    Nor an encoded `=` within a name, which would end the name if it were not encoded.
    """
    found, is_name = [], True
    for at in range(1, len(pieces), 2):
        piece = pieces[at]
        if piece == "&":
            is_name = True
        elif is_name and piece in {"=", "%3D", "%3d"}:
            is_name = piece != "="
        else:
            found.append(at)
    return found
