"""How reports about one recording become one row, in whatever order they arrive.

`merge` is commutative, associative and idempotent: callbacks, API answers and reconciliation can
arrive late, twice or in any order, and the final row is the same. For each attribute the report with the
higher-ranking status wins; a lower one only fills what is missing. To decide that later without
keeping every report, the row stores in `fact_ranks` the rank with which each attribute was reported
(left out for `in-progress`, the usual one, to keep rows small).

A recording can be paused and resumed any number of times. Among active statuses the latest of
Twilio's answers to that wins, and any of them wins over reports without a time; the row
stores it in `control`. `watches` explains how it stores which monitored pauses have ended.

A deleted recording leaves a tombstone: the row without all attributes that lead to its audio.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from call_recording.errors import ForeignAccountError, RecordingClaimedError
from call_recording.recordings import facts as recording_facts
from call_recording.recordings.facts import BY_TWILIO, Control, Facts
from call_recording.recordings.row import AUDIO, TWILIO, Row, as_json, names
from call_recording.recordings.statuses import ACTIVE, LOWEST_KNOWN_RANK, is_known, is_open, rank

OPEN_SHARDS: Final = tuple(f"open#{number}" for number in range(8))
"""Partitions of index `open`, so that no single one gets the writes of all running recordings."""

LEADS_TO_AUDIO: Final = names(lambda attribute: attribute.leads_to == AUDIO)
"""Attributes that the row of a deleted recording loses.

A row whose recording was deleted only at Twilio keeps them: the archive may have the only copy.
"""

LEADS_TO_TWILIO: Final = names(lambda attribute: attribute.leads_to == TWILIO)
"""Attributes that a row loses if its recording was deleted at Twilio."""

MOST_METADATA: Final = 40
"""The most callback parameters under `metadata`: in `callbacks.facts` each one has a maximum, and DynamoDB stores rows
of 400 KB."""

MOST_UNKNOWN_STATUSES: Final = 8
"""The most unknown statuses for which a row stores when they were first reported."""

_GUESSED_RANK: Final = -1
_SECONDS_PER_DAY: Final = 86_400


def merge(row: Mapping[str, Any] | None, facts: Facts, *, retention_days: int) -> Row:
    """Return the row after `facts`; `row` itself is not changed.

    Raises ForeignAccountError if the row belongs to another account, RecordingClaimedError if it
    belongs to another request than `facts`.
    """
    merged: Row = dict(row) if row else {"recording_sid": facts.recording_sid, "account_sid": facts.account_sid}
    if merged["account_sid"] != facts.account_sid:
        raise ForeignAccountError(facts.recording_sid)
    ranks: dict[str, int] = dict(merged.get("fact_ranks", {}))
    metadata: dict[str, str] = dict(merged.get("metadata", {}))
    told_rank = rank(facts.status)

    for name, value in facts.told.items():
        if _wins(name, value, told_rank, merged.get(name), ranks):
            merged[name] = value
    for name, value in facts.metadata.items():
        if _wins(f"metadata.{name}", value, told_rank, metadata.get(name), ranks):
            metadata[name] = value

    # A row without a start would be in no index. Until Twilio reports the start, use when the recording
    # was created, or when it was first reported.
    guess = facts.began_by
    if "start_time" not in merged or (ranks.get("start_time") == _GUESSED_RANK and guess < merged["start_time"]):
        merged["start_time"] = guess
        ranks["start_time"] = _GUESSED_RANK

    # The first by name, so that which ones these are does not depend on the order of reports.
    for name in sorted(metadata)[MOST_METADATA:]:
        del metadata[name]
        ranks.pop(f"metadata.{name}", None)
    if metadata:
        merged["metadata"] = metadata
    merged["fact_ranks"] = ranks
    _merge_status(merged, facts)
    _merge_request(merged, facts)
    _merge_noted(merged, facts)
    return _with_derived(merged, retention_days=retention_days)


def derived_from_start(recording_sid: str, account_sid: str, start_time: str, *, retention_days: int) -> Row:
    """Return the attributes that depend on the recording's start."""
    day = recording_facts.account_day(account_sid, start_time)
    return {
        "account_day": recording_facts.sharded(day, recording_sid),
        "expires_at": recording_facts.epoch_seconds(start_time) + retention_days * _SECONDS_PER_DAY,
    }


def open_shard(recording_sid: str) -> str:
    """Return the recording's partition in index `open`."""
    return OPEN_SHARDS[zlib.crc32(recording_sid.encode()) % len(OPEN_SHARDS)]


def told_at(row: Mapping[str, Any], name: str) -> int:
    """Return the rank of the status with which the attribute was reported; below all ranks if it was not."""
    is_told = name in row
    return int(row.get("fact_ranks", {}).get(name, LOWEST_KNOWN_RANK)) if is_told else _GUESSED_RANK


def _merge_status(row: Row, facts: Facts) -> None:
    held, held_control = row.get("status"), Control(**row["control"]) if "control" in row else None
    if held is None or _weight(facts.status, facts.control) > _weight(held, held_control):
        row["status"] = facts.status
    if facts.control and is_known(facts.status):
        row["control"] = (
            facts.control.merged_with(held_control, is_same=facts.status == held) if held_control else facts.control
        ).as_dict()
    if facts.timers:
        # Imported here to shorten cold starts: starts and callbacks have none.
        from call_recording.recordings import watches  # noqa: PLC0415

        row["timers"] = watches.latest(row.get("timers", {}), facts.timers)
    if facts.pauses_ended_at:
        row["pauses_ended_at"] = max(facts.pauses_ended_at, row.get("pauses_ended_at", ""))
    seen = dict(row.get("status_at", {}))
    seen[facts.status] = min(facts.seen_at, seen.get(facts.status, facts.seen_at))
    row["status_at"] = _bounded(seen, row["status"])


def _bounded(seen: dict[str, str], status: str) -> dict[str, str]:
    """Return when each status was first reported; of unknown ones only the first few, and the row's own.

    Signed callbacks could contain any number of them, and the row with its events must stay small. A status
    that is later than that many others stays later, so the result does not depend on the order of reports.
    """
    unknown = sorted((at, name) for name, at in seen.items() if not is_known(name))
    beyond = {name for _, name in unknown[MOST_UNKNOWN_STATUSES:]} - {status}
    return {name: at for name, at in seen.items() if name not in beyond} if beyond else seen


def _weight(status: str, control: Control | None) -> tuple[Any, ...]:
    """Return the key that decides which of two reported statuses the row has."""
    if status not in ACTIVE:
        return (rank(status), (), 0, status)
    when = control.order if control else ()
    return (LOWEST_KNOWN_RANK, when, rank(status), status)


def _merge_noted(row: Row, facts: Facts) -> None:
    for name, value in facts.noted.items():
        row[name] = _NOTES.get(name, _first)(row.get(name, value), value)
    if row["status"] == "deleted":
        _drop(row, LEADS_TO_TWILIO)
    if "deletion" in row:
        _drop(row, LEADS_TO_AUDIO)


def _drop(row: Row, names: tuple[str, ...]) -> None:
    for name in names:
        row.pop(name, None)
    row["fact_ranks"] = {name: told for name, told in row["fact_ranks"].items() if name.partition(".")[0] not in names}


def _first(held: Any, noted: Any) -> Any:
    """Return the earlier of two notes, which stays."""

    def when(value: Any) -> tuple[str, str]:
        times = value if isinstance(value, dict) else {}
        return times.get("deleted_at") or times.get("archived_at") or "", _ordered(value)

    return min(held, noted, key=when)


def _latest_of_each(held: Mapping[str, str], noted: Mapping[str, str]) -> dict[str, str]:
    """Return the union of both, each entry with its later time."""
    return {name: max(held.get(name, ""), noted.get(name, "")) for name in sorted({*held, *noted})}


_NOTES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {"uploads": _latest_of_each, "deleting_until": max}
"""How to merge notes of which not the first one stays."""


def _merge_request(row: Row, facts: Facts) -> None:
    if facts.intent and row.setdefault("intent", facts.intent) != facts.intent:
        raise RecordingClaimedError(facts.recording_sid)
    row["requested_by"] = _requester(row.get("requested_by"), facts.requested_by)
    # A request has one of each, so any rule between two is right if it is deterministic.
    for name in ("callback_url", "requested_call_sid", "reference"):
        if said := getattr(facts, name):
            row[name] = max(said, row.get(name, ""))


def _with_derived(row: Row, *, retention_days: int) -> Row:
    sid, account_sid = row["recording_sid"], row["account_sid"]
    row |= derived_from_start(sid, account_sid, row["start_time"], retention_days=retention_days)
    if is_open(row["status"]):
        row["open_shard"] = open_shard(sid)
    else:
        row.pop("open_shard", None)
    if "reference" in row:
        named = recording_facts.account_reference(account_sid, row["reference"])
        row["account_reference"] = recording_facts.sharded(named, sid)
    # Twilio may assign a recording that was requested for one leg to the other leg: both find it.
    if row.get("requested_call_sid", row.get("call_sid")) != row.get("call_sid"):
        row["requested_other_call_sid"] = row["requested_call_sid"]
    else:
        row.pop("requested_other_call_sid", None)
    return row


def _wins(name: str, value: Any, told_rank: int, held: Any, ranks: dict[str, int]) -> bool:
    """Return whether a value replaces the existing one, and store its rank if it does (or confirms it)."""
    held_rank = ranks.get(name, LOWEST_KNOWN_RANK)
    wins = held is None or (told_rank, _ordered(value)) >= (held_rank, _ordered(held))
    if wins:
        ranks.pop(name, None)
        if told_rank != LOWEST_KNOWN_RANK:
            ranks[name] = told_rank
    return wins


def _ordered(value: Any) -> str:
    # Either of two contradicting values of equal rank may win, but it must always be the same one.
    return json.dumps(as_json(value), sort_keys=True)


def _requester(held: str | None, told: str) -> str:
    if held is None or held == BY_TWILIO:
        return told
    return held if told == BY_TWILIO else max(held, told)
