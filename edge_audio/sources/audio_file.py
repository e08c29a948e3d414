"""Audio files of any format, rate, channels and length, read block by block."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, timed
from edge_audio.sources.decoders import Decoder, SndfileDecoder
from edge_audio.sources.kinds import APPLE_DOUBLE, MEDIA_SUFFIXES, SNDFILE_KINDS
from edge_audio.sources.media import MediaDecoder
from edge_audio.sources.pieces import Piece, kind_of_file, pieces
from edge_audio.sources.resample import MIX
from edge_audio.support.arrays import FloatArray

_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000  # of files
LONG_BLOCK_MS = 2560.0
"""For files heard at a go: what a decoder reads and the engine takes at once, of WAV at 16 kHz."""


class AudioFile:
    """WAV, FLAC, OGG, MP3 and whatever else libsndfile reads, and with the extra `media` what
    ffmpeg's libraries read, of any rate, channels and length; read block by block, never whole.

    Files that were joined are heard one after the other. What was cut off is delivered as far as
    it goes; then SourceError is raised.

    duration_s: as the file states it, 0 if it does not; of joined files, that of the first. Known
    once the file is open.
    """

    live = False
    waits = True
    max_burst_s = 0.0
    n_restarts = 0

    def __init__(
        self,
        path: str | Path,
        sample_rate_hz: int = 16_000,
        block_ms: float = 1000.0,
        channel: str = MIX,
    ) -> None:
        self.path = Path(path)
        self.name = str(path)
        self.sample_rate_hz = sample_rate_hz
        self.duration_s = 0.0
        self._block_ms, self._channel = block_ms, channel
        self._pieces: list[Piece] = []
        self._decoder: Decoder | None = None

    def __enter__(self) -> AudioFile:
        """Raises UsageError for what is no file, SourceError for what is no audio."""
        check_is_file(self.path)
        if self.path.suffix.lower() == ".raw":  # soundfile goes by the name, and asks for a rate
            raise SourceError(
                f"{self.path} has no header that tells its rate and format: pipe it in, "
                f"`edge-audio listen --source - --rate 16000 --sample-format s16le < {self.path}`"
            )
        try:
            self._open()
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror or error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def stop(self) -> None:
        """Does nothing: reading a file never waits."""

    def blocks(self) -> Iterator[Block]:
        """The file to its end, block_ms at a time."""
        problems: list[str] = []
        has_heard = False
        heard = timed(self._stretches(problems), self.sample_rate_hz, self._channel)
        n_block = max(1, round(self.sample_rate_hz * self._block_ms / 1000.0))
        for block in _cut(heard, n_block, self.sample_rate_hz):
            has_heard = True
            yield block
        if problems:
            raise SourceError(f"{self.path} {problems[0]}")
        if not has_heard:
            raise SourceError(f"{self.path} holds no audio")

    def _open(self) -> None:
        """Opens the first piece that can be opened. Raises SourceError."""
        if not self.path.stat().st_size:
            raise SourceError(f"{self.path} is empty: it holds no audio")
        kind = kind_of_file(self.path)
        if kind == APPLE_DOUBLE:
            raise SourceError(f"{self.path} is {kind}: leave it out")
        self._pieces, refusal = pieces(self.path, kind), SourceError()
        while self._pieces and self._decoder is None:
            try:
                self._decoder = SndfileDecoder(self._pieces.pop(0))
            except SourceError as error:
                refusal = error
        if self._decoder is None:
            self._decoder = self._media(kind, refusal)
        self._check(self._decoder.rate_hz)
        self._check_channel(self._decoder.n_channels)
        self.duration_s = self._decoder.n_frames / self._decoder.rate_hz

    def _media(self, kind: str | None, refusal: SourceError) -> Decoder:
        """By ffmpeg's libraries, what libsndfile refuses for this reason."""
        suffix = self.path.suffix.lower()
        is_refused = isinstance(refusal.__cause__, soundfile.LibsndfileError)  # and not a mishap
        if not is_refused or (kind is None and suffix not in MEDIA_SUFFIXES):
            raise SourceError(f"cannot read {self.path} as audio: {refusal}") from refusal
        try:
            return MediaDecoder.of_file(self.path)
        except SourceError as error:
            shown = kind or f"a {suffix[1:]} file"
            told = str(refusal) if kind in SNDFILE_KINDS else f"it is {shown}; {error}"
            raise SourceError(f"cannot read {self.path} as audio: {told}") from error

    def _check(self, rate_hz: int) -> None:
        """Raises SourceError for a rate that would give hours of nothing, or blocks of
        gigabytes."""
        if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
            self._close()
            limits = f"{_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz"
            raise SourceError(
                f"{self.path} states {rate_hz} Hz: damaged, or convert it to {limits}"
            )

    def _check_channel(self, n_channels: int) -> None:
        """Raises UsageError if the channel to hear is not there."""
        if self._channel.isdecimal() and int(self._channel) > n_channels:
            self._close()
            raise UsageError(f"{self.path} has no channel {self._channel}: it has {n_channels}")

    def _close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def _stretches(self, problems: list[str]) -> Iterator[tuple[int, FloatArray]]:
        """(rate in Hz, f32[n, n_channels]) of all pieces. problems: gets what is wrong with
        them."""
        while self._decoder is not None:
            try:
                yield from self._decoder.stretches()
            except SourceError as error:
                problems.append(str(error))
            self._close()
            self._decoder = self._next(problems)

    def _next(self, problems: list[str]) -> Decoder | None:
        """The decoder of the next piece; None if there is no other."""
        while self._pieces:
            try:
                decoder = SndfileDecoder(self._pieces.pop(0))
            except SourceError as error:
                problems.append(f"is damaged: {error}")
            else:
                self._decoder = decoder
                self._check(decoder.rate_hz)
                return decoder
        return None


def check_is_file(path: Path) -> None:
    """Raises UsageError, with what it is, for what is no file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"no such audio file: {path}") from error
    except OSError as error:  # such as a folder that this user may not enter
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder, no audio file: `edge-audio tag` reads folders")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is a pipe or device, no audio file: `--source -` reads pipes")


def _cut(blocks: Iterator[Block], n_block: int, sample_rate_hz: int) -> Iterator[Block]:
    """The same samples, between which there are no gaps, n_block at a time and then the rest."""
    held: list[FloatArray] = []
    n_held = n_cut = 0
    for block in blocks:
        held.append(block.samples)
        n_held += len(block.samples)
        if n_held < n_block:
            continue
        samples = np.concatenate(held) if len(held) > 1 else held[0]
        n_whole = n_held - n_held % n_block
        for start in range(0, n_whole, n_block):
            yield Block(samples[start : start + n_block], (n_cut + start) / sample_rate_hz)
        held, n_held, n_cut = [samples[n_whole:]], n_held - n_whole, n_cut + n_whole
    if n_held:
        yield Block(np.concatenate(held), n_cut / sample_rate_hz)
