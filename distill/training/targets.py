"""Training targets: what teachers say of each mixture, made on the fly or kept on disk.

A cache is a folder of shards (see `shards`). Each shard is drawn from its own seeds and renamed
into place when it is whole, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import nn

from distill.mixing.mixtures import MAX_SOURCES, Bout, Mixture
from distill.progress import tracked
from distill.teachers.base import Layer, Teacher, TeacherOutput
from distill.training.shards import Arrays, Shards, write_shard
from edge_audio.bundle.spec import FrontendSpec, Spec
from edge_audio.errors import UsageError
from edge_audio.features.frontend import log_mel
from edge_audio.support.files import write_atomically

SHARD_SIZE = 64
MAX_BOUTS = 64
_FORMAT = 3  # of what a shard contains
_TEACHER_BATCH = 8
_TEACHERS_NAME = "teachers.json"


class TeacherInfo(Spec, frozen=True):
    """What a student must know of a teacher to learn from its outputs (see `base.Teacher`)."""

    name: str
    labels: tuple[str, ...]
    label_frames: Layer | None
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, teacher: Teacher) -> TeacherInfo:
        """The part of a teacher that its cached outputs still need."""
        return cls(
            name=teacher.name,
            labels=teacher.labels,
            label_frames=teacher.label_frames,
            layers=teacher.layers,
        )


class Targets(Protocol):
    """Mixtures with teacher outputs, told apart by index.

    Arrays of a batch: mels f16[N, T, n_mels]; sources i32[N, MAX_SOURCES], positions in the
    clip store, -1 for none; bouts i32[N, MAX_BOUTS, 3], each `mixtures.Bout` of them, (-1, 0, 0)
    for none; and of each teacher `NAME.clip_logits`, `NAME.frame_logits` and
    `NAME.hidden.I`, f16, as `base.TeacherOutput` describes them.
    """

    teachers: tuple[TeacherInfo, ...]
    n_together: int
    """So many neighbours are had at once at little more than the cost of one of them."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Arrays: ...


class DrawsMixtures(Protocol):
    """A `Mixer` or a `FeedMixer`."""

    def draw(self, seed: Sequence[int]) -> Mixture: ...


class TargetMaker:
    """Targets on the fly, and everything that decides what a shard contains. Teachers that are
    PyTorch modules run on `device`."""

    def __init__(
        self,
        mixer: DrawsMixtures,
        teachers: Sequence[Teacher],
        frontend: FrontendSpec,
        seed: int,
        n_mixtures: int,
        device: str = "cpu",
        n_together: int = 1,
    ) -> None:
        self.mixer, self._teachers, self.frontend = mixer, tuple(teachers), frontend
        self.seed, self.n_mixtures, self.device = seed, n_mixtures, device
        self.n_together = n_together
        for teacher in teachers:
            if isinstance(teacher, nn.Module):
                teacher.to(device)
        self.teachers = tuple(TeacherInfo.of(teacher) for teacher in teachers)
        if n_mixtures < 1:
            raise UsageError(f"training.n_mixtures is {n_mixtures}: it must be at least 1")
        if len({teacher.name for teacher in teachers}) < len(teachers):
            names = ", ".join(teacher.name for teacher in teachers)
            raise UsageError(f"teachers of one name ({names}): rename a checkpoint or folder")

    def __len__(self) -> int:
        return self.n_mixtures

    def batch(self, indices: NDArray[np.int64]) -> Arrays:
        """The targets of mixtures `indices`."""
        parts = [
            self._make(indices[start : start + _TEACHER_BATCH])
            for start in range(0, len(indices), _TEACHER_BATCH)
        ]
        return {field: np.concatenate([part[field] for part in parts]) for field in parts[0]}

    def _make(self, indices: NDArray[np.int64]) -> Arrays:
        mixtures = [self.mixer.draw((self.seed, int(index))) for index in indices]
        samples = np.stack([mixture.samples for mixture in mixtures])
        sources = [mixture.sources for mixture in mixtures]
        made: Arrays = {
            "mels": np.stack([log_mel(self.frontend, row) for row in samples]).astype(np.float16),
            "sources": np.array([(*row, *(-1,) * (MAX_SOURCES - len(row))) for row in sources]),
            "bouts": np.stack([_bout_rows(mixture.bouts) for mixture in mixtures]),
        }
        for teacher in self._teachers:
            output = teach(teacher, samples, self.frontend.sample_rate_hz, self.device)
            made |= {f"{teacher.name}.{field}": value for field, value in _fields(output)}
        return made


def _bout_rows(bouts: Sequence[Bout]) -> NDArray[np.int32]:
    rows = np.full((MAX_BOUTS, 3), (-1, 0, 0), np.int32)
    kept = bouts[:MAX_BOUTS]
    rows[: len(kept)] = np.array(kept, np.int32).reshape(-1, 3)
    return rows


def teach(
    teacher: Teacher, samples: NDArray[np.float32], sample_rate_hz: int, device: str = "cpu"
) -> TeacherOutput:
    """What the teacher says of mono rows [N, n] at any rate."""
    if sample_rate_hz != teacher.sample_rate_hz:
        rows = [soxr.resample(row, sample_rate_hz, teacher.sample_rate_hz) for row in samples]
        samples = np.stack(rows)
    with torch.inference_mode():
        return teacher(torch.from_numpy(samples).to(device))


def _fields(output: TeacherOutput) -> Iterator[tuple[str, NDArray[np.float16]]]:
    named = {f"hidden.{index}": value for index, value in enumerate(output.hidden)}
    for name, value in {**output._asdict(), **named}.items():
        if isinstance(value, torch.Tensor):
            yield name, value.float().clamp(-6e4, 6e4).half().cpu().numpy()


class TargetCache:
    """The first `n_mixtures` mixtures of a folder of shards, which are always whole, so that runs
    of different lengths share them."""

    def __init__(self, folder: Path, n_mixtures: int) -> None:
        self.folder, self.n_mixtures = folder, n_mixtures
        self.n_shards = -(-n_mixtures // SHARD_SIZE)

    def build(self, open_maker: Callable[[], TargetMaker], n_processes: int) -> None:
        """Makes the shards that are missing; the maker is opened only if there are any."""
        missing = [i for i in range(self.n_shards) if not self._path(i).exists()]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        maker = open_maker()
        write_atomically(self.folder / _TEACHERS_NAME, msgspec.json.encode(maker.teachers))
        jobs = [(index, self._path(index)) for index in missing]
        done = _save_shards(maker, jobs, n_processes)
        for _ in tracked(done, "teacher targets", total=len(jobs)):
            pass

    def load(self) -> CachedTargets:
        """All of them, on disk."""
        teachers = msgspec.json.decode(
            (self.folder / _TEACHERS_NAME).read_bytes(), type=tuple[TeacherInfo, ...]
        )
        shards = Shards([self._path(index) for index in range(self.n_shards)])
        return CachedTargets(teachers, shards, self.n_mixtures, shards.fields)

    def _path(self, index: int) -> Path:
        return self.folder / f"shard-{index:05d}.npy"


class CachedTargets:
    """Targets in a TargetCache (about 240 kB per 10 s mixture with four layers of mn04), read when
    a batch asks for them. The system keeps in memory what fits."""

    n_together = 1

    def __init__(
        self,
        teachers: tuple[TeacherInfo, ...],
        shards: Shards,
        n_mixtures: int,
        fields: Collection[str],
    ) -> None:
        self.teachers, self._shards = teachers, shards
        self._n_mixtures, self._fields = n_mixtures, fields

    def __len__(self) -> int:
        return self._n_mixtures

    def batch(self, indices: NDArray[np.int64]) -> Arrays:
        """The targets of mixtures `indices`."""
        if len(indices) and not 0 <= indices.min() <= indices.max() < self._n_mixtures:
            raise IndexError(f"mixtures {indices} of {self._n_mixtures}")
        return self._shards.read(indices, self._fields)

    def only(self, fields: Collection[str]) -> CachedTargets:
        """The same, but what is not in `fields` is neither read nor in a batch."""
        return CachedTargets(self.teachers, self._shards, self._n_mixtures, fields)


class TargetArrays:
    """Targets in memory."""

    n_together = 1

    def __init__(self, teachers: tuple[TeacherInfo, ...], arrays: Arrays) -> None:
        self.teachers, self.arrays = teachers, arrays

    def __len__(self) -> int:
        return len(self.arrays["mels"])

    def batch(self, indices: NDArray[np.int64]) -> Arrays:
        """The targets of mixtures `indices`."""
        return {field: values[indices] for field, values in self.arrays.items()}


def cache_key(*parts: Any) -> str:
    """Names a cache folder by everything that its contents depend on: settings, what the clip list
    says of the clips, and `fingerprint`s of the files behind clips and teachers."""
    return hashlib.sha256(msgspec.json.encode([_FORMAT, *parts])).hexdigest()[:16]


def _save_shards(
    maker: TargetMaker, jobs: Sequence[tuple[int, Path]], n_processes: int
) -> Iterator[None]:
    """One item per saved shard. A single process works right here, without forking one that may
    hold threads of other libraries."""
    if n_processes == 1:
        _adopt(maker)
        yield from map(_save_shard, jobs)
        return
    context = get_context("fork")  # a teacher may hold what cannot be pickled
    with ProcessPoolExecutor(n_processes, context, _adopt, (maker,)) as pool:
        yield from pool.map(_save_shard, jobs)


_maker: TargetMaker | None = None


def _adopt(maker: TargetMaker) -> None:
    global _maker  # noqa: PLW0603 - one per worker process
    _maker = maker
    torch.set_num_threads(1)


def _save_shard(job: tuple[int, Path]) -> None:
    index, path = job
    assert _maker is not None
    write_shard(path, _maker.batch(np.arange(index * SHARD_SIZE, (index + 1) * SHARD_SIZE)))
