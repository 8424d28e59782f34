"""The environment of a function, read in one place."""

import os
from collections.abc import Mapping

from call_recording.errors import MissingSettingsError


def initialization_type(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return how Lambda initializes this function (`on-demand`, `provisioned-concurrency`, `snap-start`), or None.

    None means outside Lambda. Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return environment.get("AWS_LAMBDA_INITIALIZATION_TYPE")


class Settings:
    """Settings named like their environment variables, in lower case; each a `str` or an `int`."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read the settings.

        Raises MissingSettingsError naming every variable that is missing or empty.
        """
        if missing := [variable for variable in self.variables() if not environment.get(variable)]:
            raise MissingSettingsError(missing)
        for name, kind in self._kinds().items():
            setattr(self, name, kind(environment[name.upper()]))

    @classmethod
    def variables(cls) -> list[str]:
        """Return the names of the environment variables."""
        return [name.upper() for name in cls._kinds()]

    @classmethod
    def _kinds(cls) -> dict[str, type]:
        return {name: kind for part in cls.__mro__[-2::-1] for name, kind in part.__annotations__.items()}


class TableSettings(Settings):
    """The table, and its retention."""

    recordings_table: str
    row_retention_days: int


class SecretSettings(Settings):
    """The prefix of the accounts' secrets."""

    twilio_secret_prefix: str


class TwilioSettings(SecretSettings):
    """How to reach Twilio's API."""

    twilio_api_url: str


class MemorySettings(Settings):
    """The table of earlier requests."""

    idempotency_table: str


class StateSettings(MemorySettings):
    """The default account, too, which needs no record."""

    twilio_account_sid: str


class BusSettings(Settings):
    """The event bus for requests and published changes."""

    event_bus_name: str


class StartSettings(TableSettings, TwilioSettings, StateSettings, BusSettings):
    """What `start_recording` needs to know."""

    webhook_url: str


class CallbackSettings(TableSettings, SecretSettings, StateSettings):
    """What `recording_status` needs to know."""

    callback_dead_letter_queue_url: str
    webhook_url: str


class ReconcileSettings(TableSettings, TwilioSettings, StateSettings):
    """What `reconcile_recordings` needs to know."""

    reconciler_concurrency: int
    stale_after_minutes: int


class RecordingsApiSettings(TableSettings, TwilioSettings, StateSettings, BusSettings):
    """What `recordings_api` needs to know."""

    archive_bucket: str
    archive_recordings: str
    audit_log_group: str
    page_token_secret: str
    resume_timer_dead_letter_queue_arn: str
    resume_timer_group: str
    resume_timer_prefix: str
    resume_timer_role_arn: str


class PublishSettings(MemorySettings, BusSettings):
    """What `publish_changes` needs to know."""


class ArchiveSettings(TableSettings, TwilioSettings, BusSettings):
    """What `archive_recording` needs to know."""

    archive_bucket: str
    archive_channels: str
    archive_format: str
    archive_queue_url: str
    delete_at_twilio_after_archiving: str
    most_receives: int
