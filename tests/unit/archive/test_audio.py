"""Audio says itself how long it is; what is no audio, or not all of it, is noticed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_recording.archive.audio import Audio, AudioReader, Mp3Reader, WavReader
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


# --- beside the sound -----------------------------------------------------------------------------


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def parts(seconds: int) -> tuple[bytes, bytes]:
    """Return the format chunk and the sound of so much WAV."""
    whole = b"".join(wav(seconds=seconds, channels=2).pieces)
    return whole[12:36], whole[44:]


def file(*chunks: bytes, kind: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack("<I", len(body) if size is None else size) + body


@pytest.mark.parametrize("piece", [1 << 20, 1000, 13])
def test_a_wav_s_header_may_be_longer_than_a_piece_and_is_not_kept(piece: int) -> None:
    form, sound = parts(1)

    data = file(chunk(b"id3 ", bytes(200_001)), form, chunk(b"LIST", bytes(100)), chunk(b"data", sound))

    assert read(WavReader(), data, piece) == (1.0, 2)


def test_a_header_that_never_ends_is_no_wav() -> None:
    reader = WavReader()

    reader.feed(file(chunk(b"junk", bytes(60_000), 0x7FFFFFFF)))

    with pytest.raises(WrongMediaError, match="before its sound begins"):
        reader.finish()


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [1 << 20, 1])
def test_a_wav_for_more_than_four_gigabytes_says_its_size_elsewhere(kind: bytes, size: int) -> None:
    form, sound = parts(1)
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(sound), 0, 0))

    data = file(sizes, form, chunk(b"data", sound, 0xFFFFFFFF), chunk(b"LIST", b"abcd"), kind=kind, size=0xFFFFFFFF)

    assert read(WavReader(), data, size) == (1.0, 2)
    with pytest.raises(WrongMediaError, match="bytes of sound"):
        read(WavReader(), data[:-13], size)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_size_that_was_not_known_is_that_of_what_came_but_proves_no_end(size: int) -> None:
    form, sound = parts(2)
    reader = WavReader()

    reader.feed(file(form, chunk(b"data", sound, size), size=36 if size == 0 else 0xFFFFFFFF))

    assert reader.finish() == Audio(2.0, 2, is_bounded=False)


def test_a_size_that_was_known_proves_the_end() -> None:
    form, sound = parts(2)
    reader = WavReader()

    reader.feed(file(form, chunk(b"data", sound)))

    assert reader.finish() == Audio(2.0, 2, is_bounded=True)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_without_any_sound_is_noticed_whatever_size_it_names(size: int) -> None:
    form, _ = parts(1)

    with pytest.raises(WrongMediaError):
        read(WavReader(), file(form, chunk(b"data", b"", size)))


def test_what_stands_behind_no_sound_is_no_sound() -> None:
    form, _ = parts(1)

    with pytest.raises(WrongMediaError, match="no sound"):
        read(WavReader(), file(form, chunk(b"data", b""), chunk(b"LIST", bytes(32_000))))


MP3 = b"".join(mp3(seconds=3, channels=1).pieces)


def id3(size: int, *, has_footer: bool = False) -> bytes:
    head = b"ID3\4\0" + bytes([0x10 if has_footer else 0, 0, size >> 14 & 127, size >> 7 & 127, size & 127])
    return head + b"\xff\xfb" * (size // 2) + (b"3DI" + head[3:] if has_footer else b"")


def ape(items: bytes) -> bytes:
    def end(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, len(items) + 32, 1, flags) + bytes(8)

    return end(0xA0000000) + items + end(0x80000000)


BESIDE: dict[str, tuple[bytes, bytes]] = {
    "two ID3 tags before": (id3(130) + id3(20_000), b""),
    "an ID3 tag with a footer": (id3(130, has_footer=True), b""),
    "zeros behind the tag": (id3(130) + bytes(1000), b""),
    "zeros at the end": (b"", bytes(3001)),
    "an APE tag at the end": (b"", ape(b"x" * 5000)),
    "an APE tag before": (ape(b"\xff\xfb" * 40), b""),
    "an APE tag of nothing": (b"", ape(b"")[32:]),
    "all that players write": (
        id3(130),
        bytes(7) + ape(b"x" * 99) + b"TAG+".ljust(227, b"y") + b"TAG".ljust(128, b"z"),
    ),
    "an ID3 tag at the end": (b"", id3(500, has_footer=True)),
}


@pytest.mark.parametrize("size", [1 << 20, 1000, 1])
@pytest.mark.parametrize(("before", "behind"), BESIDE.values(), ids=BESIDE)
def test_what_lies_beside_an_mp3_s_sound_is_not_sound(before: bytes, behind: bytes, size: int) -> None:
    seconds, channels = read(Mp3Reader(), before + MP3 + behind, size)

    assert (round(seconds, 6), channels) == (3.0, 1)


@pytest.mark.parametrize(("before", "behind"), BESIDE.values(), ids=BESIDE)
def test_a_tag_that_is_cut_is_no_end(before: bytes, behind: bytes) -> None:
    if behind.strip(b"\0"):
        with pytest.raises(WrongMediaError):
            read(Mp3Reader(), before + MP3 + behind[:-1])
    with pytest.raises(WrongMediaError):
        read(Mp3Reader(), before)


@pytest.mark.parametrize("between", [bytes(96), b"x" * 96, ape(b"x" * 50)[32:]], ids=["zeros", "rubbish", "half a tag"])
def test_what_is_missing_in_the_middle_of_an_mp3_is_noticed(between: bytes) -> None:
    with pytest.raises(WrongMediaError):
        read(Mp3Reader(), MP3[:960] + between + MP3[960:])


def test_an_mp3_never_says_where_it_ends() -> None:
    reader = Mp3Reader()

    reader.feed(MP3)

    assert not reader.finish().is_bounded


# --- what a file says of itself can be wrong --------------------------------------------------------


def wrong(data: bytes, *, sound: int, riff: int | None = None) -> bytes:
    """Return the WAV with another size of its sound, and of the file."""
    riff_size = data[4:8] if riff is None else struct.pack("<I", riff)
    return data[:4] + riff_size + data[8:40] + struct.pack("<I", sound) + data[44:]


@given(sound=st.integers(0, 0xFFFFFFFF), riff=st.integers(0, 0xFFFFFFFF), piece=st.sampled_from([1 << 20, 999]))
def test_where_all_has_come_a_wav_is_as_long_as_what_came_whatever_it_says(sound: int, riff: int, piece: int) -> None:
    reader = WavReader()
    data = wrong(b"".join(wav(seconds=3, channels=2).pieces), sound=sound, riff=riff)

    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])

    assert reader.finish(has_all_come=True).duration_seconds == 3.0


@given(sound=st.integers(0, 47_990))
def test_a_size_that_is_too_small_proves_no_end(sound: int) -> None:
    reader = WavReader()

    reader.feed(wrong(b"".join(wav(seconds=3, channels=1).pieces), sound=sound))

    assert not reader.finish().is_bounded


def test_more_than_came_is_announced_unless_it_is_the_header_that_was_counted() -> None:
    data = b"".join(wav(seconds=3, channels=1).pieces)
    announced = []
    counted = wrong(data, sound=48_044, riff=48_080)
    for cut in (data[:-16_000], wrong(data, sound=64_000), wrong(data, sound=64_000, riff=0), counted):
        reader = WavReader()
        reader.feed(cut)
        announced.append(reader.finish(has_all_come=True).announced_seconds)

    assert announced == [3.0, 4.0, 4.0, None]


@pytest.mark.parametrize("codec", [1, 3, 6, 7, 0xFFFE])
@pytest.mark.parametrize("average", [0, 1, 44_100, 0xFFFFFFFF])
def test_the_bytes_of_a_second_come_from_rate_and_block_where_blocks_are_samples(codec: int, average: int) -> None:
    _, sound = parts(2)
    form = struct.pack("<HHIIHH", codec, 2, 8000, average, 4, 16)
    if codec == 0xFFFE:
        form += struct.pack("<HHIH14s", 22, 16, 3, 1, b"")

    assert read(WavReader(), file(chunk(b"fmt ", form), chunk(b"data", sound)), 13) == (2.0, 2)


@pytest.mark.parametrize("form", [struct.pack("<HHIIHH", 0x31, 1, 8000, 1625, 65, 0)], ids=["GSM 6.10"])
def test_the_bytes_of_a_second_of_other_codecs_are_what_the_file_says(form: bytes) -> None:
    assert read(WavReader(), file(chunk(b"fmt ", form), chunk(b"data", bytes(3250)))) == (2.0, 1)


@pytest.mark.parametrize("extra", [b"", b"LIST\x05\0\0\0abcde", chunk(b"id3 ", bytes(70_001)), bytes(100), b"\xff" * 9])
@pytest.mark.parametrize("piece", [1 << 20, 7])
def test_only_chunks_behind_the_sound_are_told_from_it(extra: bytes, piece: int) -> None:
    reader = WavReader()
    data = b"".join(wav(seconds=1, channels=1).pieces) + extra
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])

    audio = reader.finish(has_all_come=True)

    is_chunk = extra[:1].isalpha() or not extra
    assert (audio.duration_seconds == 1.0, audio.is_bounded) == (is_chunk, is_chunk)


UNKNOWN_TAGS = {
    "an APE tag without a header": ape(b"x" * 5000)[32:],
    "Lyrics3": b"LYRICSBEGIN" + b"IND0000200" * 9 + b"000101LYRICS200" + b"TAG".ljust(128, b"y"),
    "the footer of an ID3 tag alone": id3(130, has_footer=True)[-10:],
    "what looks like a frame": b"x\xff\xf3\x44\xc0 and no more",
    "half a frame's head": b"xxxx\xff",
    "the end of a line": b"\r\n",
    "zeros and what a player wrote": bytes(7) + b"LAME" * 9,
}


@pytest.mark.parametrize("size", [1 << 20, 100, 1])
@pytest.mark.parametrize("behind", UNKNOWN_TAGS.values(), ids=UNKNOWN_TAGS)
def test_behind_an_mp3_s_sound_may_be_what_nobody_knows(behind: bytes, size: int) -> None:
    assert round(read(Mp3Reader(), MP3 + behind, size)[0], 6) == 3.0


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("is_said", [True, False])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_id3_tag_may_have_a_footer_or_not_whatever_it_says(version: int, *, is_said: bool, is_there: bool) -> None:
    tag = id3(130, has_footer=is_there)
    tag = tag[:3] + bytes([version, 0, 0x10 if is_said else 0]) + tag[6:]

    assert round(read(Mp3Reader(), tag + MP3)[0], 6) == 3.0
    assert round(read(Mp3Reader(), MP3 + tag)[0], 6) == 3.0


@pytest.mark.parametrize("size", [1 << 20, 1])
@given(at=st.integers(1, len(MP3) // 96 - 2), junk=st.binary(min_size=1, max_size=50))
def test_what_goes_on_behind_something_else_is_a_gap(at: int, junk: bytes, size: int) -> None:
    with pytest.raises(WrongMediaError):
        read(Mp3Reader(), MP3[: at * 96] + b"-" + junk + b"-" + MP3[at * 96 :], size)
