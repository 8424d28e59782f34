"""The audit trail: who got audio or deleted it, when and why. Entries can only be added."""

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from call_recording import clock
from call_recording.errors import AuditUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient


@dataclass
class AuditTrail:
    """A log group; each execution environment writes to a stream of its own."""

    client: "CloudWatchLogsClient"
    log_group: str
    _stream: str | None = field(default=None, init=False)

    def note(self, **entry: Any) -> None:
        """Add an entry. If that fails, the caller must not do what the entry records.

        Raises AuditUnavailableError.
        """
        now = clock.now()
        line = json.dumps({"at": clock.iso_milliseconds(now), **entry})
        try:
            if self._stream is None:
                stream = f"{now:%Y/%m/%d}/{uuid.uuid4()}"
                self.client.create_log_stream(logGroupName=self.log_group, logStreamName=stream)
                self._stream = stream
            answer = self.client.put_log_events(
                logGroupName=self.log_group,
                logStreamName=self._stream,
                logEvents=[{"timestamp": int(now.timestamp() * 1000), "message": line}],
            )
        except (ClientError, BotoCoreError) as error:
            raise AuditUnavailableError from error
        if answer.get("rejectedLogEventsInfo"):
            raise AuditUnavailableError
