"""What decodes recordings, and the first choice: libsndfile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from edge_audio.errors import SourceError
from edge_audio.sources.pieces import Piece
from edge_audio.support.arrays import FloatArray
from edge_audio.support.paths import for_soundfile
from edge_audio.support.text import one_line

_MAX_REASON_CHARS = 200
_MAX_BLOCK_VALUES = 1 << 20  # of all channels: 4 MB
_READ_FRAMES = 4_096  # at once: what is lost where a decoder gives up
_PLAIN_READ_FRAMES = 40_960  # where there is nothing to decode: fewer calls
_MAX_FRAMES = 1 << 48  # above it, a length is no length
_FLOATS = ("FLOAT", "DOUBLE")
_PCM_16, _PCM_16_UNIT = "PCM_16", np.float32(1.0 / 32768.0)
_PLAIN, _COMPRESSED = ("PCM_", *_FLOATS), ("FLAC", "OGG", "MP3")
_N_EXPONENTS = 200  # f32 has 128
_MAX_LOUD_SHARE = 1e-4  # of samples: more of them beyond full scale are no clicks


class Decoder(Protocol):
    """A recording that is open.

    rate_hz, n_channels: of the first frames. n_frames: how many it has, 0 if that is not known.
    """

    rate_hz: int
    n_channels: int
    n_frames: int

    def stretches(self) -> Iterator[tuple[int, FloatArray]]:
        """(rate in Hz, f32[n, n_channels]) until there is no more. Raises SourceError, with a
        reason alone, once all is told that can be heard and something is missing."""

    def close(self) -> None: ...


class SndfileDecoder:
    """What libsndfile reads. Raises SourceError with its reason if it refuses the piece."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._opened = None
        try:
            self._opened = piece.open()
            self._file = ForwardFile(_named(self._opened))
        except Exception as error:  # soundfile has several of its own, and TypeError for .raw
            self._close_view()
            raise SourceError(reason_of(error)) from error
        self.rate_hz, self.n_channels = self._file.samplerate, self._file.channels
        n_frames = self._file.frames if piece.stated_frames is None else piece.stated_frames
        n_frames = n_frames or self._file.frames
        self.n_frames = n_frames if n_frames < _MAX_FRAMES else 0

    def close(self) -> None:
        self._file.close()
        self._close_view()

    def _close_view(self) -> None:
        if self._opened is not None and not isinstance(self._opened, Path):
            self._opened.close()

    def stretches(self) -> Iterator[tuple[int, FloatArray]]:
        scale = self._scale()
        n_read = 0
        try:
            while len(frames := self._read()):
                n_read += len(frames)
                yield self.rate_hz, frames if scale == 1.0 else frames * scale
        except Exception as error:
            raise SourceError(f"is damaged or truncated: {reason_of(error)}") from error
        if self._piece.is_cut or n_read < self._claimed_frames:
            raise SourceError(f"is truncated: it ends after {n_read / self.rate_hz:.1f} s")

    @property
    def _claimed_frames(self) -> int:
        stated = self._piece.stated_frames
        return self._file.frames if stated is None else stated

    def _read(self) -> FloatArray:
        n_most = _PLAIN_READ_FRAMES if self._is_plain else _READ_FRAMES
        n_frames = max(1, min(n_most, _MAX_BLOCK_VALUES // self.n_channels))
        if self._file.subtype != _PCM_16 or not self._is_plain:
            frames: FloatArray = self._file.read(n_frames, dtype="float32", always_2d=True)
            return frames
        pcm = self._file.read(n_frames, dtype="int16", always_2d=True)
        scaled: FloatArray = np.multiply(pcm, _PCM_16_UNIT, dtype=np.float32)
        return scaled  # as libsndfile would, but sooner

    @property
    def _is_plain(self) -> bool:
        is_plain: bool = self._file.subtype.startswith(_PLAIN)
        return is_plain and self._file.format not in _COMPRESSED

    def _scale(self) -> float:
        """By what to multiply floats of which many are beyond full scale: a power of two."""
        if self._file.subtype not in _FLOATS:
            return 1.0
        n_by_exponent = self._n_by_exponent()
        self.close()
        self._opened = self._piece.open()
        self._file = ForwardFile(_named(self._opened))
        n_louder = np.cumsum(n_by_exponent[::-1])[::-1]
        n_tolerated = _MAX_LOUD_SHARE * int(n_louder[0])
        exponent = int(np.argmax(n_louder <= n_tolerated)) - 1
        return 2.0 ** -max(0, exponent)

    def _n_by_exponent(self) -> NDArray[np.int64]:
        """i64[n]: how many samples are above 2 ** (k - 1) and not above 2 ** k, those within full
        scale at 0."""
        counts = np.zeros(_N_EXPONENTS, np.int64)
        with suppress(Exception):  # which shows when it is heard
            while len(frames := self._read()):
                loudness = np.abs(frames[np.isfinite(frames)])
                loud = np.nextafter(loudness[loudness > 1.0], np.float32(0.0))
                counts += np.bincount(np.frexp(loud)[1], minlength=len(counts))
                counts[0] += len(loudness) - len(loud)
        return counts


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from its beginning to its end: soundfile would look back after each read, which fails
    where the length is not known, and would read no further than that."""

    def seekable(self) -> bool:
        return False


def _named(opened: Any) -> Any:
    return for_soundfile(opened) if isinstance(opened, Path) else opened


def reason_of(error: Exception) -> str:
    """libsndfile's own words, without the path that soundfile puts before them."""
    text: str = getattr(error, "error_string", None) or str(error)
    text = one_line(text, _MAX_REASON_CHARS).rstrip(".").removeprefix("Error : ")
    return text or type(error).__name__
