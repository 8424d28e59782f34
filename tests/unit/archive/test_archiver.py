"""Audio counts as whole only where something proves that nothing is missing."""

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses

from call_recording.archive.archiver import FORMATS, _Passing
from call_recording.deadline import Deadline
from call_recording.errors import WrongMediaError
from call_recording.twilio.api import Media
from local.twilio_simulator.audio import mp3, wav

URL = "https://api.twilio.com/audio"
WAV = b"".join(wav(seconds=2, channels=2).pieces)
MP3 = b"".join(mp3(seconds=2, channels=2).pieces)
TYPES = {"wav": "audio/x-wav", "mp3": "audio/mpeg"}


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with responses.mock:
        yield


def passed(
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    suffix: str = "wav",
    seconds: int = 2,
    encrypted: bool = False,
) -> bytes:
    """Return what passes, or raise what speaks against it."""
    responses.get(URL, body=body, content_type=TYPES[suffix], headers=headers)
    row: dict[str, Any] = {"duration_seconds": seconds} | ({"encryption_details": {"iv": "i"}} if encrypted else {})
    with requests.get(URL, stream=True, timeout=5) as response:
        passing = _Passing(Media(response), row, FORMATS[suffix], 2)
        whole = b"".join(passing.pieces(Deadline(60)))
        passing.check()
    return whole


def unknown_size(data: bytes) -> bytes:
    return data[:4] + b"\xff" * 4 + data[8:40] + b"\xff" * 4 + data[44:]


def test_a_wav_says_itself_where_it_ends() -> None:
    assert passed(WAV) == WAV


@pytest.mark.parametrize("headers", [{"Content-Length": "len"}, {"Transfer-Encoding": "chunked"}])
def test_where_the_answer_says_where_it_ends_the_audio_need_not(headers: dict[str, str]) -> None:
    for suffix, body, encrypted in (("wav", unknown_size(WAV), False), ("mp3", MP3, False), ("wav", b"secret", True)):
        told = {name: value.replace("len", str(len(body))) for name, value in headers.items()}
        responses.reset()
        assert passed(body, told, suffix=suffix, encrypted=encrypted) == body


def test_where_nothing_says_where_it_ends_nothing_is_proven() -> None:
    for suffix, body, encrypted in (("wav", unknown_size(WAV), False), ("mp3", MP3, False), ("wav", b"secret", True)):
        responses.reset()
        with pytest.raises(WrongMediaError, match="nothing says where it ends"):
            passed(body, suffix=suffix, encrypted=encrypted)


@pytest.mark.parametrize("seconds", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "44"}])
def test_a_wav_without_sound_is_no_short_recording(seconds: int, size: int, headers: dict[str, str]) -> None:
    with pytest.raises(WrongMediaError):
        passed(WAV[:40] + struct.pack("<I", size), headers, seconds=seconds)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_audio_that_is_compressed_on_the_way_is_kept_as_it_was(encoding: str) -> None:
    compressed = gzip.compress(WAV)

    assert passed(compressed, {"Content-Encoding": encoding, "Content-Length": str(len(compressed))}) == WAV


def test_compressed_audio_of_which_a_part_did_not_come_is_noticed() -> None:
    with pytest.raises(WrongMediaError):
        passed(gzip.compress(WAV)[:-100], {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"})


@pytest.mark.parametrize(("encoding", "encrypted"), [("compress", False), ("gzip, br", False), ("gzip", True)])
def test_what_cannot_be_unpacked_or_looked_into_is_not_kept(encoding: str, *, encrypted: bool) -> None:
    body = gzip.compress(WAV)

    with pytest.raises(WrongMediaError, match="content encoding"):
        passed(body, {"Content-Encoding": encoding, "Content-Length": str(len(body))}, encrypted=encrypted)


def test_identity_is_no_encoding() -> None:
    assert passed(WAV, {"Content-Encoding": "identity"}) == WAV
