"""What a caller's own name for a recording may be: a short text that gives away no person.

It stands in rows, events, addresses of lists and the archive's metadata, where nobody looks for telephone numbers.
"""

import re
import unicodedata
from typing import Any, Final
from urllib.parse import unquote

LONGEST: Final = 128

_BESIDE: Final = r"\s().\-/\u2010-\u2015\u2212"
"""What people write between the digits of a telephone number."""

_SCHEME: Final = r"(?:tel|sips?|sms|whatsapp|phone|callto):?"

_PERSONAL: Final = re.compile(
    # An e-mail or SIP address, wherever it stands.
    r"[^\s@]@[^\s@]"
    # A number in international form, wherever it stands.
    rf"|\+[{_BESIDE}]*(?:\d[{_BESIDE}]*){{7}}"
    # Ten digits in the groups of North America, wherever they stand: UUIDs have no such groups.
    r"|(?<![\w-])(?:1[\s.-]{1,2})?(?:\(\d{3}\)[\s.-]{0,2}|\d{3}[\s.-]{1,2})\d{3}[\s.-]\d{4}(?![\w-])"
    # Nothing but as many digits as a telephone number has.
    rf"|\A[{_BESIDE}]*(?:{_SCHEME})?[{_BESIDE}]*(?:\d[{_BESIDE}]*){{7,15}}\Z",
    re.IGNORECASE,
)


def reference(value: Any) -> str:
    """Read a caller's own name for a recording.

    What looks like a telephone number or an e-mail address is refused, however its characters are encoded. A bare
    number of 7 to 15 digits does; a letter before it makes it a name.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
        raise ValueError(f"must be 1 to {LONGEST} printable characters, not only blanks")
    decoded = value
    while (plainer := unquote(decoded)) != decoded:
        decoded = plainer
    if _PERSONAL.search(unicodedata.normalize("NFKC", decoded)):
        raise ValueError("must not look like a telephone number or an e-mail address")
    return value
