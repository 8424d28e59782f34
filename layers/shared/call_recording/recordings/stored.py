"""How a row stands in the table: without what follows from the rest of it, so that most stay below 1 KB.

DynamoDB bills each started KB of a write. What is left out is put back wherever a row is read, and a row that has it,
such as one of a version before, means the same. What a text of Twilio's or of a caller's begins with is never `~`.
"""

import base64
import re
from typing import Any, Final

from call_recording.recordings.row import Row

_SHORT: Final = "~"
_TWILIO: Final = "https://api.twilio.com"

_FRAGMENT: Final = "#ct=2000&rt=4000&rc=5&rp=ct,rt,5xx"
"""How long callbacks may take, as a callback's URL says. It is in no row, so it must not change; another one is."""

_WEBHOOK: Final = re.compile(r"https://([0-9a-z]+)\.execute-api\.([0-9a-z-]+)\.amazonaws\.com/recording-status")

_CONTENT_TYPES: Final = {"wav": "audio/x-wav", "mp3": "audio/mpeg"}

_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{64}")
_BASE64: Final = re.compile(r"[0-9A-Za-z+/]{43}=")

_IN_A_PROOF: Final = {
    "key": "k",
    "version_id": "v",
    "bytes": "b",
    "sha256": "s",
    "s3_checksum": "p",
    "channels": "c",
    "duration_milliseconds": "d",
    "archived_at": "a",
}
_OF_A_PROOF: Final = {short: name for name, short in _IN_A_PROOF.items()}
_NEEDED: Final = {"bucket", "key", "sha256", "s3_checksum", "content_type"}


def stored(row: Row) -> Row:
    """Return the row as it is to stand in the table."""
    short = dict(row)
    if "recording_url" in row:
        short["recording_url"] = short_url(row["recording_url"], *_sids(row))
    if _ends_with(row.get("callback_url"), _FRAGMENT):
        url = row["callback_url"].removesuffix(_FRAGMENT)
        webhook = _WEBHOOK.fullmatch(url)
        short["callback_url"] = _SHORT + (".".join(webhook.groups()) if webhook else url)
    if "archive" in row:
        short["archive"] = _short_proof(row)
    return short


def whole(row: Row) -> Row:
    """Return a row that stands in the table, or some attributes of it, with what was left out."""
    full = dict(row)
    if _is_short(row.get("recording_url")):
        base = row["recording_url"].removeprefix(_SHORT) or _TWILIO
        full["recording_url"] = base + _path(*_sids(row))
    if _is_short(row.get("callback_url")):
        url = row["callback_url"].removeprefix(_SHORT)
        api, dot, region = url.partition(".")
        is_webhook = dot and "/" not in url
        url = f"https://{api}.execute-api.{region}.amazonaws.com/recording-status" if is_webhook else url
        full["callback_url"] = url + _FRAGMENT
    if "archive" in row:
        full["archive"] = _whole_proof(row)
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


# Of the proof there is left out: where it is, which `uploads` say if they name one place; what WAV and MP3 are called;
# and S3's checksum of what was stored in one piece, which is the audio's own. That one stands in base64, as S3's does.
# Its fields have short names. Nothing else has, nor is anything left out by which a version before, at work beside this
# one, decides whose word wins.


def _short_proof(row: Row) -> Any:
    proof, place = row["archive"], _only_place(row)
    if place is None or not isinstance(proof, dict) or not proof.keys() >= _NEEDED:
        return proof
    suffix = proof["key"].rpartition(".")[2] if isinstance(proof["key"], str) else ""
    digest = _as_base64(proof["sha256"])
    if (proof["bucket"], proof["key"]) != _where(row, place, suffix) or digest is None:
        return proof
    short = {_IN_A_PROOF.get(name, name): value for name, value in proof.items()} | {"k": suffix, "s": digest}
    del short["bucket"]
    if proof["s3_checksum"] == digest:
        del short["p"]
    if proof["content_type"] == _CONTENT_TYPES.get(suffix):
        del short["content_type"]
    return short


def _whole_proof(row: Row) -> Any:
    proof, place = row["archive"], _only_place(row)
    if place is None or not isinstance(proof, dict) or "bucket" in proof:
        return proof
    suffix, digest = proof.get("k"), proof.get("s")
    hexadecimal = _as_hexadecimal(digest)
    if not isinstance(suffix, str) or hexadecimal is None:
        return proof
    bucket, key = _where(row, place, suffix)
    implied = {"bucket": bucket, "s3_checksum": digest, "content_type": _CONTENT_TYPES.get(suffix)}
    told = {_OF_A_PROOF.get(name, name): value for name, value in proof.items()}
    return implied | told | {"key": key, "sha256": hexadecimal}


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
