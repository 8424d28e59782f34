"""Sound for simulated recordings: real WAV and MP3 that a player opens, of any length, piece by piece."""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

RATE_HZ: Final = 8000
"""What Twilio records with."""

_TONES_HZ: Final = (440, 660)
_BYTES_PER_SAMPLE: Final = 2
_HEADER_BYTES: Final = 44

# MPEG 2 layer III at 24 kHz and 32 kbit/s: 576 samples, that is 24 ms, in 96 bytes.
_FRAME_MILLISECONDS: Final = 24
_FRAME_HEADER: Final = {1: b"\xff\xf3\x44\xc0", 2: b"\xff\xf3\x44\x00"}
_FRAME_BYTES: Final = 96


@dataclass(frozen=True)
class Audio:
    """Audio as a web server sends it."""

    content_type: str
    length: int
    pieces: Iterator[bytes]


def wav(*, seconds: int, channels: int, rate_hz: int = RATE_HZ) -> Audio:
    """Return 16-bit PCM, one steady tone for each channel."""
    size = seconds * rate_hz * _BYTES_PER_SAMPLE * channels

    def pieces() -> Iterator[bytes]:
        frame_bytes = _BYTES_PER_SAMPLE * channels
        form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * _BYTES_PER_SAMPLE)
        yield struct.pack("<4sI4s4sI16s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", len(form), form, b"data", size)
        second = _second(channels, rate_hz)
        for _ in range(seconds):
            yield second

    return Audio("audio/x-wav", _HEADER_BYTES + size, pieces())


def mp3(*, seconds: int, channels: int) -> Audio:
    """Return frames of silence."""
    frames = seconds * 1000 // _FRAME_MILLISECONDS
    frame = _FRAME_HEADER[channels].ljust(_FRAME_BYTES, b"\0")
    return Audio("audio/mpeg", frames * _FRAME_BYTES, (frame for _ in range(frames)))


@cache
def _second(channels: int, rate_hz: int) -> bytes:
    return b"".join(
        struct.pack("<h", round(8000 * math.sin(2 * math.pi * _TONES_HZ[channel] * sample / rate_hz)))
        for sample in range(rate_hz)
        for channel in range(channels)
    )
