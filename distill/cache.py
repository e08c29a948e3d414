"""Teacher targets on disk: mixtures are made once and taught from many times.

A cache is a folder of shards. Each shard is drawn from its own seeds and renamed into place
when it is whole, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from rich.progress import track

from distill.mixtures import Mixer
from distill.teachers import efficientat
from distill.teachers.efficientat import EfficientATTeacher
from edge_audio.frontend import log_mel
from edge_audio.spec import FrontendSpec

SHARD_SIZE = 64
FIELDS = ("mels", "clip_logits", "frame_logits", "features")


@dataclass(frozen=True)
class TargetMaker:
    """Everything that decides what a shard contains."""

    mixer: Mixer
    teacher: EfficientATTeacher
    frontend: FrontendSpec
    seed: int

    def shard(self, index: int) -> dict[str, NDArray[np.float16]]:
        """FIELDS of mixtures [index * SHARD_SIZE, ...): mels [N, T, n_mels], clip_logits
        [N, 527], frame_logits [N, T', 527], features [N, T', D]; T' every 0.32 s."""
        seeds = range(index * SHARD_SIZE, (index + 1) * SHARD_SIZE)
        mixtures = [self.mixer.draw((self.seed, seed)) for seed in seeds]
        parts: dict[str, list[NDArray[np.float16]]] = {field: [] for field in FIELDS}
        for start in range(0, SHARD_SIZE, 8):
            for field, value in self._targets(mixtures[start : start + 8]).items():
                parts[field].append(value.astype(np.float16))
        return {field: np.concatenate(values) for field, values in parts.items()}

    def _targets(self, mixtures: list[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        rate_hz = self.frontend.sample_rate_hz
        waves = [
            soxr.resample(mixture, rate_hz, efficientat.SAMPLE_RATE_HZ) for mixture in mixtures
        ]
        with torch.inference_mode():
            output = self.teacher(torch.from_numpy(np.stack(waves)))
        mels = np.stack([log_mel(self.frontend, mixture) for mixture in mixtures])
        return {"mels": mels, **{name: value.numpy() for name, value in output._asdict().items()}}


class TargetCache:
    """`n_mixtures` cached mixtures, in `n_mixtures / SHARD_SIZE` shards."""

    def __init__(self, folder: Path, n_mixtures: int) -> None:
        self.folder, self.n_shards = folder, max(1, n_mixtures // SHARD_SIZE)

    def __len__(self) -> int:
        return self.n_shards * SHARD_SIZE

    def build(self, maker: TargetMaker, n_processes: int) -> None:
        """Makes the shards that are missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [i for i in range(self.n_shards) if not self._path(i).exists()]
        if not missing:
            return
        jobs = [(index, self._path(index)) for index in missing]
        done = _save_shards(maker, jobs, n_processes)
        for _ in track(done, total=len(jobs), description="teacher targets"):
            pass

    def load(self) -> dict[str, NDArray[np.float16]]:
        """All shards in memory, field by field (about 185 kB per 10 s mixture)."""
        arrays: dict[str, NDArray[np.float16]] = {}
        for index in track(range(self.n_shards), description="loading targets"):
            with np.load(self._path(index)) as shard:
                for field in FIELDS:
                    part = shard[field]
                    if field not in arrays:
                        arrays[field] = np.empty((len(self), *part.shape[1:]), np.float16)
                    arrays[field][index * SHARD_SIZE : (index + 1) * SHARD_SIZE] = part
        return arrays

    def _path(self, index: int) -> Path:
        return self.folder / f"shard-{index:05d}.npz"


def cache_key(*parts: msgspec.Struct | Sequence[msgspec.Struct] | int) -> str:
    """Names a cache folder by everything that its contents depend on, the clips as far as the
    manifest describes them."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def _save_shards(
    maker: TargetMaker, jobs: Sequence[tuple[int, Path]], n_processes: int
) -> Iterator[None]:
    """One item per saved shard. A single process works right here, without forking one that may
    hold threads of other libraries."""
    if n_processes == 1:
        _adopt(maker)
        yield from map(_save_shard, jobs)
        return
    with ProcessPoolExecutor(n_processes, initializer=_adopt, initargs=(maker,)) as pool:
        yield from pool.map(_save_shard, jobs)


_maker: TargetMaker | None = None


def _adopt(maker: TargetMaker) -> None:
    global _maker  # noqa: PLW0603 - one per worker process
    _maker = maker
    torch.set_num_threads(1)


def _save_shard(job: tuple[int, Path]) -> None:
    index, path = job
    assert _maker is not None
    partial = path.with_suffix(".partial.npz")
    arrays: dict[str, Any] = {**_maker.shard(index)}
    np.savez(partial, **arrays)
    partial.replace(path)
