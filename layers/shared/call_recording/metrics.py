"""The metrics of this application: their names, units and dimensions, in one place.

Powertools writes them to the log in CloudWatch's embedded metric format, in the stack's own namespace.
`RecordingGap` is the most important one: recordings that were requested and do not exist. Its `cause`
says who can fix that, because alarms are for those who can.
"""

from functools import cache
from threading import Lock
from typing import Final, NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from call_recording.errors import Cause


@cache
def _written() -> Metrics:
    # The service name is only for loggers: as a dimension of every metric it would hide the metrics from the alarms.
    return Metrics(service="")


_LOCK: Final = Lock()
"""For parallel requests to Twilio, each of which records its latency."""

OTHER: Final = "other"
"""The dimension's value for everything that others can invent: CloudWatch charges for each value."""


class Metric(NamedTuple):
    """A metric. `dimensions` are the names of its dimensions.

    `known` are the allowed values of dimensions whose values come from outside; all others become `other`.
    If it is empty, the values are constants of this application's own code, so their number is limited.
    """

    name: str
    unit: MetricUnit = MetricUnit.Count
    dimensions: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()

    def add(self, value: float = 1, **dimensions: str) -> None:
        """Write a value.

        Raises TypeError if the dimensions are not those of the metric: alarms would not see the value.
        """
        if dimensions.keys() != set(self.dimensions):
            raise TypeError(f"{self.name} has the dimensions {self.dimensions}, not {tuple(dimensions)}")
        # Separately: metrics that are written together share their dimensions.
        with _LOCK:
            written = _written()
            for name in self.dimensions:
                word = dimensions[name]
                written.add_dimension(name, word if not self.known or word in self.known else OTHER)
            written.add_metric(self.name, self.unit, value)
            written.flush_metrics()


# Twilio's documented codes for recordings and for requests in general, and HTTP statuses.
_TWILIO_CODES: Final = frozenset(
    map(
        str,
        [
            *(13256, 13621, 16101, 16102, 16104, 16105, 16106, 16108, 16113, 16114),
            *(20001, 20003, 20004, 20005, 20006, 20008, 20403, 20404, 20409, 20429, 20500, 21220, 21231, 70051),
            *range(400, 452),
        ],
    )
)

START_REQUESTS: Final = Metric("StartRequests", dimensions=("trigger", "outcome"))
RECORDING_GAP: Final = Metric("RecordingGap", dimensions=("cause",))
RECORDING_GAP_BY_REASON: Final = Metric("RecordingGapByReason", dimensions=("reason",))
CONTROL_REQUESTS: Final = Metric("ControlRequests", dimensions=("trigger", "outcome"))
CONTROL_FAILURES: Final = Metric("ControlFailures", dimensions=("cause",))
RECORDING_STILL_PAUSED: Final = Metric("RecordingStillPaused")
RECORDING_STARTED_WHILE_PAUSED: Final = Metric("RecordingStartedWhilePaused")

TWILIO_LATENCY: Final = Metric("TwilioLatency", MetricUnit.Milliseconds, ("operation",))
TWILIO_REFUSALS: Final = Metric("TwilioRefusals", dimensions=("code",), known=_TWILIO_CODES)
CREDENTIALS_REFUSED: Final = Metric("CredentialsRefused")

CALLBACKS: Final = Metric("Callbacks", dimensions=("status",))
REFUSED_SIGNATURES: Final = Metric("RefusedSignatures")
OTHER_REQUESTS: Final = Metric("OtherRequests")
UNREADABLE_CALLBACKS: Final = Metric("UnreadableCallbacks")
MERGE_CONFLICTS: Final = Metric("MergeConflicts")

OPEN_RECORDINGS: Final = Metric("OpenRecordings")
OLDEST_OPEN_RECORDING: Final = Metric("OldestOpenRecording", MetricUnit.Seconds)
RECONCILER_RUNS: Final = Metric("ReconcilerRuns")
RECONCILER_REPAIRS: Final = Metric("ReconcilerRepairs")

ARCHIVED_BYTES: Final = Metric("ArchivedBytes", MetricUnit.Bytes)
RECORDING_NOT_ARCHIVED: Final = Metric("RecordingNotArchived")

FAILED_ATTEMPTS: Final = Metric("FailedAttempts", dimensions=("work", "cause"))
"""Batch items that are returned for a retry: the invocation succeeds, so Lambda counts no error."""


def add_to_gap(reason: str, cause: Cause) -> None:
    """Count a recording that was requested and will not exist."""
    RECORDING_GAP.add(cause=cause)
    RECORDING_GAP_BY_REASON.add(reason=reason)
