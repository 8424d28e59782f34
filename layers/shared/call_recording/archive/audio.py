"""The length and channels of audio, determined while it streams.

The standard library's `wave` needs a file and supports only PCM; an MP3 does not contain its length.
Both formats are simple to parse: a WAV chunk by chunk, an MP3 frame by frame. Data that breaks the
format is not the recording, whatever the answer's headers say. Data other than sound may have any size.

The sizes in a file can be wrong: programs that write to a pipe invent them. If the answer itself
proved that everything has arrived, that counts, and the file's own sizes only help to separate sound
from other data.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from call_recording.errors import WrongMediaError


@dataclass(frozen=True)
class Audio:
    """The audio's own data; `is_bounded` if it announces its size, so that missing data is noticed.

    `announced_seconds` is the length according to its own size, if that is more than arrived.
    """

    duration_seconds: float
    channels: int
    is_bounded: bool
    announced_seconds: float | None = None
    is_followed: bool = False
    """Whether something other than sound follows it: a tag, or an error page in place of the rest."""


class AudioReader(Protocol):
    """Reads audio in pieces of any size."""

    def feed(self, data: bytes) -> None:
        """Read the next piece. Raises WrongMediaError as soon as it cannot be such audio."""

    def finish(self, *, has_all_come: bool = False) -> Audio:
        """Return the audio's data. Raises WrongMediaError if it is incomplete.

        `has_all_come` if the answer has proven that everything arrived: then larger sizes in the audio are wrong.
        """


class _Steps:
    """A stream of parts with their own length; only the beginning of a part is kept, until its length is known."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0
        self._taken = 0

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        data = self._rest + data
        position = self._skip
        while position < len(data) and (length := self._step(data, position)):
            position += length
            self._taken += length
        self._skip = max(0, position - len(data))
        self._rest = data[position:]

    def _step(self, data: bytes, position: int) -> int:
        """Return the length of the part that begins there; 0 if more of it is needed to tell."""
        raise NotImplementedError


_KINDS: Final = (b"RIFF", b"RF64", b"BW64")
"""The last two can be larger than 4 GB; a chunk `ds64` has their sizes (EBU Tech 3306, ITU-R BS.2088)."""

_FORM_BYTES, _HEADER_BYTES, _SIZES_BYTES = 12, 8, 16
_FORMAT_BYTES, _WHOLE_FORMAT_BYTES = 16, 26
_UNKNOWN, _UNKNOWN_LARGE = 0x7FFF_F000, 1 << 63
"""Sizes from here on may be placeholders, unless that much arrives. So may 0."""

_EXTENSIBLE: Final = 0xFFFE
_SAMPLES: Final = frozenset({1, 3, 6, 7})
"""Codecs whose blocks are one sample of every channel: PCM, floating point, A-law, mu-law (RFC 2361)."""


class WavReader(_Steps):
    """RIFF/WAVE, whatever its codec: the header says how many bytes a second takes.

    Its own size of the sound is right if that much arrived, and only chunks follow until the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._came = 0
        self._has_form = False
        self._sound_starts: int | None = None
        self._size = self._left = 0
        self._large_size: int | None = None
        self._channels = self._bytes_per_second = 0
        self._is_followed_by_chunks = True

    def feed(self, data: bytes) -> None:
        """Read the next piece."""
        self._came += len(data)
        super().feed(data)

    def finish(self, *, has_all_come: bool = False) -> Audio:
        """Return the audio's data."""
        if self._sound_starts is None:
            raise WrongMediaError("it ends before its sound begins")
        came = self._came - self._sound_starts
        is_cut = came < self._size < (_UNKNOWN if self._large_size is None else _UNKNOWN_LARGE)
        if is_cut and not has_all_come:
            raise WrongMediaError(f"it contains {came} of {self._size} bytes of sound")
        # A padding byte may be missing at the end.
        is_right = self._is_followed_by_chunks and self._left <= self._size % 2 and self._skip <= 1 and not self._rest
        sound = self._size if is_right else came
        if not sound:
            raise WrongMediaError("it contains no sound")
        is_cut = is_cut and self._size - came > self._sound_starts  # some programs count the header as sound
        announced = self._size / self._bytes_per_second if is_cut else None
        return Audio(sound / self._bytes_per_second, self._channels, is_right, announced)

    def _step(self, data: bytes, position: int) -> int:
        if self._sound_starts is not None:
            return self._behind(data, position)
        if not self._has_form:
            return self._form(data[:_FORM_BYTES])
        return self._chunk(data[position : position + _HEADER_BYTES + _WHOLE_FORMAT_BYTES])

    def _behind(self, data: bytes, position: int) -> int:
        """Return the length of the part after the start of the sound."""
        rest = len(data) - position
        if self._left:
            length = min(self._left, rest)
            self._left -= length
            return length
        name = data[position : position + 4]
        self._is_followed_by_chunks &= name.isascii() and name.decode("latin-1").isprintable()
        if not self._is_followed_by_chunks:
            return rest
        return _chunk_length(data[position : position + _HEADER_BYTES])

    def _form(self, form: bytes) -> int:
        if not any(kind.startswith(form[:4]) for kind in _KINDS) or not b"WAVE".startswith(form[8:]):
            raise WrongMediaError("it is not WAV")
        if len(form) < _FORM_BYTES:
            return 0
        self._has_form = True
        return _FORM_BYTES

    def _chunk(self, chunk: bytes) -> int:
        if len(chunk) < _HEADER_BYTES:
            return 0
        name, size = chunk[:4], int.from_bytes(chunk[4:8], "little")
        if name == b"data":
            if not self._bytes_per_second or not self._channels:
                raise WrongMediaError("it does not name its codec")
            if self._large_size is not None and size < 0xFFFF_FFFF:
                self._large_size = None
            self._size = size if self._large_size is None else self._large_size
            self._left = self._size + self._size % 2
            self._sound_starts = self._taken + _HEADER_BYTES
            return _HEADER_BYTES
        if name == b"fmt " and size >= _FORMAT_BYTES:
            if len(chunk) < _HEADER_BYTES + min(size, _WHOLE_FORMAT_BYTES):
                return 0
            self._format(chunk[_HEADER_BYTES : _HEADER_BYTES + size])
        elif name == b"ds64" and size >= _SIZES_BYTES:
            if len(chunk) < _HEADER_BYTES + _SIZES_BYTES:
                return 0
            self._large_size = int.from_bytes(chunk[16:24], "little")
        return _chunk_length(chunk)

    def _format(self, form: bytes) -> None:
        codec, self._channels, hertz, average, block_bytes = struct.unpack_from("<HHIIH", form)
        if codec == _EXTENSIBLE and len(form) >= _WHOLE_FORMAT_BYTES:
            codec = int.from_bytes(form[24:26], "little")
        # The average helps players to read ahead, and is often wrong.
        exact = hertz * block_bytes if codec in _SAMPLES else 0
        self._bytes_per_second = exact or average


def _chunk_length(chunk: bytes) -> int:
    """Return the length of the chunk that begins there, padding included; 0 if more is needed to tell."""
    size = int.from_bytes(chunk[4:8], "little")
    return _HEADER_BYTES + size + size % 2 if len(chunk) >= _HEADER_BYTES else 0


class Mp3Reader(_Steps):
    """MPEG audio, layer III: every frame contains its length and its number of samples.

    Tags may be anywhere between frames, and zeros before the first frame and after the last. After that
    may be any other data: there are too many kinds of tags to know them all.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._channels = 0
        self._has_ended = False
        self._is_beside = False

    def finish(self, *, has_all_come: bool = False) -> Audio:  # noqa: ARG002 (it has no size that could be wrong)
        """Return the audio's data."""
        if not self._seconds:
            raise WrongMediaError("it is not MP3")
        is_begun = self._rest.startswith(b"\xff") or len(self._rest) >= _FRAME_HEAD_BYTES
        if self._skip or (is_begun and not self._is_beside):
            raise WrongMediaError("its last frame is incomplete")
        return Audio(self._seconds, self._channels, is_bounded=False, is_followed=self._is_beside)

    def _step(self, data: bytes, position: int) -> int:
        if self._is_beside:
            return _beside(data, position)
        if not data[position]:
            self._has_ended = bool(self._seconds)
            rest = data[position:]
            return len(rest) - len(rest.lstrip(b"\0"))
        head = data[position : position + _TAG_HEAD_BYTES]
        if len(head) < _FRAME_HEAD_BYTES:
            return 0
        try:
            if (length := _tag(head)) is not None:
                return length
            length, seconds, self._channels = _frame(head[:_FRAME_HEAD_BYTES])
        except WrongMediaError:
            if not self._seconds:
                raise
            self._is_beside = True
            if data[position:].lstrip()[:1] in {b"<", b"{"}:
                raise WrongMediaError("it contains a page or an error message") from None
            return _beside(data, position)
        if self._has_ended:
            raise WrongMediaError(_GAP)
        self._seconds += seconds
        return length


_GAP: Final = "there is a gap in it"
_MAY_BE_FRAME: Final = re.compile(rb"\xff[\xe2-\xff]")
_SAME_BITS: Final = 0xFFFE_0C00
"""The bits that are the same in all frames of an MP3: version, layer and sample rate."""


def _beside(data: bytes, position: int) -> int:
    """Return how many bytes there are not sound; 0 if more of them are needed to tell.

    Raises WrongMediaError if frames follow: then the sound has a gap.
    """
    found = _MAY_BE_FRAME.search(data, position)
    if found is None:
        return len(data) - position - data.endswith(b"\xff")
    if found.start() > position:
        return found.start() - position
    head = data[position : position + _FRAME_HEAD_BYTES]
    if len(head) < _FRAME_HEAD_BYTES:
        return 0
    try:
        length, _, _ = _frame(head)
    except WrongMediaError:
        return 1
    following = data[position + length : position + length + _FRAME_HEAD_BYTES]
    if len(following) < _FRAME_HEAD_BYTES:
        return 0
    if not (int.from_bytes(head, "big") ^ int.from_bytes(following, "big")) & _SAME_BITS:
        raise WrongMediaError(_GAP)
    return 1


_FRAME_HEAD_BYTES, _TAG_HEAD_BYTES, _ID3_HEAD_BYTES = 4, 32, 10
_BIT_RATES: Final = {  # kbit/s of layer III: MPEG 1, and MPEG 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_III: Final = 1
_MONO: Final = 3


def _tag(head: bytes) -> int | None:
    """Return the length of the tag that begins there; 0 if more is needed to tell, None if it is not a tag."""
    if head.startswith(b"TAG"):  # ID3v1, and its extension
        return 227 if head.startswith(b"TAG+") else 128
    if head.startswith(b"ID3"):
        return _id3v2(head) if len(head) >= _ID3_HEAD_BYTES else 0
    if head.startswith(b"3DI"):  # the footer that an ID3v2.4 tag may have, even if its header does not say so
        return _ID3_HEAD_BYTES
    if head.startswith(b"APETAGEX"[: len(head)]):
        return _ape(head) if len(head) == _TAG_HEAD_BYTES else 0
    return None


def _id3v2(head: bytes) -> int:
    size = 0
    for byte in head[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return _ID3_HEAD_BYTES + size


def _ape(head: bytes) -> int:
    size, is_header = int.from_bytes(head[12:16], "little"), head[23] & 0x20
    if not is_header and size != _TAG_HEAD_BYTES:  # the end of a tag whose start is not marked
        raise WrongMediaError("it is not MP3")
    return _TAG_HEAD_BYTES + size if is_header else size


def _frame(header: bytes) -> tuple[int, float, int]:
    """Return a frame's length in bytes, its length in seconds and its channels."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    bit_rate, sample_rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or layer != _LAYER_III or version not in _SAMPLE_RATES:
        raise WrongMediaError("it is not MP3")
    if bit_rate in {0, 15} or sample_rate == 3:
        raise WrongMediaError("it is an MP3 whose frames have no length")
    is_mpeg_1 = version == 3
    hertz = _SAMPLE_RATES[version][sample_rate]
    samples = 1152 if is_mpeg_1 else 576
    length = samples // 8 * _BIT_RATES[is_mpeg_1][bit_rate] * 1000 // hertz + padding
    return length, samples / hertz, 1 if bits >> 6 & 3 == _MONO else 2
