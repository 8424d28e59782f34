"""Audio says itself how long it is; what is no audio, or not all of it, is noticed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_recording.archive.audio import AudioReader, Mp3Reader, WavReader
from call_recording.errors import WrongMediaError
from local.twilio_simulator.audio import mp3, wav


def read(reader: AudioReader, data: bytes, size: int = 1 << 20) -> tuple[float, int]:
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    audio = reader.finish()
    return audio.duration_seconds, audio.channels


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 44, 1000, 1 << 20])
def test_a_wav_says_how_long_it_is_in_pieces_of_any_size(channels: int, size: int) -> None:
    data = b"".join(wav(seconds=3, channels=channels).pieces)

    assert read(WavReader(), data, size) == (3.0, channels)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 96, 1000, 1 << 20])
def test_an_mp3_says_how_long_it_is_in_pieces_of_any_size(channels: int, size: int) -> None:
    data = b"".join(mp3(seconds=3, channels=channels).pieces)

    seconds, found = read(Mp3Reader(), data, size)

    assert (round(seconds, 6), found) == (3.0, channels)


def test_the_tags_before_and_behind_an_mp3_are_not_sound() -> None:
    id3 = b"ID3\4\0\0" + bytes([0, 0, 1, 2]) + b"x" * 130
    data = id3 + b"".join(mp3(seconds=3, channels=1).pieces) + b"TAG".ljust(128, b"y")

    for size in (1, 50, 4096):
        assert round(read(Mp3Reader(), data, size)[0], 6) == 3.0


def test_chunks_before_the_sound_and_behind_it_are_skipped() -> None:
    whole = b"".join(wav(seconds=1, channels=1).pieces)
    listed = b"LIST" + struct.pack("<I", 5) + b"abcde\0"

    assert read(WavReader(), whole[:12] + listed + whole[12:] + listed)[0] == 1.0


def test_a_wav_that_was_written_before_its_length_was_known_is_as_long_as_it_is() -> None:
    whole = b"".join(wav(seconds=2, channels=1).pieces)

    assert read(WavReader(), whole[:40] + b"\xff" * 4 + whole[44:])[0] == 2.0


@pytest.mark.parametrize("audio", [wav, mp3])
def test_audio_that_ends_in_the_middle_is_noticed(audio: type) -> None:
    data = b"".join(audio(seconds=2, channels=1).pieces)
    reader = WavReader() if audio is wav else Mp3Reader()

    with pytest.raises(WrongMediaError):
        read(reader, data[:-50])


@pytest.mark.parametrize("reader", [WavReader, Mp3Reader])
@given(st.binary(max_size=200) | st.sampled_from([b"<html><body>Error</body></html>", b'{"code": 20404}', b""]))
def test_what_is_no_audio_is_noticed(reader: type[WavReader] | type[Mp3Reader], data: bytes) -> None:
    with pytest.raises(WrongMediaError):
        read(reader(), data, 16)


def test_a_wav_without_an_end_of_its_header_is_given_up() -> None:
    reader = WavReader()

    reader.feed(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f".ljust(60_000, b"\0"))
    with pytest.raises(WrongMediaError, match="does not end"):
        reader.feed(bytes(6_000))
