"""What the template sets that decides how much the stack can do, read from what SAM makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module
from math import inf
from pkgutil import iter_modules
from typing import Any, Final

from samcli.yamlhelper import yaml_parse

from call_recording import reconcile
from call_recording.recordings.facts import SHARDS
from call_recording.recordings.merge import OPEN_SHARDS
from call_recording.twilio.api import PAGE_SIZE
from generators.template import translated
from local.stack import PROJECT
from tests.scale.limits import LIMITS

FUNCTIONS: Final = {
    "start": "StartRecordingFunction",
    "callbacks": "RecordingStatusFunction",
    "changes": "PublishChangesFunction",
    "archive": "ArchiveRecordingFunction",
}
_PATHS: Final[Mapping[str, tuple[str | int, ...]]] = {
    "control_rate": ("ControlApi", "Properties", "MethodSettings", 0, "ThrottlingRateLimit"),
    "control_burst": ("ControlApi", "Properties", "MethodSettings", 0, "ThrottlingBurstLimit"),
    "webhook_rate": ("WebhookStage", "Properties", "DefaultRouteSettings", "ThrottlingRateLimit"),
    "webhook_burst": ("WebhookStage", "Properties", "DefaultRouteSettings", "ThrottlingBurstLimit"),
    "parallelization": (
        "PublishChangesFunction",
        "Properties",
        "Events",
        "Changes",
        "Properties",
        "ParallelizationFactor",
    ),
    "archive_concurrency": (
        *("ArchiveRecordingFunction", "Properties", "Events", "Completed", "Properties"),
        *("ScalingConfig", "MaximumConcurrency"),
    ),
    "reconcile_at_once": (
        *("ReconcileRecordingsFunction", "Properties", "Environment", "Variables"),
        "RECONCILER_CONCURRENCY",
    ),
}
"""Where the template says what can be set by a parameter."""


@dataclass(frozen=True)
class Settings:
    """What was set. Rates are by the second; concurrencies are executions at once."""

    control_rate: float
    control_burst: float
    webhook_rate: float
    webhook_burst: float
    memory_mb: Mapping[str, int]
    """By the names of FUNCTIONS."""
    reserved: Mapping[str, int]
    """Executions of its own, of functions that have such."""
    stream_batch: int
    parallelization: int
    archive_batch: int
    archive_concurrency: int
    table_writes: float
    """Write units a second that the table takes at once: those of a new one, or WarmThroughput."""
    reconcile_requests: int
    """To Twilio in one run, for each that is sent at once."""
    reconcile_at_once: int
    reconcile_seconds: float
    """How long the reconciler's timeout lets it run, and how often it does."""
    reconcile_every_seconds: float
    reconcile_overlap_seconds: float
    page_size: int = PAGE_SIZE
    account_shards: int = SHARDS
    open_shards: int = len(OPEN_SHARDS)
    is_traced: bool = False
    has_system_logs: bool = True
    archives: bool = True


@cache
def _template() -> Any:
    return yaml_parse((PROJECT / "template.yaml").read_text())


@cache
def read(**parameters: str) -> Settings:
    """Return what a stack with these parameters has; without any, with the defaults."""
    template = _template()
    values = {name: str(said.get("Default", "")) for name, said in template["Parameters"].items()} | parameters
    chosen = _Chosen(values, template["Conditions"])
    resources = {
        name: chosen.of(resource) | {"Properties": chosen.of(resource["Properties"])}
        for name, resource in translated(**parameters).items()
        if "Properties" in resource
    }
    functions = {short: resources[name]["Properties"] for short, name in FUNCTIONS.items()}
    (control,) = _properties(resources, "AWS::ApiGateway::Stage")
    method = control["MethodSettings"][0]
    route = resources["WebhookStage"]["Properties"]["DefaultRouteSettings"]
    sources = _properties(resources, "AWS::Lambda::EventSourceMapping")
    (stream,) = (source for source in sources if "StartingPosition" in source)
    (queue,) = (source for source in sources if _names(source["EventSourceArn"]) == "ArchiveQueue")
    (schedule,) = _properties(resources, "AWS::Scheduler::Schedule")
    warm = resources["RecordingsTable"]["Properties"].get("WarmThroughput", {})
    reconciling = resources["ReconcileRecordingsFunction"]["Properties"]
    return Settings(
        control_rate=float(method["ThrottlingRateLimit"]),
        control_burst=float(method["ThrottlingBurstLimit"]),
        webhook_rate=float(route["ThrottlingRateLimit"]),
        webhook_burst=float(route["ThrottlingBurstLimit"]),
        memory_mb={short: int(said["MemorySize"]) for short, said in functions.items()},
        reserved={
            short: int(said["ReservedConcurrentExecutions"])
            for short, said in functions.items()
            if "ReservedConcurrentExecutions" in said
        },
        stream_batch=int(stream["BatchSize"]),
        parallelization=int(stream.get("ParallelizationFactor", 1)),
        archive_batch=int(queue["BatchSize"]),
        archive_concurrency=concurrency(queue),
        table_writes=float(warm.get("WriteUnitsPerSecond", LIMITS["new-table-writes"].value)),
        reconcile_requests=_of_the_reconciler("MOST_REQUESTS"),
        reconcile_at_once=int(reconciling["Environment"]["Variables"].get("RECONCILER_CONCURRENCY", 1)),
        reconcile_seconds=float(reconciling["Timeout"]),
        reconcile_every_seconds=60.0 * int(schedule["ScheduleExpression"].split("(")[1].split()[0]),
        reconcile_overlap_seconds=_of_the_reconciler("OVERLAP").total_seconds(),
        is_traced=any(said.get("TracingConfig", {}).get("Mode") == "Active" for said in functions.values()),
        has_system_logs=any(
            said["LoggingConfig"].get("SystemLogLevel", "INFO") != "WARN" for said in functions.values()
        ),
        archives=resources["CompletedRule"]["Properties"]["State"] == "ENABLED",
    )


def _of_the_reconciler(name: str) -> Any:
    """Return a constant of its package, whichever module has it."""
    for module in iter_modules(reconcile.__path__, f"{reconcile.__name__}."):
        known = vars(import_module(module.name))
        if found := known.get(name, known.get(f"_{name}")):
            return found
    raise ValueError(f"the reconciler has no {name}")


def parameter_for(setting: str) -> str | None:
    """Return the parameter that sets it; None if the template says a number, or nothing at all."""
    found = _template()["Resources"]
    try:
        for part in _PATHS.get(setting, ()):
            found = found[part]
    except (KeyError, IndexError):
        return None
    return _reference(found) if setting in _PATHS else None


def planned(**wanted: float) -> tuple[Settings, list[str]]:
    """Return a stack in which so much is set, and which of it no parameter of the template can set."""
    parameters = _template()["Parameters"]
    named = {name: parameter_for(name) for name in wanted}
    for name, parameter in named.items():
        if parameter and wanted[name] > parameters[parameter].get("MaxValue", inf):
            named[name] = None
    settings = read(**{parameter: str(wanted[name]) for name, parameter in named.items() if parameter})
    unset = [name for name, value in wanted.items() if getattr(settings, name) != value]
    unknown = set(unset) - {field.name for field in fields(Settings)}
    if unknown:
        raise ValueError(f"no such settings: {sorted(unknown)}")
    return replace(settings, **{name: wanted[name] for name in unset}), unset  # type: ignore[arg-type]


def _reference(value: Any) -> str | None:
    """Return the parameter in it; of a choice, the one that is referred to."""
    if not isinstance(value, Mapping):
        return None
    if "Ref" in value:
        return str(value["Ref"])
    found = [_reference(one) for one in value.get("Fn::If", [])[1:]]
    return next((one for one in found if one and not one.startswith("AWS::")), None)


def _properties(resources: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]


def _names(arn: Any) -> str:
    return str(arn["Fn::GetAtt"][0])


def concurrency(queue: Mapping[str, Any]) -> int:
    """Return how many executions at once a queue's mapping starts."""
    pollers = queue.get("ProvisionedPollerConfig", {}).get("MaximumPollers")
    if pollers:
        return int(int(pollers) * LIMITS["queue-concurrency-per-poller"].value)
    default = LIMITS["queue-concurrency-default"].value
    return int(queue.get("ScalingConfig", {}).get("MaximumConcurrency", default))


@dataclass(frozen=True)
class _Chosen:
    """Says what a template means with these parameters: references to them, and choices by its conditions."""

    values: Mapping[str, str]
    conditions: Mapping[str, Any]

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [one for one in map(self.of, value) if one is not None]
        if not isinstance(value, Mapping):
            return value
        if "Fn::If" in value:
            condition, then, otherwise = value["Fn::If"]
            return self.of(then if self._holds(self.conditions[condition]) else otherwise)
        if value.keys() == {"Ref"}:
            name = value["Ref"]
            return None if name == "AWS::NoValue" else self.values.get(name, value)
        made = {name: self.of(inner) for name, inner in value.items()}
        return {name: inner for name, inner in made.items() if inner is not None}

    def _holds(self, condition: Any) -> bool:
        ((kind, inner),) = condition.items()
        match kind:
            case "Fn::Not":
                return not self._holds(inner[0])
            case "Fn::And":
                return all(map(self._holds, inner))
            case "Fn::Or":
                return any(map(self._holds, inner))
            case "Condition":
                return self._holds(self.conditions[inner])
            case "Fn::Equals":
                one, other = (str(self._text(side)) for side in inner)
                return one == other
        raise ValueError(f"a condition of {kind}")

    def _text(self, side: Any) -> Any:
        if isinstance(side, Mapping) and "Fn::Join" in side:
            between, parts = side["Fn::Join"]
            found = self.of(parts)
            return between.join(map(str, found)) if isinstance(found, list) else found
        return self.of(side)
