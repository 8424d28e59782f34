"""Sound for simulated recordings: a real WAV file that a player opens."""

import io
import math
import struct
import wave
from functools import cache
from typing import Final

_RATE_HZ: Final = 8000
_TONES_HZ: Final = (440, 660)


@cache
def wav(*, seconds: int, channels: int) -> bytes:
    """Return 16-bit PCM at 8 kHz, one steady tone for each channel."""
    second = b"".join(
        struct.pack("<h", round(8000 * math.sin(2 * math.pi * _TONES_HZ[channel] * sample / _RATE_HZ)))
        for sample in range(_RATE_HZ)
        for channel in range(channels)
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(_RATE_HZ)
        writer.writeframes(second * seconds)
    return file.getvalue()
