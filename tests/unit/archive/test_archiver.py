"""Audio counts as whole only where something proves that nothing is missing."""

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from call_recording.archive.archiver import FORMATS, _is_encrypted, _Passing
from call_recording.deadline import Deadline
from call_recording.errors import TwilioUnavailableError, WrongMediaError
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
    row: dict[str, Any] = {"duration_seconds": seconds} | (
        {"encryption_details": {"encryption_cek": "k"}} if encrypted else {}
    )
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
        with pytest.raises(WrongMediaError, match="nothing marks its end"):
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


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "0"}])
def test_nothing_is_no_audio_although_all_of_it_came(headers: dict[str, str], *, encrypted: bool) -> None:
    with pytest.raises(WrongMediaError):
        passed(b"", headers, seconds=0, encrypted=encrypted)


def test_identity_is_no_encoding() -> None:
    assert passed(WAV, {"Content-Encoding": "identity"}) == WAV


# --- transport and Twilio's duration prove the length; what a file says of itself only helps --------

LONG = {"wav": b"".join(wav(seconds=42, channels=2).pieces), "mp3": b"".join(mp3(seconds=42, channels=2).pieces)}


def sized(size: int, *, riff: int | None = None) -> bytes:
    data = LONG["wav"]
    return (
        data[:4]
        + struct.pack("<I", min(size + 36, 0xFFFFFFFF) if riff is None else riff)
        + data[8:40]
        + struct.pack("<I", size)
        + data[44:]
    )


def told(way: str, length: int) -> dict[str, str]:
    return {"chunked": {"Transfer-Encoding": "chunked"}, "length": {"Content-Length": str(length)}, "none": {}}[way]


SOUND = len(LONG["wav"]) - 44
SIZES = [0, 1, 36, SOUND // 2, SOUND - 1, SOUND + 1, SOUND + 44, SOUND * 2, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF]


@pytest.mark.parametrize("riff", [None, 0, len(LONG["wav"]) - 8, 0x7FFFF024, 0xFFFFFFFF])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_wav_that_came_whole_is_kept_whatever_size_it_says(way: str, size: int, riff: int | None) -> None:
    data = sized(size, riff=riff)

    assert passed(data, told(way, len(data)), seconds=42) == data


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_wav_that_was_compressed_and_says_that_more_was_to_come_is_refused(way: str) -> None:
    """That all of the compressed came does not prove that all of it was compressed."""
    packed = gzip.compress(sized(SOUND * 2))

    with pytest.raises(WrongMediaError):
        passed(packed, told(way, len(packed)) | {"Content-Encoding": "gzip"}, seconds=42)


@pytest.mark.parametrize("size", [size for size in SIZES if size != SOUND - 1])
def test_without_a_proof_of_transport_a_wrong_size_proves_nothing(size: int) -> None:
    with pytest.raises(WrongMediaError):
        passed(sized(size), seconds=42)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("way", ["none", "length"])
@given(part=st.floats(0, 0.9999))
def test_what_is_cut_anywhere_never_passes(suffix: str, way: str, part: float) -> None:
    whole = LONG[suffix]
    responses.reset()

    with pytest.raises((WrongMediaError, TwilioUnavailableError)):
        passed(whole[: int(len(whole) * part)], told(way, len(whole)), suffix=suffix, seconds=42)


@pytest.mark.parametrize("way", ["length", "chunked"])
@given(part=st.floats(0, 0.9999))
def test_a_wav_that_was_cut_before_it_was_sent_never_passes(way: str, part: float) -> None:
    """Its own sizes agree with Twilio's length, and what came does not as well."""
    cut = LONG["wav"][: int(len(LONG["wav"]) * part)]
    responses.reset()

    with pytest.raises(WrongMediaError):
        passed(cut, told(way, len(cut)), seconds=42)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("way", ["length", "chunked"])
@given(part=st.floats(0, 0.95))
def test_what_is_shorter_than_twilio_says_never_passes(suffix: str, way: str, part: float) -> None:
    whole = unknown_size(LONG["wav"]) if suffix == "wav" else LONG["mp3"]
    cut = whole[: int(len(whole) * part)]
    responses.reset()

    with pytest.raises(WrongMediaError):
        passed(cut, told(way, len(cut)), suffix=suffix, seconds=42)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize(
    "page", [b"<html><body>Error</body></html>", b'{"code": 20404, "status": 404}', b"RIFF", b"ID3"]
)
def test_an_error_page_never_passes_whatever_it_is_called(suffix: str, page: bytes) -> None:
    for way in ("length", "chunked", "none"):
        for body in (page, page * 9000):
            responses.reset()
            with pytest.raises(WrongMediaError):
                passed(body, told(way, len(body)), suffix=suffix, seconds=42)


@pytest.mark.parametrize("page", [b"<html>502 Bad Gateway</html>", b'{"code": 20404}', b"\n <Error/>"])
@pytest.mark.parametrize("seconds", [2, 3])
def test_a_part_of_an_mp3_with_a_page_in_place_of_the_rest_is_refused(seconds: int, page: bytes) -> None:
    body = MP3 + page

    with pytest.raises(WrongMediaError):
        passed(body, {"Content-Length": str(len(body))}, suffix="mp3", seconds=seconds)


def test_a_part_of_an_mp3_with_something_else_behind_it_may_be_less_far_off() -> None:
    body = MP3 + b"TAIL of what nobody knows"
    told = {"Content-Length": str(len(body))}

    assert passed(body, told, suffix="mp3", seconds=2) == body
    with pytest.raises(WrongMediaError):
        passed(body, told, suffix="mp3", seconds=4)


@pytest.mark.parametrize("details", [{"iv": None}, {"iv": ""}, {"a": {}}, {"encryption_iv": "i"}, {"a": 1}])
def test_details_without_a_key_do_not_make_audio_an_encrypted_one(details: dict[str, Any]) -> None:
    assert not _is_encrypted({"encryption_details": details})
    assert not _is_encrypted({})
    assert _is_encrypted({"encryption_details": details | {"encryption_cek": "k"}})
