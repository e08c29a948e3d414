"""Decoded clips in one memory-mapped file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from distill.data.audio import from_pcm, read_pcm
from distill.data.clip_list import Clip, first_few
from edge_audio.errors import SourceError


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
    """Decodes the clips into the file; one of them is in memory at a time."""
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
    """Writes the header of a .npy file, which numpy pads to the same length for any `n_samples`."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (n_samples,)}
    np.lib.format.write_array_header_1_0(file, header)
