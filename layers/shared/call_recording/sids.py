"""What Twilio's identifiers (SIDs) look like."""

import re
from typing import Final, TypeGuard

ACCOUNT: Final = "AC"
CALL: Final = "CA"
CONFERENCE: Final = "CF"
RECORDING: Final = "RE"

# `fullmatch`, because `$` would let a trailing line break through.
_HEX = re.compile(r"[0-9a-fA-F]{32}")


def is_sid(value: object, prefix: str) -> TypeGuard[str]:
    """Return whether `value` is a SID of that kind: the prefix and 32 hexadecimal digits."""
    return isinstance(value, str) and value.startswith(prefix) and _HEX.fullmatch(value[len(prefix) :]) is not None
