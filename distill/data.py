"""The manifest of labelled clips, group-safe splits, and one decoded store of their samples."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from rich.progress import track

from edge_audio.errors import SourceError, UsageError
from edge_audio.spec import Spec

DATA_ENV = "EDGE_AUDIO_DATA"
_DEFAULT_DATA_DIR = Path(__file__).resolve().parents[2] / "shared" / "data"


class Clip(Spec, frozen=True):
    """One row of `manifest.csv`; `path` is relative to the data folder."""

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


def data_dir() -> Path:
    """The folder with `manifest.csv`: $EDGE_AUDIO_DATA, else `../shared/data` beside the repo."""
    folder = Path(os.environ.get(DATA_ENV, _DEFAULT_DATA_DIR))
    if not (folder / "manifest.csv").is_file():
        raise UsageError(f"no manifest.csv in {folder}: set {DATA_ENV} to the data folder")
    return folder


def read_manifest(folder: Path) -> list[Clip]:
    """All clips of `folder/manifest.csv`; a malformed row is a UsageError naming its line."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        clips = [_read_row(row, number) for number, row in enumerate(rows, start=2)]
    if not clips:
        raise UsageError(f"{folder / 'manifest.csv'} lists no clips")
    return clips


def _read_row(row: dict[str, str], line: int) -> Clip:
    try:
        return Clip(
            path=row["path"],
            tier=row["tier"],
            labels=tuple(label for label in row["labels"].split(";") if label),
            esc10_class=row["esc10_class"],
            esc50_class=row["esc50_class"],
            fold=int(row["fold"]),
            group=row["group"],
            duration_s=float(row["duration_s"]),
            licence=row["licence"],
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
        so that no recording is heard on both sides."""
        clips = list(clips)
        groups = {clip.group for clip in clips if self._holds_out(clip)}
        train = [c for c in clips if c.group not in groups and c.tier in self.tiers]
        if not train:
            raise UsageError("the split leaves no training clips: check tiers and held_out_folds")
        return train, [clip for clip in clips if clip.group in groups]

    def _holds_out(self, clip: Clip) -> bool:
        return clip.fold in self.held_out_folds or (self.hold_out_esc and clip.is_esc)


def read_clip(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """A whole file as mono f32[n] at `sample_rate_hz`; SourceError if it cannot be decoded."""
    try:
        samples, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        raise SourceError(f"cannot decode {path}: {error}") from error
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate_hz == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, sample_rate_hz), np.float32)


class ClipStore:
    """Decoded clips as one memory-mapped int16 file, so that any crop is a cheap slice."""

    def __init__(self, pcm: NDArray[np.int16], starts: NDArray[np.int64]) -> None:
        self._pcm, self._starts = pcm, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Clip `index` as f32[n] in [-1, 1]."""
        pcm = self._pcm[self._starts[index] : self._starts[index + 1]]
        return np.divide(pcm, 32768.0, dtype=np.float32)

    @classmethod
    def open(
        cls, folder: Path, clips: Sequence[Clip], sample_rate_hz: int, cache_dir: Path
    ) -> ClipStore:
        """Decodes the clips once into `cache_dir`; later calls map the same file."""
        names = "\n".join([str(sample_rate_hz), *(clip.path for clip in clips)])
        key = hashlib.sha256(names.encode()).hexdigest()[:16]
        pcm_path, starts_path = cache_dir / f"pcm-{key}.npy", cache_dir / f"pcm-{key}-starts.npy"
        if not pcm_path.exists() or not starts_path.exists():
            _decode(folder, clips, sample_rate_hz, pcm_path, starts_path)
        return cls(np.load(pcm_path, mmap_mode="r"), np.load(starts_path))


def _decode(
    folder: Path, clips: Sequence[Clip], sample_rate_hz: int, pcm_path: Path, starts_path: Path
) -> None:
    pcm_path.parent.mkdir(parents=True, exist_ok=True)
    pieces = []
    for clip in track(clips, description="decoding clips"):
        samples = read_clip(folder / clip.path, sample_rate_hz)
        pieces.append((np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16))
    starts = np.cumsum([0, *(len(piece) for piece in pieces)])
    np.save(starts_path, starts)
    partial = pcm_path.with_suffix(".partial.npy")
    np.save(partial, np.concatenate(pieces))
    partial.replace(pcm_path)  # a decode that was cut off leaves no half-written store
