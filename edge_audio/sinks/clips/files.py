"""Clips on the disk: each whole or not there, within a quota, for the eyes of their owner alone.

FOLDER/STREAM/YYYY-MM-DD/HHMMSS-LABEL.flac with a .json of the same name beside it. While a clip is
recorded it is a hidden file in FOLDER/STREAM: already FLAC, because an SD card then wears half as
much as with raw samples, and because a FLAC file that ends anywhere can be read up to there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.sinks.clips.sidecar import Sidecar, read_sidecar
from edge_audio.support.age_clock import AgeClock
from edge_audio.support.locks import Lock, LockedError
from edge_audio.support.paths import for_soundfile
from edge_audio.support.slugs import file_slug

_AUDIO, _DRAFT = ".audio.part", ".draft.part"  # of the clip that is being recorded
_SIDECAR, _BROKEN = ".sidecar.part", ".broken.part"
_CLIP = re.compile(r"(\d{6}|t\d+)-[\w-]+\.flac")
_DAY = re.compile(r"\d{4}-\d\d-\d\d|undated")
_PIECE = 1024  # samples: at most so many are lost before the place where a file breaks off
_MAX_SILENCE = 1 << 16  # samples written at once
_UNREADABLE = (OSError, soundfile.SoundFileError, ValueError)


class ClipFolder:
    """A folder of clips, used by one process and one thread at a time.

    error: why the latest clip was lost or old ones cannot be deleted, "" if all is well.
    n_lost: clips that could not be written.
    """

    def __init__(self, path: Path, quota_bytes: float, keep_s: float) -> None:
        """Makes the folder and saves what an earlier process was recording when it was killed.
        keep_s: 0 = as long as there is room. Raises UsageError if it cannot be written or another
        process uses it."""
        self.path = path
        self.error = ""
        self.n_lost = 0
        self.limit(quota_bytes, keep_s)
        self._clock = AgeClock()
        self._open: dict[Path, ClipFile] = {}  # by the folder of the stream
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = Lock(path / ".lock")
        except LockedError as error:
            hint = "name another folder under [clips]"
            raise UsageError(f"clips are being recorded in {path} already: {hint}") from error
        except OSError as error:
            raise UsageError(f"cannot record clips in {path}: {error.strerror}") from error
        try:
            for folder in _folders(path):
                self._recover(folder)
        except BaseException:
            self._lock.release()
            raise
        self.tidy()

    def limit(self, quota_bytes: float, keep_s: float) -> None:
        """Sets other limits, from the next `tidy` on. May be called from any thread."""
        self._quota_bytes, self._keep_s = quota_bytes, keep_s

    def close(self) -> None:
        """Saves clips that were never finished, and lets others use the folder."""
        for clip in list(self._open.values()):
            clip.finish()
        self._lock.release()

    def began(self, clip: ClipFile) -> None:
        """A clip of a stream begins. A stream records one at a time, so that an earlier one has
        ended."""
        if before := self._open.get(clip.folder):
            before.finish()
        self._open[clip.folder] = clip

    def ended(self, clip: ClipFile, error: Exception | None) -> None:
        """A clip has ended: it was saved, or lost by an error."""
        self._open.pop(clip.folder, None)
        self.n_lost += error is not None
        self.error = _reason(error) if error else ""
        if error is None:
            self.tidy()

    def tidy(self) -> None:
        """Deletes clips that are too old by a clock that has not just leapt ahead, and the oldest
        until the others fit into the quota; nothing that does not look like one of ours."""
        now_s = self._clock.unix_s()
        try:
            clips = sorted(_clips(self.path))
            n_bytes = sum(clip.n_bytes for clip in clips)
            for clip in clips:
                is_old = 0 < self._keep_s < now_s - clip.time_s
                if not is_old and n_bytes <= self._quota_bytes:
                    break
                _delete(clip.path)
                n_bytes -= clip.n_bytes
        except OSError as error:
            self.error = f"cannot delete old clips: {_reason(error)}"

    def _recover(self, folder: Path) -> None:
        """Makes a clip of what is left of one; what cannot be read is deleted."""
        broken = folder / _BROKEN
        with contextlib.suppress(*_UNREADABLE):
            if not broken.exists():  # else this was tried before and killed as well
                (folder / _AUDIO).rename(broken)
            sidecar = read_sidecar((folder / _DRAFT).read_bytes())
            with soundfile.SoundFile(for_soundfile(broken)) as file:
                rate_hz = file.samplerate
                clip = ClipFile(self, folder, rate_hz, 0, sidecar)
                for samples in _as_far_as_readable(file):
                    clip.write(clip.end, samples)
                    clip.end += len(samples)
            end_s = round(sidecar.start_s + clip.end / rate_hz, 3)
            clip.sidecar = msgspec.structs.replace(sidecar, end_s=end_s)
            if clip.end:
                clip.finish()
        with contextlib.suppress(OSError):
            _remove(folder, _AUDIO, _DRAFT, _BROKEN, _SIDECAR)


class ClipFile:
    """One clip on its way to the disk. Where something goes wrong it is lost, and its folder is
    told; nothing is raised.

    end, sidecar: where the audio ends, in samples of the stream, and what to write beside it; to
        be brought up to date before `finish`.
    """

    def __init__(
        self, clips: ClipFolder, folder: Path, rate_hz: int, start: int, sidecar: Sidecar
    ) -> None:
        """folder: of the stream. start: of the audio. Opens nothing yet."""
        self.folder, self.end, self.sidecar = folder, start, sidecar
        self._clips, self._rate_hz = clips, rate_hz
        self._start = self._position = start
        self._gaps: list[tuple[float, float]] = []
        self._file: soundfile.SoundFile | None = None
        self._descriptor = -1
        self._has_ended = False

    def write(self, position: int, samples: NDArray[np.int16]) -> None:
        """Samples of the stream from `position` on; what was left out before it is silence."""
        if self._has_ended:
            return
        with self._lost_on_error():
            if self._file is None:
                self._open()
            self._fill(position)
            self._append(samples)

    def finish(self) -> None:
        """Makes the clip visible, as a whole."""
        if self._has_ended:
            return
        with self._lost_on_error():
            if self._file is None:
                raise OSError("the disk is too slow")
            self._fill(self.end)
            self._close()
            audio = self.folder / _AUDIO
            n_written = soundfile.info(for_soundfile(audio)).frames
            if n_written != self._position - self._start:  # closing tells of no error
                raise OSError("the disk is full or broken")
            sidecar = msgspec.structs.replace(self.sidecar, gaps=tuple(self._gaps))
            _publish(self.folder, audio, sidecar)
            _remove(self.folder, _DRAFT)
            self._has_ended = True
            self._clips.ended(self, None)

    @contextlib.contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._has_ended = True
            with contextlib.suppress(Exception):
                self._close()
            with contextlib.suppress(OSError):
                _remove(self.folder, _AUDIO, _DRAFT, _SIDECAR)
            self._clips.ended(self, error)

    def _open(self) -> None:
        self._clips.began(self)
        for folder in (self._clips.path, self.folder):  # which others may have deleted
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self.folder / _DRAFT, msgspec.json.encode(self.sidecar))
        self._descriptor = _create(self.folder / _AUDIO)
        kind = {"format": "FLAC", "subtype": "PCM_16", "closefd": False}
        self._file = soundfile.SoundFile(self._descriptor, "w", self._rate_hz, 1, **kind)

    def _fill(self, position: int) -> None:
        if position > self._position:
            times_s = (self._position / self._rate_hz, position / self._rate_hz)
            self._gaps.append((round(times_s[0], 3), round(times_s[1], 3)))
        while (n_missing := position - self._position) > 0:
            self._append(np.zeros(min(n_missing, _MAX_SILENCE), np.int16))

    def _append(self, samples: NDArray[np.int16]) -> None:
        assert self._file is not None
        self._file.write(samples)
        self._position += len(samples)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if self._file is not None:
                self._file.close()
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(folder: Path, audio: Path, sidecar: Sidecar) -> None:
    """Gives a clip its name. The sidecar is there first, so that no clip is ever without."""
    at = sidecar.moment
    day = folder / (f"{at:%Y-%m-%d}" if at else "undated")
    day.mkdir(mode=0o700, exist_ok=True)
    moment = f"{at:%H%M%S}" if at else f"t{int(sidecar.time_s)}"
    path = _free_path(day, f"{moment}-{file_slug(sidecar.label) or 'unnamed'}")
    _write(folder / _SIDECAR, msgspec.json.format(msgspec.json.encode(sidecar)))
    (folder / _SIDECAR).replace(path.with_suffix(".json"))
    audio.replace(path)
    descriptor = os.open(day, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_path(day: Path, stem: str) -> Path:
    for i in itertools.count(1):
        path = day / (f"{stem}.flac" if i == 1 else f"{stem}-{i}.flac")
        if not path.exists():
            break
    return path


class _Found(NamedTuple):
    """time_s: when it was written, by the system's clock. n_bytes: with its sidecar."""

    time_s: float
    path: Path
    n_bytes: int


def _clips(path: Path) -> Iterator[_Found]:
    """Clips by name, each with a sidecar; links are not followed."""
    for day in (day for stream in _folders(path) for day in _folders(stream)):
        for clip in day.iterdir() if _DAY.fullmatch(day.name) else ():
            if _CLIP.fullmatch(clip.name):
                with contextlib.suppress(FileNotFoundError):  # somebody else may delete as well
                    audio, sidecar = clip.lstat(), clip.with_suffix(".json").lstat()
                    if stat.S_ISREG(audio.st_mode) and stat.S_ISREG(sidecar.st_mode):
                        yield _Found(audio.st_mtime, clip, audio.st_size + sidecar.st_size)


def _folders(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _delete(clip: Path) -> None:
    clip.unlink(missing_ok=True)  # first: without its sidecar nobody would ever delete it
    clip.with_suffix(".json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other clips are of that day
        clip.parent.rmdir()


def _as_far_as_readable(file: soundfile.SoundFile) -> Iterator[NDArray[np.int16]]:
    with contextlib.suppress(soundfile.SoundFileError):
        while len(samples := file.read(_PIECE, dtype="int16")):
            yield samples


def _create(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(_create(path), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """What happened, without paths; libsndfile has no words for a full disk."""
    if isinstance(error, soundfile.SoundFileError):
        return "the disk is full or broken"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
