"""A time that the tests of the simulated Twilio turn, how they sign their requests; and what is told of a recording."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse

from call_recording.bus import SOURCE
from call_recording.changes.events import change_events
from call_recording.recordings.row import plain
from generators.sample_events import stream_record
from local.stack import PROJECT

BEGAN = 1795332780.0


class Now:
    """A clock that the test turns."""

    seconds = BEGAN


@pytest.fixture
def now() -> Now:
    return Now()


def basic(account_sid: str) -> dict[str, str]:
    """Return the headers of whoever signs in as the account."""
    return {"authorization": "Basic " + b64encode(f"{account_sid}:token".encode()).decode()}


@pytest.fixture
def told(sample: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """Return a function that gives the event of a type that a rule sees: of the completed sample recording."""
    examples = yaml_parse((PROJECT / "docs/reference/openapi.yaml").read_text())["components"]["examples"]
    rows = [plain(record["dynamodb"]["NewImage"]) for record in sample("stream-completed.json")["Records"]]
    (completed,) = (row for row in rows if row["status"] == "completed")
    archived = completed | {"archive": examples["archived"]["value"]["archive"]}
    records = [
        stream_record(None, completed, sequence_number="1"),
        stream_record(completed, archived, sequence_number="2"),
    ]
    last = {event.detail_type: event for record in records for event in change_events(record)}

    def event(detail_type: str) -> dict[str, Any]:
        return {"source": SOURCE, "detail-type": detail_type, "detail": json.loads(last[detail_type].detail)}

    return event
