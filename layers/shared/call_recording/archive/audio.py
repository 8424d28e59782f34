"""How long audio is, and on how many channels, found out while it streams by.

The standard library's `wave` wants a file and knows PCM only; an MP3 says nowhere how long it is.
Both are simple enough to follow: a WAV by its header, an MP3 frame by frame. What does not follow
the format is not the recording, whatever the answer's headers called it.
"""

import struct
from dataclasses import dataclass
from typing import Final, Protocol

from call_recording.errors import WrongMediaError

_LARGEST_HEADER: Final = 65_536
_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)
"""What stands for the length in a WAV that was written before it was known."""


@dataclass(frozen=True)
class Audio:
    """What the audio itself says."""

    duration_seconds: float
    channels: int


class AudioReader(Protocol):
    """Takes audio in pieces of any size."""

    def feed(self, data: bytes) -> None:
        """Take the next piece. Raises WrongMediaError as soon as it is surely not such audio."""

    def finish(self) -> Audio:
        """Return what the audio says. Raises WrongMediaError when it is not whole."""


class WavReader:
    """RIFF/WAVE, whatever its codec: the header says how many bytes a second takes."""

    def __init__(self) -> None:
        self._header = b""
        self._seen = 0
        self._data_starts: int | None = None
        self._data_size = 0
        self._channels = 0
        self._bytes_per_second = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._seen += len(data)
        if self._data_starts is None:
            self._header += data
            self._read_header()

    def finish(self) -> Audio:
        """Return what the audio says."""
        if self._data_starts is None:
            raise WrongMediaError("it ends before its sound begins")
        seen = self._seen - self._data_starts
        size = seen if self._data_size in _UNKNOWN_SIZES else self._data_size
        if seen < size:
            raise WrongMediaError(f"it holds {seen} of {size} bytes of sound")
        return Audio(size / self._bytes_per_second, self._channels)

    def _read_header(self) -> None:
        header = self._header
        if not b"RIFF".startswith(header[:4]) or (len(header) >= 12 and header[8:12] != b"WAVE"):
            raise WrongMediaError("it is not WAV")
        position = 12
        while len(header) >= position + 8:
            name, size = header[position : position + 4], int.from_bytes(header[position + 4 : position + 8], "little")
            if name == b"data":
                if not self._bytes_per_second or not self._channels:
                    raise WrongMediaError("it does not say how its sound is coded")
                self._data_starts, self._data_size, self._header = position + 8, size, b""
                return
            if name == b"fmt " and len(header) >= position + 20:
                self._channels, _, self._bytes_per_second = struct.unpack_from("<HII", header, position + 10)
            position += 8 + size + size % 2
        if len(header) > _LARGEST_HEADER:
            raise WrongMediaError("its header does not end")


class Mp3Reader:
    """MPEG audio, layer III: every frame says how long it is and how many samples it holds."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0
        self._is_first = True
        self._seconds = 0.0
        self._channels = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        data = self._rest + data
        position = 0
        if self._is_first:
            if len(data) < 10:
                self._rest = data
                return
            self._is_first = False
            position = _id3_size(data)
        position += self._skip
        while len(data) >= position + 4:
            if data[position : position + 3] == b"TAG":  # ID3v1: 128 bytes at the end
                position += 128
                continue
            length, seconds, self._channels = _frame(data[position : position + 4])
            self._seconds += seconds
            position += length
        self._skip = max(0, position - len(data))
        self._rest = data[position:]

    def finish(self) -> Audio:
        """Return what the audio says."""
        if not self._seconds:
            raise WrongMediaError("it is not MP3")
        if self._skip or self._rest:
            raise WrongMediaError("its last frame is not whole")
        return Audio(self._seconds, self._channels)


_BIT_RATES: Final = {  # kbit/s of layer III: MPEG 1, and MPEG 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LAYER_III: Final = 1
_MONO: Final = 3


def _id3_size(data: bytes) -> int:
    if data[:3] != b"ID3":
        return 0
    size = 0
    for byte in data[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return size + 10


def _frame(header: bytes) -> tuple[int, float, int]:
    """Return a frame's length in bytes, its length in seconds and its channels."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    bit_rate, sample_rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or layer != _LAYER_III or version not in _SAMPLE_RATES:
        raise WrongMediaError("it is not MP3")
    if bit_rate in {0, 15} or sample_rate == 3:
        raise WrongMediaError("it is MP3 of a kind that does not say how long its frames are")
    is_mpeg_1 = version == 3
    hertz = _SAMPLE_RATES[version][sample_rate]
    samples = 1152 if is_mpeg_1 else 576
    length = samples // 8 * _BIT_RATES[is_mpeg_1][bit_rate] * 1000 // hertz + padding
    return length, samples / hertz, 1 if bits >> 6 & 3 == _MONO else 2
