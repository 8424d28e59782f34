"""The environment of a function, read in one place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from call_recording.errors import MissingSettingsError


@dataclass(frozen=True)
class _Settings:
    """Settings named like their environment variables, in lower case."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings.

        Raises MissingSettingsError naming every variable that is not set or empty.
        """
        names = {field.name: field.name.upper() for field in fields(cls)}
        if missing := [name for name in names.values() if not environment.get(name)]:
            raise MissingSettingsError(missing)
        values = {name: environment[variable] for name, variable in names.items()}
        return cls(**{f.name: int(values[f.name]) if f.type is int else values[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class StartSettings(_Settings):
    """What `start_recording` needs to know."""

    event_bus_name: str
    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    twilio_account_sid: str
    twilio_api_url: str
    twilio_secret_prefix: str
    webhook_url: str


@dataclass(frozen=True)
class CallbackSettings(_Settings):
    """What `recording_status` needs to know."""

    callback_dead_letter_queue_url: str
    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    twilio_account_sid: str
    twilio_secret_prefix: str
    webhook_url: str


@dataclass(frozen=True)
class ReconcileSettings(_Settings):
    """What `reconcile_recordings` needs to know."""

    idempotency_table: str
    recordings_table: str
    row_retention_days: int
    stale_after_minutes: int
    twilio_account_sid: str
    twilio_api_url: str
    twilio_secret_prefix: str


@dataclass(frozen=True)
class RecordingsApiSettings(_Settings):
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


@dataclass(frozen=True)
class PublishSettings(_Settings):
    """What `publish_changes` needs to know."""

    event_bus_name: str


@dataclass(frozen=True)
class ArchiveSettings(_Settings):
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
