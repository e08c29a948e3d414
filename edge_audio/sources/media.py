"""Formats of phones, cameras and video files, by ffmpeg's libraries, which PyAV brings."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from edge_audio.errors import SourceError
from edge_audio.sources.containers import is_cut
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import one_line

INSTALL_HINT = "pip install 'edge-audio[media]'"
# What may be looked for in a file. None of them opens another file or an address.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,ogg,tta,voc,w64,wav,wv"
)
# Those whose header states a length; others guess it from the bit rate.
_STATING = ("asf", "avi", "flv", "matroska", "mov", "tta", "wv")
_MISSING_S = 1.0  # by which stated lengths differ from what there is
_MAX_BAD_PACKETS = 2  # such as the first of a recording that begins anywhere
_MAX_REASON_CHARS = 200
_ANALYSIS_US = 1_000_000  # until the form of the sound is known
_INVALID = -22  # AVERROR(EINVAL)


def has_media() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class MediaDecoder:
    """The first audio stream of what ffmpeg's libraries read; see `Decoder`."""

    def __init__(self, read_from: Any, file: BinaryIO | None = None) -> None:
        """read_from: has `read`, and `seek` and `tell` where it is no pipe. file: that is read,
        to be closed with this. Raises SourceError, with a reason alone, for what they do not read,
        and where PyAV is not installed."""
        with ExitStack() as opened:
            if file is not None:
                opened.enter_context(file)
            self._is_cut = file is not None and is_cut(file)
            self._container = _open(read_from)
            opened.callback(self._container.close)
            if not self._container.streams.audio:
                raise SourceError("there is no sound in it")
            self._stream = self._container.streams.audio[0]
            if self._stream.codec_context is None:
                raise SourceError("nothing here decodes its sound")
            self.rate_hz = int(self._stream.rate or 0)
            self.n_channels = int(self._stream.channels or 0)
            self.n_frames = round(self._stated_s * self.rate_hz)
            self._floats = _Floats()
            self._opened = opened.pop_all()

    @classmethod
    def of_file(cls, path: Path) -> MediaDecoder:
        """Raises SourceError as the constructor does, and OSError."""
        file = path.open("rb")  # libav gets no name to follow
        return cls(_Bytes(file), file)

    def close(self) -> None:
        self._opened.close()

    def stretches(self) -> Iterator[tuple[int, FloatArray]]:
        heard_s, n_bad, is_bad, problem = 0.0, 0, False, ""
        packets = self._packets()
        while True:
            try:
                packet = next(packets, None)
            except Exception as error:
                problem = _reason(error)
                break
            if packet is None:
                break
            frames = self._decoded(packet)
            is_bad = frames is None if packet.size else is_bad  # the last ends the decoder
            n_bad += frames is None
            for rate_hz, frame in frames or []:
                heard_s += len(frame) / rate_hz
                yield rate_hz, frame
        self._is_cut |= is_bad and heard_s > 0.0  # it ends amid a packet
        self._check(heard_s, n_bad, problem)

    def _packets(self) -> Iterator[Any]:
        return iter(self._container.demux(self._stream))

    def _decoded(self, packet: Any) -> list[tuple[int, FloatArray]] | None:
        """(rate in Hz, f32[n, n_channels]) of a packet; None for one that cannot be decoded."""
        try:
            return [found for frame in packet.decode() for found in self._floats.of(frame)]
        except Exception:  # of one packet; the next may be fine
            return None

    def _check(self, heard_s: float, n_bad: int, problem: str) -> None:
        if problem:
            raise SourceError(f"is damaged or truncated: {problem}")
        if self._is_cut or heard_s < self._stated_s - _MISSING_S:
            raise SourceError(f"is truncated: it ends after {heard_s:.1f} s")
        if n_bad > _MAX_BAD_PACKETS or (n_bad and not heard_s):
            raise SourceError(f"is damaged: {n_bad} pieces of it could not be decoded")

    @property
    def _stated_s(self) -> float:
        """How long the header says that the sound is; 0 if it does not."""
        if not self._container.format.name.startswith(_STATING):
            return 0.0
        if self._stream.duration:
            return float(self._stream.duration * (self._stream.time_base or Fraction(0)))
        is_alone = len(self._container.streams) == 1
        return (self._container.duration or 0) / 1e6 if is_alone else 0.0


class _Bytes:
    """A file as libav reads it: what it cannot do is an error that it is told, where PyAV would
    print a traceback."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell = file.read, file.tell
        self._file = file

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the beginning; flags that Python does not know
            return _INVALID


def _open(read_from: Any) -> Any:
    try:
        import av
    except ImportError as error:
        raise SourceError(f"such files need the av package: {INSTALL_HINT}") from error
    options = {"format_whitelist": _DEMUXERS, "analyzeduration": str(_ANALYSIS_US)}
    try:
        return av.open(read_from, container_options=options, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise SourceError(
            "it is damaged, or was cut off before what tells how to read it"
        ) from error
    except Exception as error:  # av has many of its own
        raise SourceError(_reason(error)) from error


class _Floats:
    """Decoded frames of any format, which may change, as floats with full scale at 1.0.

    libswresample puts the channels of a frame side by side. PyAV's own conversion looks for those
    that lie apart until a null pointer, which for eight or more is behind the last: it reads what
    is no memory, and ends the process.
    """

    def __init__(self) -> None:
        self._form: tuple[Any, ...] = ()
        self._converter: Any = None

    def of(self, frame: Any) -> Iterator[tuple[int, FloatArray]]:
        """(rate in Hz, f32[n, n_channels]) of a frame. Raises what av raises."""
        import av

        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form != self._form:
            self._form, self._converter = form, av.AudioResampler(format="flt")
        for packed in self._converter.resample(frame):
            yield packed.sample_rate, packed.to_ndarray().reshape(-1, packed.layout.nb_channels)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return one_line(text, _MAX_REASON_CHARS) or type(error).__name__
