"""How a line of a log is written: JSON, without what the log group or another field says already."""

import json
from typing import Any, Final

_SAID_ELSEWHERE: Final = frozenset({"function_arn", "function_memory_size", "function_name"})
"""Powertools adds them to each line. Each function has a log group of its own, and CloudWatch bills by the byte."""


def serialize(line: dict[str, Any]) -> str:
    """Return the line as Powertools' Logger takes it from its `json_serializer`."""
    told = {name: value for name, value in line.items() if name not in _SAID_ELSEWHERE}
    return json.dumps(told, default=str, ensure_ascii=False, separators=(",", ":"))
