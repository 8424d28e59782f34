"""The figures that this application counts: each one's name, unit and dimensions, in one place.

They are written to the log in CloudWatch's embedded metric format, by Powertools; the namespace is
the stack's own. `RecordingGap` is the one that matters: recordings that were asked for and are not
there.
"""

from functools import cache
from typing import Final, NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit


@cache
def _written() -> Metrics:
    # The service's name is for the loggers: as one more dimension of every figure it would hide them from the alarms.
    return Metrics(service="")


class Metric(NamedTuple):
    """A figure. `dimensions` are the names that every one of its values comes with."""

    name: str
    unit: MetricUnit = MetricUnit.Count
    dimensions: tuple[str, ...] = ()

    def add(self, value: float = 1, **dimensions: str) -> None:
        """Write a value.

        Raises TypeError when the dimensions are not those of the metric: an alarm would never see it.
        """
        if dimensions.keys() != set(self.dimensions):
            raise TypeError(f"{self.name} has the dimensions {self.dimensions}, not {tuple(dimensions)}")
        # Each for itself: figures that are written together share their dimensions.
        written = _written()
        for name in self.dimensions:
            written.add_dimension(name, dimensions[name])
        written.add_metric(self.name, self.unit, value)
        written.flush_metrics()


START_REQUESTS: Final = Metric("StartRequests", dimensions=("trigger", "outcome"))
RECORDING_GAP: Final = Metric("RecordingGap")
RECORDING_GAP_BY_REASON: Final = Metric("RecordingGapByReason", dimensions=("reason",))
CONTROL_REQUESTS: Final = Metric("ControlRequests", dimensions=("trigger", "outcome"))
RECORDING_STILL_PAUSED: Final = Metric("RecordingStillPaused")

TWILIO_LATENCY: Final = Metric("TwilioLatency", MetricUnit.Milliseconds, ("operation",))
TWILIO_REFUSALS: Final = Metric("TwilioRefusals", dimensions=("code",))
CREDENTIALS_REFUSED: Final = Metric("CredentialsRefused")

CALLBACKS: Final = Metric("Callbacks", dimensions=("status",))
REFUSED_SIGNATURES: Final = Metric("RefusedSignatures")
UNREADABLE_CALLBACKS: Final = Metric("UnreadableCallbacks")
MERGE_CONFLICTS: Final = Metric("MergeConflicts")

OPEN_RECORDINGS: Final = Metric("OpenRecordings")
OLDEST_OPEN_RECORDING: Final = Metric("OldestOpenRecording", MetricUnit.Seconds)
RECONCILER_RUNS: Final = Metric("ReconcilerRuns")
RECONCILER_REPAIRS: Final = Metric("ReconcilerRepairs")

CHANGES_PUBLISHED: Final = Metric("ChangesPublished")
ARCHIVED_BYTES: Final = Metric("ArchivedBytes", MetricUnit.Bytes)
RECORDING_NOT_ARCHIVED: Final = Metric("RecordingNotArchived")


def add_to_gap(reason: str) -> None:
    """Count a recording that was asked for and will not be there."""
    RECORDING_GAP.add()
    RECORDING_GAP_BY_REASON.add(reason=reason)
