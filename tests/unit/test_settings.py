"""The environment is read in one place, and says everything that is missing at once."""

import pytest

from call_recording.errors import MissingSettingsError
from call_recording.settings import CallbackSettings

GIVEN = {
    "CALLBACK_DEAD_LETTER_QUEUE_URL": "https://sqs.example.com/queue",
    "IDEMPOTENCY_TABLE": "idempotency",
    "RECORDINGS_TABLE": "recordings",
    "ROW_RETENTION_DAYS": "400",
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_SECRET_PREFIX": "twilio/",
    "WEBHOOK_URL": "https://example.com/recording-status",
}


def test_settings_are_read_by_name_and_kind() -> None:
    settings = CallbackSettings(GIVEN)

    assert (settings.recordings_table, settings.row_retention_days) == ("recordings", 400)


def test_every_missing_or_empty_variable_is_named() -> None:
    given = {name: value for name, value in GIVEN.items() if name != "RECORDINGS_TABLE"} | {"WEBHOOK_URL": ""}

    with pytest.raises(MissingSettingsError) as raised:
        CallbackSettings(given)

    assert raised.value.names == ("RECORDINGS_TABLE", "WEBHOOK_URL")
