"""The figures that this application counts: each one's name, unit and dimensions, in one place.

They are written to the log in CloudWatch's embedded metric format, by Powertools; the namespace is
the stack's own. `RecordingGap` is the one that matters: recordings that were asked for and are not
there. Its `cause` says who can change that, because alarms are for those who can.
"""

from functools import cache
from threading import Lock
from typing import Final, NamedTuple

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from call_recording.errors import Cause


@cache
def _written() -> Metrics:
    # The service's name is for the loggers: as one more dimension of every figure it would hide them from the alarms.
    return Metrics(service="")


_LOCK: Final = Lock()
"""Whoever asks Twilio several things at once measures how long each took."""

OTHER: Final = "other"
"""Stands in a dimension for everything that others can make up: CloudWatch bills each value, and alarms know none."""


class Metric(NamedTuple):
    """A figure. `dimensions` are the names that every one of its values comes with.

    `known` are the values that dimensions can have whose values come from elsewhere; all others become `other`.
    Where it is empty, the values are words of this application's own code, which are as many as there are.
    """

    name: str
    unit: MetricUnit = MetricUnit.Count
    dimensions: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()

    def add(self, value: float = 1, **dimensions: str) -> None:
        """Write a value.

        Raises TypeError when the dimensions are not those of the metric: an alarm would never see it.
        """
        if dimensions.keys() != set(self.dimensions):
            raise TypeError(f"{self.name} has the dimensions {self.dimensions}, not {tuple(dimensions)}")
        # Each for itself: figures that are written together share their dimensions.
        with _LOCK:
            written = _written()
            for name in self.dimensions:
                word = dimensions[name]
                written.add_dimension(name, word if not self.known or word in self.known else OTHER)
            written.add_metric(self.name, self.unit, value)
            written.flush_metrics()


# Of recordings and of requests in general, as far as Twilio documents them, and HTTP's statuses.
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
"""Work of batches that is given back to be tried again: the invocation is a success, so Lambda counts no error."""


def add_to_gap(reason: str, cause: Cause) -> None:
    """Count a recording that was asked for and will not be there."""
    RECORDING_GAP.add(cause=cause)
    RECORDING_GAP_BY_REASON.add(reason=reason)
