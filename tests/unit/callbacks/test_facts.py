"""What Twilio's callbacks say: read, or refused by name, so that a signed one is never lost to an exception."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from call_recording.callbacks.facts import callback_facts, is_of_something_else
from call_recording.errors import UnreadableCallbackError
from call_recording.recordings.facts import details as details_of_resource
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
def test_encryption_details_that_cannot_be_held_are_kept_as_they_came(details: str) -> None:
    facts = callback_facts((PARAMETERS | {"EncryptionDetails": details}).items())

    assert "encryption_details" not in facts.told
    assert facts.metadata == {"EncryptionDetails": details[:1_024]}


OPTIONAL = [
    *("CallSid", "ConferenceSid", "RecordingDuration", "RecordingChannels", "RecordingSource", "RecordingTrack"),
    *("RecordingStartTime", "RecordingUrl", "ErrorCode", "EncryptionDetails"),
]


@given(
    st.dictionaries(
        st.sampled_from([name for name in OPTIONAL if name != "ConferenceSid"]), st.text(st.characters(codec="utf-8"))
    )
)
@example({"RecordingStartTime": "Sun, 31 Dec 9999 23:59:59 -2359"})
@example({"RecordingStartTime": "0 Jan 0 0:0:0 +99999999"})
def test_no_optional_value_keeps_a_callback_from_being_read_whatever_it_is(values: dict[str, str]) -> None:
    both = PARAMETERS | {"ConferenceSid": "CF" + "c" * 32}

    facts = callback_facts([*both.items(), *values.items()])

    assert (facts.recording_sid, facts.status) == (RECORDING_SID, "completed")
    assert facts.metadata.keys() <= values.keys()


@given(st.dictionaries(st.sampled_from(OPTIONAL[2:]), st.text(st.characters(codec="utf-8"), min_size=1)))
def test_what_is_said_is_a_fact_or_kept_and_what_is_no_fact_is_never_one_of_another_name(
    values: dict[str, str],
) -> None:
    facts = callback_facts((PARAMETERS | values).items())

    assert all(facts.metadata[name] == values[name][:1_024] for name in facts.metadata)
    assert facts.metadata.keys() <= values.keys()


@pytest.mark.parametrize("times", [1, 40])
def test_what_a_row_takes_of_one_unknown_parameter_does_not_depend_on_how_many_there_are(times: int) -> None:
    unknown = {f"New{number}": "x" * 1_100 for number in range(times)} | {"N" * 100: "x", "N" * 101: "x"}

    facts = callback_facts((PARAMETERS | unknown).items())

    assert set(facts.metadata.values()) == {"x", "x" * 1_024}
    assert {"N" * 100, "N" * 101} & facts.metadata.keys() == {"N" * 100}


@pytest.mark.parametrize("missing", ["RecordingSid", "RecordingStatus", "AccountSid", "CallSid"])
@pytest.mark.parametrize("value", [None, "", "odd"])
def test_what_is_required_and_missing_or_odd_is_refused_by_name(missing: str, value: str | None) -> None:
    if (missing, value) == ("RecordingStatus", "odd"):
        value = "Odd"  # any word in small letters may be a status one day
    fields = {name: given for name, given in (PARAMETERS | {missing: value}).items() if given is not None}

    with pytest.raises(UnreadableCallbackError) as raised:
        callback_facts(fields.items())

    assert [error.field for error in raised.value.errors] == [missing]


def test_a_row_has_one_form_of_encryption_details_whoever_tells_them() -> None:
    """Callbacks and the resource have other names for the same."""
    called_back = '{"public_key_sid": "CR1", "encrypted_cek": "cek", "iv": "iv"}'
    resource = {"encryption_public_key_sid": "CR1", "encryption_cek": "cek", "encryption_iv": "iv"}

    told = callback_facts((PARAMETERS | {"EncryptionDetails": called_back}).items()).told["encryption_details"]

    assert told == details_of_resource(resource) == resource
    assert details_of_resource(resource | {"iv": "another"}) == resource, "the resource's own name counts"


RECORD_ACTION = {
    "AccountSid": ACCOUNT_SID,
    "CallSid": CALL_SID,
    "CallStatus": "completed",
    "From": "+15005550006",
    "RecordingSid": RECORDING_SID,
    "RecordingUrl": "https://api.twilio.com/x",
    "RecordingDuration": "42",
}
OTHERS: dict[str, dict[str, str]] = {
    "<Record action>": RECORD_ACTION,
    "<Dial action>": RECORD_ACTION | {"DialCallStatus": "completed"},
    "a call's StatusCallback": {"AccountSid": ACCOUNT_SID, "CallSid": CALL_SID, "CallStatus": "ringing"},
    "transcribeCallback": {
        "AccountSid": ACCOUNT_SID,
        "CallSid": CALL_SID,
        "RecordingSid": RECORDING_SID,
        "TranscriptionSid": "TR" + "1" * 32,
        "TranscriptionText": "my card number is",
        "TranscriptionStatus": "completed",
    },
    "a conference's events": {
        "AccountSid": ACCOUNT_SID,
        "ConferenceSid": "CF" + "c" * 32,
        "StatusCallbackEvent": "conference-end",
        "RecordingSid": RECORDING_SID,
    },
    "asynchronous answering machine detection": {"AccountSid": ACCOUNT_SID, "CallSid": CALL_SID, "AnsweredBy": "human"},
    "a message's status": {"AccountSid": ACCOUNT_SID, "MessageSid": "SM" + "1" * 32, "MessageStatus": "sent"},
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS.keys())
def test_what_twilio_signs_of_something_else_is_told_from_a_recordings_status(fields: dict[str, str]) -> None:
    assert is_of_something_else(fields.items())
    assert not is_of_something_else((fields | {"RecordingStatus": "completed"}).items()), "that makes it a callback"


@pytest.mark.parametrize("missing", PARAMETERS)
def test_a_callback_in_which_something_is_missing_is_still_one(missing: str) -> None:
    assert not is_of_something_else([(name, value) for name, value in PARAMETERS.items() if name != missing])
    assert not is_of_something_else([])
    assert not is_of_something_else((RECORD_ACTION | {"RecordingStatus": ""}).items()), "one that is odd"
