"""What Twilio's callbacks say: read, or refused by name, so that a signed one is never lost to an exception."""

import json
from typing import Any

import pytest

from call_recording.callbacks.facts import callback_facts
from call_recording.errors import UnreadableCallbackError
from call_recording.recordings.row import attributes, plain
from generators.sample_events import ACCOUNT_SID, CALL_SID, RECORDING_SID

PARAMETERS = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "RecordingSid": RECORDING_SID,
    "RecordingStatus": "completed",
}


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    ("details", "held"),
    [
        ('{"n": 12345678901234567890123456789012345678}', {"n": 12345678901234567890123456789012345678}),
        ('{"n": ' + "9" * 45 + "}", {"n": "9" * 45}),
        ('{"n": -' + "9" * 45 + "}", {"n": "-" + "9" * 45}),
        ('{"n": 1' + "0" * 38 + "}", {"n": "1" + "0" * 38}),
        ('{"n": 1.5e999}', {"n": "1.5e999"}),
        ('{"n": [NaN, Infinity, -Infinity]}', {"n": ["NaN", "Infinity", "-Infinity"]}),
        ('{"n": [true, null, "é", ""]}', {"n": [True, None, "é", ""]}),
        (nested(16), json.loads(nested(16))),
    ],
    ids=lambda value: str(value)[:40],
)
def test_encryption_details_are_held_as_dynamodb_can_hold_them(details: str, held: dict[str, Any]) -> None:
    facts = callback_facts((PARAMETERS | {"EncryptionDetails": details}).items())

    assert facts.told["encryption_details"] == held
    assert plain(attributes(facts.told)) == facts.told, "and come back from there as they are"


@pytest.mark.parametrize(
    "details",
    [
        nested(17),
        nested(400),
        nested(100_000),
        '{"a": ' + "[" * 400 + "]" * 400 + "}",
        '{"n": ' + "9" * 5_000 + "}",
        '{"half": "\\ud800"}',
        '{"\\udfff": 1}',
        "{}",
        "[1]",
        "null",
        "NaN",
        "é",
    ],
    ids=lambda value: value[:20],
)
def test_encryption_details_that_cannot_be_held_are_refused_by_name(details: str) -> None:
    with pytest.raises(UnreadableCallbackError) as raised:
        callback_facts((PARAMETERS | {"EncryptionDetails": details}).items())

    assert [error.field for error in raised.value.errors] == ["EncryptionDetails"]
