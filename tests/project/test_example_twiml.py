"""examples/twiml/ has Twilio call this stack's webhook as the stack itself does for what it starts."""

import inspect
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from twilio.twiml.voice_response import Start, VoiceResponse

from call_recording.start.request import RETRY_FRAGMENT, WANTED_EVENTS
from tests.cloudformation import EXAMPLES

FILES = sorted(path.name for path in (EXAMPLES / "twiml").glob("*.xml"))
RECORDING: dict[str, tuple[str, Callable[..., Any]]] = {
    "dial.xml": ("Dial", VoiceResponse.dial),
    "record.xml": ("Record", VoiceResponse.record),
    "start-recording.xml": ("Start/Recording", Start.recording),
}


def recording_verb(name: str) -> dict[str, str]:
    """Return the attributes of what records in a file."""
    found = ET.parse(EXAMPLES / "twiml" / name).getroot().find(RECORDING[name][0])  # noqa: S314 (a file of ours)
    assert found is not None
    return dict(found.attrib)


def test_each_way_of_twiml_to_record_has_its_file() -> None:
    assert sorted(RECORDING) == FILES


@pytest.mark.parametrize("name", FILES)
def test_twilio_is_told_the_webhook_with_the_retries_and_events_that_the_stack_asks_for(name: str) -> None:
    verb = recording_verb(name)

    assert verb["recordingStatusCallback"] == f"WEBHOOK_URL#{RETRY_FRAGMENT}"
    assert tuple(verb["recordingStatusCallbackEvent"].split()) == WANTED_EVENTS


@pytest.mark.parametrize("name", FILES)
def test_twilio_s_own_library_knows_the_attributes(name: str) -> None:
    attributes = {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", each) for each in recording_verb(name)}

    assert attributes <= inspect.signature(RECORDING[name][1]).parameters.keys()
