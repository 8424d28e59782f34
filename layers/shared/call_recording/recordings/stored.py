"""How a row stands in the table: without what follows from the rest of it, so that most stay below 1 KB.

DynamoDB bills each started KB of a write. What is left out is put back wherever a row is read, and a row that has it,
such as one of a version before, means the same. What a text of Twilio's or of a caller's begins with is never `~`.
"""

import base64
import re
from collections import Counter
from operator import itemgetter
from typing import Any, Final

from call_recording.recordings.facts import BY_EVENTBRIDGE, BY_HTTP
from call_recording.recordings.row import Row, names
from call_recording.recordings.statuses import LOWEST_KNOWN_RANK

_SHORT: Final = "~"
_TWILIO: Final = "https://api.twilio.com"

_FRAGMENT: Final = "#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"
"""How long callbacks may take, as a callback's URL says. It is in no row, so it must not change; another one is."""

_CONTENT_TYPES: Final = {"wav": "audio/x-wav", "mp3": "audio/mpeg"}

_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")
_BASE64: Final = re.compile(r"[0-9A-Za-z+/]{43}=")

_THE_OTHERS: Final = "*"
"""In `fact_ranks`: the rank of what is told and is not named there."""

_SHORTENED: Final = {"bucket", "key", "sha256", "s3_checksum", "content_type"}

_TOLD: Final = names(lambda attribute: attribute.is_told)


def stored(row: Row) -> Row:
    """Return the row as it is to stand in the table."""
    short = dict(row)
    if "recording_url" in row:
        short["recording_url"] = short_url(row["recording_url"], *_sids(row))
    if _ends_with(row.get("callback_url"), _FRAGMENT):
        short["callback_url"] = _SHORT + row["callback_url"].removesuffix(_FRAGMENT)
    if _is_asked_for(row):
        if row.get("requested_call_sid") == row["call_sid"]:
            del short["requested_call_sid"]
        short |= {} if "requested_call_sid" in row else {"requested_call_sid": _SHORT}
    if "archive" in row:
        short["archive"] = _short_proof(row)
    if "fact_ranks" in row:
        short["fact_ranks"] = _short_ranks(row)
    return short


def whole(row: Row) -> Row:
    """Return a row that stands in the table, or some attributes of it, with what was left out."""
    full = dict(row)
    if _is_short(row.get("recording_url")):
        base = row["recording_url"].removeprefix(_SHORT) or _TWILIO
        full["recording_url"] = base + _path(*_sids(row))
    if _is_short(row.get("callback_url")):
        full["callback_url"] = row["callback_url"].removeprefix(_SHORT) + _FRAGMENT
    if _is_asked_for(row) and full.setdefault("requested_call_sid", row["call_sid"]) == _SHORT:
        del full["requested_call_sid"]
    if "archive" in row:
        full["archive"] = _whole_proof(row)
    if "fact_ranks" in row:
        full["fact_ranks"] = _whole_ranks(row)
    return full


def short_url(url: str, account_sid: str, recording_sid: str) -> str:
    """Return `recording_url` as it is to stand in the table."""
    path = _path(account_sid, recording_sid)
    if not _ends_with(url, path):
        return url
    base = url.removesuffix(path)
    return _SHORT + (base if base != _TWILIO else "")


def _ends_with(value: Any, end: str) -> bool:
    return isinstance(value, str) and value.endswith(end)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_SHORT)


def _path(account_sid: str, recording_sid: str) -> str:
    return f"/2010-04-01/Accounts/{account_sid}/Recordings/{recording_sid}"


def _sids(row: Row) -> list[str]:
    """Return the account and the recording; nothing of a row that somebody edited and that names none."""
    named = [row.get("account_sid"), row.get("recording_sid")]
    return [sid if isinstance(sid, str) else "" for sid in named]


def _is_asked_for(row: Row) -> bool:
    """Tell whether a call was named for it: that one is the recording's own, where the row says no other."""
    return row.get("requested_by") in (BY_HTTP, BY_EVENTBRIDGE) and "call_sid" in row


# Of the proof there is left out: where it is, which `uploads` say if they name one place; what WAV and MP3 are called;
# and S3's checksum of what was stored in one piece, which is the audio's own. That one stands in base64, as S3's does.


def _short_proof(row: Row) -> Any:
    proof, place = row["archive"], _only_place(row)
    if place is None or not isinstance(proof, dict) or not proof.keys() >= _SHORTENED:
        return proof
    suffix = proof["key"].rpartition(".")[2] if isinstance(proof["key"], str) else ""
    digest = _as_base64(proof["sha256"])
    if (proof["bucket"], proof["key"]) != _where(row, place, suffix) or digest is None:
        return proof
    short = proof | {"key": suffix, "sha256": digest}
    del short["bucket"]
    if proof["s3_checksum"] == digest:
        del short["s3_checksum"]
    if proof["content_type"] == _CONTENT_TYPES.get(suffix):
        del short["content_type"]
    return short


def _whole_proof(row: Row) -> Any:
    proof, place = row["archive"], _only_place(row)
    if place is None or not isinstance(proof, dict) or "bucket" in proof:
        return proof
    suffix, digest = proof.get("key"), proof.get("sha256")
    hexadecimal = _as_hexadecimal(digest)
    if not isinstance(suffix, str) or hexadecimal is None:
        return proof
    bucket, key = _where(row, place, suffix)
    implied = {"bucket": bucket, "s3_checksum": digest, "content_type": _CONTENT_TYPES.get(suffix)}
    return implied | proof | {"key": key, "sha256": hexadecimal}


def _only_place(row: Row) -> str | None:
    uploads = row.get("uploads")
    return next(iter(uploads)) if isinstance(uploads, dict) and len(uploads) == 1 else None


def _where(row: Row, place: str, suffix: str) -> tuple[str, str]:
    bucket, _, within = place.partition("/")
    account_sid, recording_sid = _sids(row)
    return bucket, f"{account_sid}/{within}/{recording_sid}.{suffix}"


def _as_base64(hexadecimal: Any) -> str | None:
    """Return a SHA-256 as S3 writes it, or None where it is none that is written as ours are."""
    if not isinstance(hexadecimal, str) or not _HEXADECIMAL.fullmatch(hexadecimal):
        return None
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def _as_hexadecimal(digest: Any) -> str | None:
    if not isinstance(digest, str) or not _BASE64.fullmatch(digest):
        return None
    return base64.b64decode(digest).hex()


# Most of what is told is told with the last status. A row of `in-progress` alone names no ranks.


def _short_ranks(row: Row) -> dict[str, Any]:
    ranks, told = row["fact_ranks"], _told(row)
    usual, _ = max(Counter(ranks.get(name, LOWEST_KNOWN_RANK) for name in told).items(), key=itemgetter(1, 0))
    if usual == LOWEST_KNOWN_RANK:
        return dict(ranks)
    others = {name: ranks.get(name, LOWEST_KNOWN_RANK) for name in (*told, *ranks)}
    return {_THE_OTHERS: usual} | {name: held for name, held in others.items() if name not in told or held != usual}


def _whole_ranks(row: Row) -> Any:
    ranks = row["fact_ranks"]
    if not isinstance(ranks, dict) or _THE_OTHERS not in ranks:
        return ranks
    each = dict.fromkeys(_told(row), ranks[_THE_OTHERS]) | ranks
    del each[_THE_OTHERS]
    return {name: held for name, held in each.items() if held != LOWEST_KNOWN_RANK}


def _told(row: Row) -> list[str]:
    metadata = row.get("metadata")
    more = [f"metadata.{name}" for name in metadata] if isinstance(metadata, dict) else []
    return [*(name for name in _TOLD if name in row), *more]
