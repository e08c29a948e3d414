"""The teacher mn04 on sliding windows, for `edge-audio bench`: entry points of the group
edge_audio.bench_peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import BackendError

if TYPE_CHECKING:
    from distill.teachers.efficientat import EfficientATTeacher

CHECKPOINT, WIDTH = "mn04_as_mAP_432.pt", 0.4
HOP_S = 0.5  # about that of YAMNet


class SlidingTeacher:
    """Scores f32[window_samples] at sample_rate_hz: the clip logits as probabilities f32[527],
    without the frame logits that only training needs."""

    def __init__(self, teacher: EfficientATTeacher, window_s: float, n_model_bytes: int) -> None:
        self.sample_rate_hz = teacher.sample_rate_hz
        self.window_samples = round(window_s * self.sample_rate_hz)
        self.hop_samples = round(HOP_S * self.sample_rate_hz)
        self.n_model_bytes = n_model_bytes
        self._teacher = teacher

    def __call__(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            mels = self._teacher.mels(torch.from_numpy(window)[None])
            features = self._teacher.network.features(mels).mean((2, 3))
            scores: NDArray[np.float32] = self._teacher.network.classify(features).sigmoid().numpy()
        row: NDArray[np.float32] = scores[0]
        return row


def mn04_1s() -> SlidingTeacher:
    """The latest second, every HOP_S."""
    return _open(1.0)


def mn04_10s() -> SlidingTeacher:
    """The latest 10 s, the length of the clips that mn04 was trained on, every HOP_S."""
    return _open(10.0)


def _open(window_s: float) -> SlidingTeacher:
    """Opens the teacher with one thread. Raises BackendError without torch, UsageError without the
    checkpoint."""
    try:
        import torch

        from distill.teachers.efficientat import EfficientATTeacher
        from edge_audio.support.folders import peers_dir
    except ModuleNotFoundError as error:
        reason = f"mn04 needs the module {error.name!r}"
        raise BackendError(f"{reason}: pip install 'edge-audio[train]'") from error
    torch.set_num_threads(1)
    path = peers_dir() / CHECKPOINT
    teacher = EfficientATTeacher.load(path, WIDTH)
    return SlidingTeacher(teacher, window_s, path.stat().st_size)
