"""The manifest of labelled clips, group-safe splits, and one decoded store of their samples."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from rich.progress import track

from distill.data.tars import exists, open_audio
from edge_audio.bundle.spec import Spec
from edge_audio.errors import SourceError, UsageError

MANIFEST_NAME = "manifest.csv"
COLUMNS = (
    *("path", "source_repo", "original_path", "licence", "attribution", "tier", "labels"),
    *("esc10_class", "esc50_class", "fold", "group", "duration_s", "orig_sr", "note"),
)


class Clip(Spec, frozen=True):
    """One row of `manifest.csv`; `path` is relative to the data folder, and may lead into a tar
    (`shard-00000.tar/ab12.flac`)."""

    path: str
    tier: str
    labels: tuple[str, ...]
    esc10_class: str
    esc50_class: str
    fold: int
    group: str
    duration_s: float
    licence: str

    @property
    def is_esc(self) -> bool:
        """Whether the clip belongs to ESC-10 / ESC-50."""
        return bool(self.esc50_class)


def read_manifest(folder: Path) -> list[Clip]:
    """All clips of `folder/manifest.csv`; a malformed row is a UsageError naming its line."""
    return [_read_row(row, number) for number, row in enumerate(manifest_rows(folder), start=2)]


def manifest_rows(folder: Path) -> Iterator[dict[str, str]]:
    """The rows of `folder/manifest.csv` with all their columns, as text.

    Raises UsageError if the file is missing, is no UTF-8 CSV or lists no clips.
    """
    path = folder / MANIFEST_NAME
    row = None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}; edge-audio dataset makes manifests"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is no UTF-8 CSV file: {error}") from error
    if row is None:
        raise UsageError(f"{path} lists no clips")


def to_row(clip: Clip, **others: object) -> dict[str, object]:
    """The manifest's columns for a clip, and `others` beside them."""
    fields = {name: getattr(clip, name) for name in clip.__struct_fields__}
    return {**fields, "labels": ";".join(clip.labels), **others}


def write_manifest(folder: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Writes `folder/manifest.csv`, whole or not at all; absent columns stay empty, and
    others than COLUMNS are dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST_NAME
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return partial.replace(path)


def _read_row(row: dict[str, str], line: int) -> Clip:
    try:
        return Clip(
            path=row["path"],
            tier=sys.intern(row["tier"]),  # few distinct texts, and maybe millions of rows
            labels=tuple(sys.intern(label) for label in row["labels"].split(";") if label),
            esc10_class=row["esc10_class"],
            esc50_class=row["esc50_class"],
            fold=int(row["fold"]),
            group=row["group"],
            duration_s=float(row["duration_s"]),
            licence=sys.intern(row["licence"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"manifest.csv line {line}: bad or missing field {error}") from error


class Split(Spec, frozen=True):
    """Which clips may be heard in training.

    tiers: licence tiers that may train.
    held_out_folds: clips of these folds are kept for calibration and scoring.
    hold_out_esc: keep every ESC clip out as well.
    """

    tiers: tuple[str, ...]
    held_out_folds: tuple[int, ...] = ()
    hold_out_esc: bool = False

    def divide(self, clips: Iterable[Clip]) -> tuple[list[Clip], list[Clip]]:
        """(training clips, held-out clips). A group with one held-out clip is held out whole,
        so that no recording is heard on both sides.

        Raises UsageError if a held-out fold is empty or no clip is left to train on.
        """
        clips = list(clips)
        folds = {clip.fold for clip in clips}
        if not folds.issuperset(self.held_out_folds):
            absent = sorted(set(self.held_out_folds) - folds)
            raise UsageError(
                f"held_out_folds: no clip is in {absent}, the folds are {sorted(folds)}"
            )
        groups = {clip.group for clip in clips if self._holds_out(clip)}
        train = [c for c in clips if c.group not in groups and c.tier in self.tiers]
        if not train:
            raise UsageError("the split leaves no training clips: check tiers and held_out_folds")
        return train, [clip for clip in clips if clip.group in groups]

    def _holds_out(self, clip: Clip) -> bool:
        return clip.fold in self.held_out_folds or (self.hold_out_esc and clip.is_esc)


def read_clip(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """A whole file, or member of a tar, as mono f32[n > 0] at `sample_rate_hz`.

    Raises SourceError if it cannot be decoded or holds no finite samples.
    """
    try:
        samples, rate_hz = sf.read(open_audio(path), dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        raise undecodable(path, error) from error
    if not len(samples) or not np.isfinite(samples).all():
        raise SourceError(f"{path} holds {'NaN or infinite' if len(samples) else 'no'} samples")
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate_hz == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, sample_rate_hz), np.float32)


def undecodable(path: Path, error: Exception) -> SourceError:
    """What to raise when soundfile fails: its own message names neither tars nor absence."""
    reason = getattr(error, "error_string", error) if exists(path) else "no such file"
    return SourceError(f"cannot decode {path}: {reason}")


def read_pcm(path: Path, sample_rate_hz: int) -> NDArray[np.int16]:
    """`read_clip` in 16 bits, as decoded clips are kept."""
    return (np.clip(read_clip(path, sample_rate_hz), -1.0, 1.0) * 32767.0).astype(np.int16)


def from_pcm(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """f32[n] in [-1, 1)."""
    return np.divide(pcm, 32768.0, dtype=np.float32)


def first_few(items: Sequence[str], n: int = 5) -> str:
    """The first items, and how many there are beyond them."""
    beyond = f" and {len(items) - n} more" if len(items) > n else ""
    return ", ".join(items[:n]) + beyond


class ClipSource(Protocol):
    """Decoded clips, told apart by their position in the manifest."""

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Clip `index` as f32[n] in [-1, 1]."""


class ClipStore:
    """Decoded clips as one memory-mapped int16 file, so that any crop is a cheap slice."""

    def __init__(self, pcm: NDArray[np.int16], starts: NDArray[np.int64]) -> None:
        self._pcm, self._starts = pcm, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Clip `index` as f32[n] in [-1, 1]."""
        return from_pcm(self._pcm[self._starts[index] : self._starts[index + 1]])

    @classmethod
    def open(
        cls, folder: Path, clips: Sequence[Clip], sample_rate_hz: int, cache_dir: Path
    ) -> ClipStore:
        """Decodes the clips once into `cache_dir`; later calls map the same file.

        Raises SourceError, naming them, if any clips cannot be decoded.
        """
        names = "\n".join([str(sample_rate_hz), *(clip.path for clip in clips)])
        key = hashlib.sha256(names.encode()).hexdigest()[:16]
        pcm_path, starts_path = cache_dir / f"pcm-{key}.npy", cache_dir / f"pcm-{key}-starts.npy"
        if not pcm_path.exists() or not starts_path.exists():
            paths = [folder / clip.path for clip in clips]
            _decode(paths, sample_rate_hz, pcm_path, starts_path)
        return cls(np.load(pcm_path, mmap_mode="r"), np.load(starts_path))


def _decode(paths: list[Path], sample_rate_hz: int, pcm_path: Path, starts_path: Path) -> None:
    """One clip in memory at a time."""
    pcm_path.parent.mkdir(parents=True, exist_ok=True)
    partial = pcm_path.with_suffix(".partial.npy")
    lengths, unreadable = [0], []
    with partial.open("wb") as file:
        _write_header(file, 0)
        for path in track(paths, description="decoding clips"):
            try:
                pcm = read_pcm(path, sample_rate_hz)
            except SourceError as error:
                unreadable.append(str(error))
                continue
            lengths.append(len(pcm))
            file.write(pcm.tobytes())
        file.seek(0)
        _write_header(file, sum(lengths))
    if unreadable:
        partial.unlink()
        raise SourceError(f"{len(unreadable)} of {len(paths)} clips: {first_few(unreadable)}")
    np.save(starts_path, np.cumsum(lengths))
    partial.replace(pcm_path)  # a decode that was cut off leaves no half-written store


def _write_header(file: BinaryIO, n_samples: int) -> None:
    """Of a .npy file; numpy pads it to the same length for any `n_samples`."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (n_samples,)}
    np.lib.format.write_array_header_1_0(file, header)
