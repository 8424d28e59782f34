"""The environment of a function, read in one place."""

import os
from collections.abc import Mapping

from call_recording.errors import MissingSettingsError


class Settings:
    """Settings named like their environment variables, in lower case; each a `str` or an `int`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read the settings.

        Raises MissingSettingsError naming every variable that is not set or empty.
        """
        if missing := [variable for variable in self.variables() if not environment.get(variable)]:
            raise MissingSettingsError(missing)
        for name, kind in type(self).__annotations__.items():
            setattr(self, name, kind(environment[name.upper()]))

    @classmethod
    def variables(cls) -> list[str]:
        """Return the names of the environment variables."""
        return [name.upper() for name in cls.__annotations__]


class StartSettings(Settings):
    """What `start_recording` needs to know."""

    event_bus_name: str
    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    twilio_account_sid: str
    twilio_api_url: str
    twilio_secret_prefix: str
    webhook_url: str


class CallbackSettings(Settings):
    """What `recording_status` needs to know."""

    callback_dead_letter_queue_url: str
    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    twilio_account_sid: str
    twilio_secret_prefix: str
    webhook_url: str


class ReconcileSettings(Settings):
    """What `reconcile_recordings` needs to know."""

    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    stale_after_minutes: int
    twilio_account_sid: str
    twilio_api_url: str
    twilio_secret_prefix: str


class RecordingsApiSettings(Settings):
    """What `recordings_api` needs to know."""

    archive_bucket: str
    audit_log_group: str
    event_bus_name: str
    idempotency_table: str
    page_token_secret: str
    recordings_table: str
    resume_timer_dead_letter_queue_arn: str
    resume_timer_group: str
    resume_timer_prefix: str
    resume_timer_role_arn: str
    row_retention_days: int
    twilio_account_sid: str
    twilio_api_url: str
    twilio_secret_prefix: str


class PublishSettings(Settings):
    """What `publish_changes` needs to know."""

    event_bus_name: str


class ArchiveSettings(Settings):
    """What `archive_recording` needs to know."""

    archive_bucket: str
    archive_channels: str
    archive_format: str
    archive_queue_url: str
    delete_at_twilio_after_archiving: str
    event_bus_name: str
    most_receives: int
    recordings_table: str
    row_retention_days: int
    twilio_api_url: str
    twilio_secret_prefix: str
