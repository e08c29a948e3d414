"""YAMNet as the cheap label teacher: its scores on LiteRT, no hidden layers.

Plakal and Ellis: YAMNet, TensorFlow Model Garden 2019 (MobileNetV1 on 0.96 s log-mel patches,
trained on AudioSet). The 521 classes all bear AudioSet names.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.data.labels import read_class_map
from distill.teachers.base import Layer, TeacherOutput
from edge_audio.errors import BackendError, UsageError
from edge_audio.support.arrays import FloatArray
from edge_audio.support.folders import PEERS_ENV

MODEL_NAME, CLASS_MAP_NAME = "yamnet.tflite", "yamnet_class_map.csv"
SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 15_600, 7_800
EMBEDDING_DIM = 1024
_EMBEDDING = "global_average_pooling2d/Mean"
_SURE = 1e-6  # scores are taken to be no closer to 0 or 1


class YamnetTeacher:
    """Scores of 0.975 s windows at 50 % overlap; a clip's score is their mean. Clips are padded
    with zeros to whole windows."""

    name = "yamnet"
    sample_rate_hz = SAMPLE_RATE_HZ
    layers: tuple[Layer, ...] = ()

    def __init__(self, interpreter: Any, labels: tuple[str, ...]) -> None:
        self.labels = labels
        hop_s = HOP_SAMPLES / SAMPLE_RATE_HZ
        centre_s = WINDOW_SAMPLES / 2 / SAMPLE_RATE_HZ
        self.label_frames = Layer("scores", len(labels), hop_s, centre_s)
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    @classmethod
    def load(cls, peers: Path, keeps_embedding: bool = False) -> YamnetTeacher:
        """keeps_embedding: for `window_embeddings`, at twice the cost. Raises UsageError if the
        folder lacks it, BackendError without LiteRT."""
        labels = read_class_map(peers / CLASS_MAP_NAME)
        return cls(_open_interpreter(peers / MODEL_NAME, keeps_embedding), labels)

    def __call__(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        samples = waveform.cpu().numpy()
        ends = [waveform.shape[1]] * len(samples) if lengths is None else lengths.tolist()
        scores = np.stack([self.window_scores(row) for row in samples])  # [B, T, 521]
        means = np.stack(
            [row[: count_windows(end)].mean(0) for row, end in zip(scores, ends, strict=True)]
        )
        clip, frames = (
            torch.logit(torch.from_numpy(values), _SURE).to(waveform.device)
            for values in (means, scores)
        )
        return TeacherOutput((), clip, frames)

    def window_scores(self, samples: FloatArray) -> FloatArray:
        """f32[n > 0] at 16 kHz -> probabilities f32[n_windows, 521]."""
        return np.stack([self._scores(window) for window in _windows(samples)])

    def window_embeddings(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same, and what the last layer takes, f32[n_windows, 1024]: the means over a window.
        Needs `keeps_embedding`."""
        details = self._interpreter.get_tensor_details()
        places = [one["index"] for one in details if one["name"].endswith(_EMBEDDING)]
        pairs = [
            (self._scores(window), self._interpreter.get_tensor(places[0])[0].copy())
            for window in _windows(samples)
        ]
        return np.stack([scores for scores, _ in pairs]), np.stack([row for _, row in pairs])

    def _scores(self, window: FloatArray) -> FloatArray:
        self._interpreter.set_tensor(self._input, window[None])
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0], np.float32)


def count_windows(n_samples: int) -> int:
    """The fewest windows that cover n_samples."""
    return 1 + max(0, -(-(n_samples - WINDOW_SAMPLES) // HOP_SAMPLES))


def _windows(samples: FloatArray) -> list[FloatArray]:
    n_windows = count_windows(len(samples))
    n_padded = WINDOW_SAMPLES + (n_windows - 1) * HOP_SAMPLES
    padded = np.pad(samples, (0, n_padded - len(samples)))
    starts = range(0, n_windows * HOP_SAMPLES, HOP_SAMPLES)
    return [padded[start : start + WINDOW_SAMPLES] for start in starts]


def _open_interpreter(path: Path, keeps_tensors: bool) -> Any:
    if not path.is_file():
        raise UsageError(f"{path} is missing: set {PEERS_ENV} to the folder that holds it")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise BackendError("YAMNet needs LiteRT: pip install 'edge-audio[tflite]'") from error
    with warnings.catch_warnings():  # keeping all tensors is what it warns of
        warnings.simplefilter("ignore", UserWarning)
        interpreter = Interpreter(
            str(path), num_threads=1, experimental_preserve_all_tensors=keeps_tensors
        )
    interpreter.allocate_tensors()
    return interpreter
