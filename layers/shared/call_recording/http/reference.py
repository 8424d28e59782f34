"""A caller's own name for a recording: a short text without personal data.

It appears in rows, events, URLs of lists and the archive's metadata, where nobody expects telephone numbers.
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
    # An e-mail or SIP address, anywhere in the text.
    r"[^\s@]@[^\s@]"
    # A number in international format, anywhere in the text.
    rf"|\+[{_BESIDE}]*(?:\d[{_BESIDE}]*){{7}}"
    # Ten digits in North American groups, anywhere in the text: UUIDs have no such groups.
    r"|(?<![\w-])(?:1[\s.-]{1,2})?(?:\(\d{3}\)[\s.-]{0,2}|\d{3}[\s.-]{1,2})\d{3}[\s.-]\d{4}(?![\w-])"
    # Only digits, as many as a telephone number has.
    rf"|\A[{_BESIDE}]*(?:{_SCHEME})?[{_BESIDE}]*(?:\d[{_BESIDE}]*){{7,15}}\Z",
    re.IGNORECASE,
)


def reference(value: Any) -> str:
    """Read a caller's own name for a recording.

    A text that looks like a telephone number or an e-mail address is refused, however it is encoded. A bare
    number of 7 to 15 digits does; with a letter before it, it does not.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
        raise ValueError(f"must be 1 to {LONGEST} printable characters, not only blanks")
    decoded = value
    while (plainer := unquote(decoded)) != decoded:
        decoded = plainer
    if _PERSONAL.search(unicodedata.normalize("NFKC", decoded)):
        raise ValueError("must not look like a telephone number or an e-mail address")
    return value
