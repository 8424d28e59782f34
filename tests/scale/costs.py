"""What AWS bills for a million recordings, from what one was counted to take; docs/reference/costs.md has the sources.

Prices are list prices of `us-east-1` in US dollars, without free tiers, as they could be looked up in November 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.conftest import LOG_EVENT_BYTES
from tests.scale import durations
from tests.scale.durations import Durations
from tests.scale.model import Course
from tests.scale.recording import Made
from tests.scale.settings import Settings

CONTROL_API: Final = 3.50
WEBHOOK_API: Final = 1.00
INVOCATIONS: Final = 0.20
GB_SECONDS: Final = 13.3334
WRITE_UNITS: Final = 0.625
READ_UNITS: Final = 0.125
EVENTS: Final = 1.00
SQS: Final = 0.40
S3_PUTS: Final = 5.00
LOGS_GB: Final = 0.50
TRACES: Final = 5.00
"""Each for a million, but logs: for a GB."""
TIMES: Final = "\N{MULTIPLICATION SIGN}"

_PUTS: Final = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
_QUEUE_REQUESTS: Final = 3
"""A message is sent, received and deleted."""

_REQUEST_ID: Final = "52fdfc07-2182-154f-163f-5f0f9a621d72"
_SYSTEM_LOGS: Final = (
    f'{{"time":"2026-11-22T07:33:01.000Z","type":"platform.start","record":{{"requestId":"{_REQUEST_ID}","version":"12"}}}}',
    '{"time":"2026-11-22T07:33:01.000Z","type":"platform.report","record":{"requestId":"' + _REQUEST_ID + '","metrics":'
    '{"durationMs":123.45,"billedDurationMs":124,"memorySizeMB":512,"maxMemoryUsedMB":90},"status":"success"}}',
)
"""What Lambda itself logs of an invocation. Source: "Lambda Telemetry API Event schema reference", in its guide."""
_ACCESS_LOG: Final = (
    '{"request_id":"abcdefghijklmno=","time":"22/Nov/2026:07:33:01 +0000","method":"POST",'
    '"route":"POST /recording-status","status":"204","latency_ms":"47","integration_error":"-"}'
)
"""WebhookApi's, of each request, as the template has it."""


@dataclass(frozen=True)
class Use:
    """What a recording takes, on the average. `logs_kb` are of 1,000 bytes."""

    control_requests: float
    webhook_requests: float
    events_in: float
    invocations: Mapping[str, float]
    gb_seconds: Mapping[str, float]
    write_units: float
    read_units: float
    events_out: float
    queue_requests: float
    puts: float
    logs_kb: float
    traces: float

    @classmethod
    def usual(cls, made: Made, settings: Settings) -> "Use":
        """Return that of a recording by itself: each change is published alone."""
        took, memory = Durations.of(made, settings.memory_mb), settings.memory_mb
        calls = made.calls()
        published = sum(step.calls.get("PutEvents", 0) for step in made.changes)
        seconds = {
            "start": took.start + durations.TWILIO_SECONDS,
            "callbacks": took.in_progress + took.completed,
            "changes": sum(took.changes(1, step.calls.get("PutEvents", 0)) for step in made.changes),
            "archive": took.archive + durations.TWILIO_SECONDS,
        }
        invocations = {"start": 1.0, "callbacks": 2.0, "changes": float(len(made.changes)), "archive": 1.0}
        times = sum(invocations.values())
        logs = sum(step.log_bytes for step in made.steps) + 2 * (len(_ACCESS_LOG) + LOG_EVENT_BYTES)
        return cls(
            control_requests=1,
            webhook_requests=2,
            events_in=0,
            invocations=invocations,
            gb_seconds={name: spent * memory[name] / 1024 for name, spent in seconds.items()},
            write_units=sum(made.units().values()),
            # And a start asks what is paused, once in two seconds for each execution environment: here, each does.
            read_units=calls["GetItem"] + calls["BatchGetItem"] + 1,
            events_out=published,
            queue_requests=_QUEUE_REQUESTS,
            puts=sum(calls[name] for name in _PUTS),
            logs_kb=(logs + times * _system_log_bytes(settings)) / 1e3,
            traces=times if settings.is_traced else 0,
        )

    def under(self, course: Course, settings: Settings) -> "Use":
        """Return what it becomes under a load: what is shared is shared, what is tried again is paid again."""
        known = {name: course.invocations[name] / course.calls_ended for name in self.invocations}
        more = sum(known.values()) - sum(self.invocations.values())
        # A batch writes one line for each ten events, and reads what is paused once.
        return replace(
            self,
            invocations=known,
            gb_seconds={name: course.gigabyte_seconds[name] / course.calls_ended for name in self.gb_seconds},
            logs_kb=self.logs_kb + more * _system_log_bytes(settings) / 1e3,
            traces=sum(known.values()) if settings.is_traced else 0,
        )


def _system_log_bytes(settings: Settings) -> int:
    return sum(len(line) + LOG_EVENT_BYTES for line in _SYSTEM_LOGS) if settings.has_system_logs else 0


@dataclass(frozen=True)
class Line:
    """A line of the bill: what, how it comes about, and dollars for a million recordings."""

    what: str
    arithmetic: str
    dollars: float


def lines(use: Use) -> list[Line]:
    """Return the bill for a million recordings; what is not used is not on it."""

    def line(what: str, quantity: float, price: float, unit: str = "", details: str = "") -> Line:
        number = f"{quantity:.3f}".rstrip("0").rstrip(".")
        return Line(
            what, f"{number}{unit} {TIMES} {max(f'{price:.2f}', f'{price:g}', key=len)}{details}", quantity * price
        )

    def shares(parts: Mapping[str, float], form: str = "g") -> str:
        return ": " + ", ".join(f"{name} {value:{form}}" for name, value in parts.items() if value)

    bill = [
        line("ControlApi, requests", use.control_requests, CONTROL_API),
        line("WebhookApi, requests", use.webhook_requests, WEBHOOK_API),
        line("EventBridge, events in", use.events_in, EVENTS),
        line("Lambda, requests", sum(use.invocations.values()), INVOCATIONS, details=shares(use.invocations, ".3g")),
        line("Lambda, time", sum(use.gb_seconds.values()), GB_SECONDS, " GB-s", shares(use.gb_seconds, ".2f")),
        line("DynamoDB, write units", use.write_units, WRITE_UNITS),
        line("DynamoDB, read units", use.read_units, READ_UNITS),
        line("EventBridge, events out", use.events_out, EVENTS),
        line("SQS, requests", use.queue_requests, SQS),
        line("S3, requests that write", use.puts, S3_PUTS),
        line("logs", use.logs_kb, LOGS_GB, " KB"),
        line("X-Ray, traces", use.traces, TRACES),
    ]
    return [one for one in bill if one.dollars]


def dollars(use: Use) -> float:
    """Return the sum for a million recordings."""
    return sum(line.dollars for line in lines(use))


# --- what can be chosen -------------------------------------------------------------------------------


def lean(use: Use) -> Use:
    """Return a stack that spares what it can and keeps the audio: starts by event, no traces, one piece of audio."""
    return in_one_piece(by_event(replace(use, traces=0)))


def by_event(use: Use) -> Use:
    """Return what a start by an event takes, in place of a request to ControlApi."""
    return replace(use, control_requests=0, events_in=1)


def in_one_piece(use: Use) -> Use:
    """Return what audio takes that fits into one request."""
    return replace(use, puts=1)


def in_two_parts(use: Use) -> Use:
    """Return what audio takes that needs two: they are begun and completed, too."""
    return replace(use, puts=4)


def without_key(use: Use, made: Made) -> Use:
    """Return what a start without an `Idempotency-Key` takes."""
    return replace(use, write_units=use.write_units - made.start.units.get("idempotency", 0))


def without_archive(use: Use, made: Made) -> Use:
    """Return what a stack takes with `ArchiveRecordings=false`: no audio, no proof, no change of the row for it."""
    changes = [step for step in made.changes if "PutEvents" in step.calls]
    gone = len(made.changes) - len(changes) + 1
    spared = {"archive": use.invocations["archive"], "changes": float(gone)}
    per_change = use.gb_seconds["changes"] / use.invocations["changes"]
    return replace(
        use,
        invocations={name: value - spared.get(name, 0) for name, value in use.invocations.items()},
        gb_seconds={**use.gb_seconds, "archive": 0, "changes": use.gb_seconds["changes"] - gone * per_change},
        write_units=use.write_units - sum(made.archive.units.values()),
        read_units=use.read_units - made.archive.calls.get("GetItem", 0),
        events_out=use.events_out - 1,
        queue_requests=0,
        puts=0,
        logs_kb=use.logs_kb - made.archive.log_bytes / 1e3,
        traces=max(0, use.traces - gone - 1),
    )
