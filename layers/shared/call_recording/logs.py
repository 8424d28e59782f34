"""The format of log lines: JSON, without fields that the log group or another field already contains."""

import json
from typing import Any, Final

_SAID_ELSEWHERE: Final = frozenset({"function_arn", "function_memory_size", "function_name"})
"""Powertools adds these to each line. Each function has its own log group, and CloudWatch charges by the byte."""


def serialize(line: dict[str, Any]) -> str:
    """Return the line, as a `json_serializer` of Powertools' Logger."""
    told = {name: value for name, value in line.items() if name not in _SAID_ELSEWHERE}
    return json.dumps(told, default=str, ensure_ascii=False, separators=(",", ":"))
