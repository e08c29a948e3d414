"""Lossy codecs as an augmentation: encode and decode in memory."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
import soundfile as sf

from edge_audio.support.arrays import FloatArray


class Codec(NamedTuple):
    """A format of libsndfile; compression: 0 for the best quality, 1 for the smallest file."""

    container: str
    subtype: str
    compression: float | None = None


CODECS = (
    Codec("MP3", "MPEG_LAYER_III", 0.5),
    Codec("MP3", "MPEG_LAYER_III", 0.9),
    Codec("OGG", "VORBIS", 0.6),
    Codec("OGG", "VORBIS", 0.95),
    Codec("WAV", "ULAW"),
    Codec("WAV", "GSM610"),
)
"""Good and poor settings of what a recording is likely to have gone through."""


def transcode(samples: FloatArray, sample_rate_hz: int, codec: Codec) -> FloatArray:
    """Mono samples after the codec, of the same length; what exceeds [-1, 1] is clipped."""
    file = BytesIO()
    bounded = np.clip(samples, -1.0, 1.0)
    options = {} if codec.compression is None else {"compression_level": codec.compression}
    sf.write(
        file, bounded, sample_rate_hz, format=codec.container, subtype=codec.subtype, **options
    )
    file.seek(0)
    decoded, _ = sf.read(file, dtype="float32")
    return np.pad(decoded[: len(samples)], (0, max(0, len(samples) - len(decoded))))
