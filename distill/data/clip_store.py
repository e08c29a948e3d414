"""Decoded clips in one memory-mapped file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from distill.data.audio import from_pcm, read_pcm
from distill.data.clip_list import Clip, first_few
from distill.data.fingerprint import fingerprint
from distill.progress import tracked
from edge_audio.errors import SourceError
from edge_audio.support.files import errors_for_people, file_draft


class ClipSource(Protocol):
    """Decoded clips, told apart by their position in the clip list."""

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
        """Decodes the clips once into `cache_dir`; later calls map the same file, as long as the
        clips' files are what they were.

        Raises SourceError, naming them, if any clips cannot be decoded.
        """
        paths = [clip.path for clip in clips]
        made_of = "\n".join([str(sample_rate_hz), fingerprint(folder, paths), *paths])
        key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        pcm_path, starts_path = cache_dir / f"pcm-{key}.npy", cache_dir / f"pcm-{key}-starts.npy"
        if not pcm_path.exists() or not starts_path.exists():
            cache_dir.mkdir(parents=True, exist_ok=True)
            with errors_for_people(pcm_path), file_draft(pcm_path) as draft:
                lengths = _decode([folder / path for path in paths], sample_rate_hz, draft)
                with file_draft(starts_path) as starts, starts.open("wb") as file:
                    np.save(file, np.cumsum(lengths))
        return cls(np.load(pcm_path, mmap_mode="r"), np.load(starts_path))


def _decode(paths: list[Path], sample_rate_hz: int, pcm_path: Path) -> list[int]:
    """Writes the samples of all clips, of which one at a time is in memory, and returns 0 and how
    many each has. Raises SourceError for those that cannot be decoded, once all have been tried."""
    lengths, unreadable = [0], []
    with pcm_path.open("wb") as file:
        _write_header(file, 0)
        for path in tracked(paths, "decoding clips"):
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
        raise SourceError(f"{len(unreadable)} of {len(paths)} clips: {first_few(unreadable)}")
    return lengths


def _write_header(file: BinaryIO, n_samples: int) -> None:
    """Writes the head of a .npy file; numpy pads it to the same length for any `n_samples`."""
    header = {"descr": "<i2", "fortran_order": False, "shape": (n_samples,)}
    np.lib.format.write_array_header_1_0(file, header)
