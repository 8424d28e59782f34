"""How long things take: what was measured, in processor time, and what is assumed of networks that nobody measured yet.

Lambda gives processor time by memory, one whole processor at 1,769 MB. Source: "Configure Lambda function memory" in
the Lambda developer guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Final

from tests.scale.recording import Made, Step

_PROCESSOR_MB: Final = 1_769

# --- measured, or an upper bound of it: docs/reference/performance.md ------------------------------

HANDLER_SECONDS: Final = 0.010
"""Processor time of a first start in the handler. A warm one, a callback and a batch take less."""

# --- assumed: docs/explanation/scale.md says what of ---------------------------------------------------

RECORD_SECONDS: Final = 0.001
"""Processor time of each change in a batch after the first."""
MEGABYTE_SECONDS: Final = 0.005
"""Processor time of each MB of audio: TLS in and out, and two hashes."""
TWILIO_SECONDS: Final = 0.25
"""Twilio's answer to a request, in the median; every twentieth takes twice as long."""
TWILIO_SPREAD: Final = 0.42
PROCESSING_SECONDS: Final = 3.0
"""From a call's end until Twilio calls back, in the median."""
DOWNLOAD_MEGABYTES: Final = 5.0
"""MB a second of a download from Twilio."""
UPLOAD_MEGABYTES: Final = 40.0
"""MB a second into S3."""
BUS_SECONDS: Final = 0.3
"""From PutEvents until the message is in the queue."""
OPERATION_SECONDS: Final[Mapping[str, float]] = {
    "PutEvents": 0.03,
    "CreateMultipartUpload": 0.05,
    "UploadPart": 0.05,
    "CompleteMultipartUpload": 0.08,
    "PutObject": 0.05,
    "GetSecretValue": 0.0,  # once in five minutes for each execution environment
}
_ANY_OPERATION_SECONDS: Final = 0.006
"""DynamoDB promises single-digit milliseconds."""
LIST_SECONDS: Final = 0.6
"""A page of 1,000 recordings from Twilio, and the reading of their rows."""


def processor(seconds: float, memory_mb: int) -> float:
    """Return how long so much processor time takes in a function of so much memory."""
    return seconds / min(1.0, memory_mb / _PROCESSOR_MB)


def aws(step: Step) -> float:
    """Return how long a step waits for AWS: one call after the other."""
    return sum(OPERATION_SECONDS.get(name, _ANY_OPERATION_SECONDS) * times for name, times in step.calls.items())


@dataclass(frozen=True)
class Durations:
    """How long each function takes, in seconds, but for what it waits for Twilio's first answer or for a limit."""

    start: float
    in_progress: float
    completed: float
    archive: float
    archive_twilio: float
    """How much of it a download from Twilio lasts."""
    batch: float
    each_change: float
    put_events: float

    @classmethod
    def of(cls, made: Made, memory_mb: Mapping[str, int]) -> "Durations":
        """Return those of functions with so much memory that do what was counted."""

        def handled(step: Step, function: str) -> float:
            return processor(HANDLER_SECONDS, memory_mb[function]) + aws(step)

        megabytes = made.audio_bytes / 1e6
        download = max(megabytes / DOWNLOAD_MEGABYTES, processor(MEGABYTE_SECONDS * megabytes, memory_mb["archive"]))
        return cls(
            start=handled(made.start, "start"),
            in_progress=handled(made.in_progress, "callbacks"),
            completed=handled(made.completed, "callbacks"),
            archive=handled(made.archive, "archive") + download + megabytes / UPLOAD_MEGABYTES,
            archive_twilio=download,
            batch=processor(HANDLER_SECONDS, memory_mb["changes"]) + _ANY_OPERATION_SECONDS,
            each_change=processor(RECORD_SECONDS, memory_mb["changes"]),
            put_events=OPERATION_SECONDS["PutEvents"],
        )

    def changes(self, records: int, events: int) -> float:
        """Return how long a batch of so many changes takes, of which so many are published, ten by a request."""
        return self.batch + self.each_change * (records - 1) + self.put_events * ceil(events / 10)


def twilio(random: Random) -> float:
    """Return how long Twilio takes to answer."""
    return TWILIO_SECONDS * random.lognormvariate(0, TWILIO_SPREAD)


def processing(random: Random) -> float:
    """Return how long it is from a call's end until Twilio calls back."""
    return PROCESSING_SECONDS * random.lognormvariate(0, TWILIO_SPREAD)
