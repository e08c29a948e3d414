"""Audio files of any format, rate, channels and length, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Timeline
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import one_line

_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000  # of files
_MAX_REASON_CHARS = 200
_MAX_BLOCK_VALUES = 1 << 22  # of all channels: 16 MB
_UNKNOWN_RIFF_BYTES = 0x7FFF_F000  # encoders that write to a pipe put such sizes or 0


class AudioFile:
    """WAV, FLAC, OGG, MP3 and whatever else libsndfile reads, of any rate, channels and length;
    read block by block, never whole.

    Where the format states its length (all but OGG), a file that ends early is delivered as far
    as it goes and then raises SourceError.
    """

    live = False
    waits = True
    max_burst_s = 0.0
    n_restarts = 0

    def __init__(
        self, path: str | Path, sample_rate_hz: int = 16_000, block_ms: float = 1000.0
    ) -> None:
        self.path = Path(path)
        self.name = str(path)
        self.sample_rate_hz = sample_rate_hz
        self._block_ms = block_ms

    def __enter__(self) -> AudioFile:
        if not self.path.is_file():
            raise UsageError(f"no such audio file: {self.path}")
        if self.path.suffix.lower() == ".raw":  # soundfile goes by the name, and asks for a rate
            raise SourceError(
                f"{self.path} has no header that tells its rate and format: pipe it in, "
                f"`edge-audio listen --source - --rate 16000 --sample-format s16le < {self.path}`"
            )
        try:
            self._file = soundfile.SoundFile(self.path)
        except Exception as error:  # soundfile has several of its own, and TypeError for .raw
            raise SourceError(f"cannot read {self.path} as audio: {_reason(error)}") from error
        rate_hz = self._file.samplerate
        if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:  # hours of nothing, or blocks of gigabytes
            self._file.close()
            limits = f"{_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz"
            raise SourceError(
                f"{self.path} states {rate_hz} Hz: damaged, or convert it to {limits}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def stop(self) -> None:
        """Does nothing: reading a file never waits."""

    @property
    def duration_s(self) -> float:
        """Length as the file states it; known once the file is open."""
        seconds: float = self._file.frames / self._file.samplerate
        return seconds

    def blocks(self) -> Iterator[Block]:
        """The file from its current position to its end, about block_ms at a time."""
        timeline = Timeline(self._file.samplerate, self.sample_rate_hz)
        n_read_frames = 0
        for frames in self._frames():
            n_read_frames += len(frames)
            yield from timeline.push(frames)
        yield from timeline.flush()
        if n_read_frames == 0:
            raise SourceError(f"{self.path} holds no audio")
        if n_read_frames < self._file.frames or _is_cut_short(self.path):
            seconds = n_read_frames / self._file.samplerate
            raise SourceError(f"{self.path} is truncated: it ends after {seconds:.1f} s")

    def _frames(self) -> Iterator[FloatArray]:
        """f32[n, n_channels] until the decoder has no more."""
        n_frames = round(self._file.samplerate * self._block_ms / 1000.0)
        n_frames = max(1, min(n_frames, _MAX_BLOCK_VALUES // self._file.channels))
        while True:
            try:
                frames = self._file.read(n_frames, dtype="float32", always_2d=True)
            except Exception as error:
                reason = _reason(error)
                raise SourceError(f"{self.path} is damaged or truncated: {reason}") from error
            if len(frames) == 0:
                return
            yield frames


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the path that soundfile puts before them."""
    if isinstance(error, UnicodeEncodeError):
        return "its name is not UTF-8: rename it"
    text: str = getattr(error, "error_string", None) or str(error)
    text = one_line(text, _MAX_REASON_CHARS).rstrip(".").removeprefix("Error : ")
    return text or type(error).__name__


def _is_cut_short(path: Path) -> bool:
    """Whether a RIFF file is shorter than its header says; libsndfile would read on silently."""
    with path.open("rb") as file:
        header = file.read(8)
    if header[:4] != b"RIFF":
        return False
    n_riff_bytes = int.from_bytes(header[4:8], "little")
    return path.stat().st_size < n_riff_bytes + 8 and n_riff_bytes < _UNKNOWN_RIFF_BYTES
