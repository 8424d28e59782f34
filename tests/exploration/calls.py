"""Network calls as steps of a history: what each one is called, what it does, and what can become of it."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

import requests
from botocore.exceptions import ClientError, ReadTimeoutError
from urllib3.exceptions import ProtocolError

from local.twilio_simulator.twilio import Answer, Request, Twilio
from tests.conftest import TABLE
from tests.exploration.memory import Memory


class Outcome(StrEnum):
    """What becomes of a call. All but ANSWERED are faults."""

    ANSWERED = "answered"
    LOST = "done, but the answer is lost"
    NOT_DONE = "not done, and nobody can tell"
    REFUSED = "refused: too many requests"
    TWICE = "done, and sent once more because the answer is lost"
    STALE = "answered by an index that lags behind"
    KILLED = "done, and killed there"
    NEVER = "killed before that"


class Call(NamedTuple):
    """A call that waits to be made.

    `do` does it and gives its answer. `faults` are the outcomes besides ANSWERED. `fail` gives what the caller
    meets instead of an answer, and how many seconds that takes. `stale` answers as an index that lags.
    """

    label: str
    do: Callable[[], Any]
    faults: tuple[Outcome, ...] = ()
    fail: Callable[[Outcome], tuple[float, Exception | Any]] = lambda outcome: (0.0, RuntimeError(outcome))
    stale: Callable[[], Any] | None = None


# A read changes nothing: whether it was not done or its answer is lost is the same, and whoever is killed after it is
# as dead as after the write before it.
_READ_FAULTS: Final = (Outcome.NOT_DONE,)
_WRITE_FAULTS: Final = (Outcome.LOST, Outcome.NOT_DONE, Outcome.KILLED)

# botocore sends up to three times, each with a second to connect and two to answer.
_AWS_TIME_OUT_SECONDS: Final = 6.0
_TWILIO_TIME_OUT_SECONDS: Final = 8.0


def aws_call(memory: Memory, before: Memory, operation: str, arguments: Mapping[str, Any]) -> Call:
    """Return a call to AWS; `before` is what an index that lags still shows."""
    name = arguments.get("TableName", "")
    label = _AWS_LABELS[operation, name == TABLE](arguments)

    def do() -> Any:
        return memory.call(operation, arguments)

    def fail(outcome: Outcome) -> tuple[float, Exception]:
        if outcome is Outcome.NOT_DONE:
            return 1.0, ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)
        return _AWS_TIME_OUT_SECONDS, ReadTimeoutError(endpoint_url="https://aws.example.com")

    if operation == "Query":
        return Call(label, do, (*_READ_FAULTS, Outcome.STALE), fail, lambda: before.call(operation, arguments))
    if operation in {"GetItem", "BatchGetItem"}:
        return Call(label, do, _READ_FAULTS, fail)
    again = (Outcome.TWICE,) if operation in {"PutItem", "UpdateItem"} else ()
    return Call(label, do, (*_WRITE_FAULTS, *again), fail)


def twilio_call(twilio: Twilio, request: Request) -> Call:
    """Return a call to Twilio, whose answer is the simulator's or what `requests` raises."""

    def do() -> Answer:
        return twilio.handle(request)

    def fail(outcome: Outcome) -> tuple[float, Exception | Answer]:
        if outcome is Outcome.REFUSED:
            return 0.0, _problem(429, 20429)
        if outcome is Outcome.NOT_DONE:
            return 0.0, requests.ConnectionError(ProtocolError("Connection aborted."))
        return _TWILIO_TIME_OUT_SECONDS, requests.ReadTimeout()

    if request.method == "GET":
        return Call(_twilio_label(request), do, _READ_FAULTS, fail)
    return Call(_twilio_label(request), do, (*_WRITE_FAULTS, Outcome.REFUSED), fail)


def _problem(status: int, code: int) -> Answer:
    return Answer(status, json.dumps({"code": code, "message": "no", "status": status}).encode())


# --- in words ---------------------------------------------------------------------------------------


def _key_label(arguments: Mapping[str, Any]) -> str:
    text = arguments["UpdateExpression"]
    if "#data" in text:
        return "notes the answer under its key"
    if ":free" in text:
        return "frees its key"
    is_new = "attribute_not_exists(#id)" in arguments["ConditionExpression"]
    return "takes its key, if it is new" if is_new else "takes its key, if it was left"


def _row_label(arguments: Mapping[str, Any]) -> str:
    return short(arguments.get("Key", arguments.get("Item"))["recording_sid"]["S"])


def short(sid: str) -> str:
    """Return a counted SID as it is said: `RE0`."""
    return "RE" + (sid[2:].lstrip("0") or "0") if sid.startswith("RE") else sid


_AWS_LABELS: Final[dict[tuple[str, bool], Callable[[Mapping[str, Any]], str]]] = {
    ("UpdateItem", False): _key_label,
    ("GetItem", True): lambda arguments: f"reads the row of {_row_label(arguments)}",
    ("PutItem", True): lambda arguments: f"writes the new row of {_row_label(arguments)}",
    ("UpdateItem", True): lambda arguments: f"changes the row of {_row_label(arguments)}",
    ("Query", True): lambda arguments: f"asks index {arguments['IndexName']}",
    ("BatchGetItem", False): lambda _: "reads several rows",
    ("PutEvents", False): lambda arguments: f"puts {arguments['Entries'][0]['DetailType']!r} on the bus",
    ("CreateSchedule", False): lambda _: "sets a timer",
    ("DeleteSchedule", False): lambda _: "takes its timer back",
}


def _twilio_label(request: Request) -> str:
    last = request.path.rpartition("/")[2].removesuffix(".json")
    if request.method == "GET":
        return "lists the call's recordings" if last == "Recordings" else f"fetches {short(last)} from Twilio"
    if last == "Recordings":
        return "asks Twilio to record"
    status = parse_qs(request.body.decode())["Status"][0]
    return f"asks Twilio to make {short(last)} {status}"
