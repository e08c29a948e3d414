"""Everything that can score a clip: students, exported bundles, and the peers beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from distill.labels import audioset_labels, read_class_map
from distill.students.tagger import Student
from distill.teachers import efficientat
from distill.teachers.efficientat import EfficientATTeacher
from edge_audio.backends import open_backend
from edge_audio.bundle import Bundle
from edge_audio.errors import BackendError, UsageError
from edge_audio.frontend import log_mel
from edge_audio.spec import EventSpec, ModelSpec
from edge_audio.tagger import Tagger

FloatArray = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
"""Rate of the samples that every scorer is given."""

YAMNET_NAME, YAMNET_CLASS_MAP_NAME = "yamnet.tflite", "yamnet_class_map.csv"
_YAMNET_WINDOW_SAMPLES = 15_600


class ClipScore(NamedTuple):
    """scores: f32[n_labels], one number per label for the whole clip, larger is likelier.
    features: name -> f32[D], what a classifier may be fitted on."""

    scores: FloatArray
    features: dict[str, FloatArray]


class Scorer(Protocol):
    """Scores one clip, f32[n > 0] mono at SAMPLE_RATE_HZ, independently of all others."""

    name: str
    labels: tuple[str, ...]

    def score(self, samples: FloatArray) -> ClipScore: ...


class StudentScorer:
    """A student in PyTorch, from a fresh state per clip."""

    def __init__(self, name: str, student: Student) -> None:
        self.name, self.labels = name, audioset_labels()
        self._student, self._spec = student.eval(), student.model_spec()

    def score(self, samples: FloatArray) -> ClipScore:
        padded = whole_steps(_at_rate(samples, self._spec.frontend.sample_rate_hz), self._spec)
        frames = torch.from_numpy(log_mel(self._spec.frontend, padded))
        with torch.inference_mode():
            output = self._student(frames[None])
        pooled = pool_steps(torch.sigmoid(output.logits)[0].numpy())
        embedding = mean_and_max(output.embedding[0].numpy())
        return ClipScore(pooled.scores, {"embedding": embedding, **pooled.features})


class BundleScorer:
    """A bundle as a user runs it: the streaming Tagger, from a fresh state per clip."""

    def __init__(self, bundle: Bundle, name: str | None = None) -> None:
        self.name = name or bundle.manifest.name
        self.labels = bundle.manifest.labels
        self._spec = bundle.manifest.model
        self._tagger = Tagger(bundle, open_backend(bundle), EventSpec())

    def score(self, samples: FloatArray) -> ClipScore:
        padded = whole_steps(_at_rate(samples, self._spec.frontend.sample_rate_hz), self._spec)
        self._tagger.reset()
        return pool_steps(np.stack([scores for _, scores, _ in self._tagger.stream(padded)]))


class TeacherScorer:
    """An EfficientAT teacher; its embedding is the feature map averaged over time."""

    def __init__(self, name: str, checkpoint: Path, width: float) -> None:
        self.name, self.labels = name, audioset_labels()
        self._teacher = EfficientATTeacher.load(checkpoint, width)

    def score(self, samples: FloatArray) -> ClipScore:
        wave = torch.from_numpy(_at_rate(samples, efficientat.SAMPLE_RATE_HZ))
        with torch.inference_mode():
            output = self._teacher(wave[None])
        logits = output.clip_logits[0].numpy()
        embedding = output.features[0].mean(0).numpy()
        return ClipScore(logits, {"embedding": embedding, "scores": logits})


class YamnetScorer:
    """YAMNet in LiteRT on 0.975 s windows at 50 % overlap, scores averaged over the windows.
    Clips are padded with zeros to whole windows."""

    def __init__(self, peers: Path) -> None:
        self.name = "YAMNet"
        self.labels = read_class_map(peers / YAMNET_CLASS_MAP_NAME)
        self._interpreter = _open_interpreter(peers / YAMNET_NAME)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def score(self, samples: FloatArray) -> ClipScore:
        window, hop = _YAMNET_WINDOW_SAMPLES, _YAMNET_WINDOW_SAMPLES // 2
        n_windows = 1 + max(0, -(-(len(samples) - window) // hop))
        padded = np.pad(samples, (0, window + (n_windows - 1) * hop - len(samples)))
        starts = range(0, n_windows * hop, hop)
        rows = np.stack([self._window(padded[start : start + window]) for start in starts])
        return ClipScore(rows.mean(0), pool_steps(rows).features)

    def _window(self, samples: FloatArray) -> FloatArray:
        self._interpreter.set_tensor(self._input, samples[None])
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output)[0], np.float32)


def pool_steps(scores: FloatArray) -> ClipScore:
    """Probabilities f32[n_steps, n_labels] of a clip -> their maximum over time, and mean and
    maximum of their log-odds as `scores` features.

    The maximum, because a clip's labels say that a sound occurs in it, however briefly, and
    because an event starts where its score peaks; a mean would count a bark in five seconds of
    silence as a tenth of a bark.
    """
    return ClipScore(scores.max(0), {"scores": mean_and_max(_log_odds(scores))})


def mean_and_max(rows: FloatArray) -> FloatArray:
    """f32[n, D] -> f32[2 D]."""
    return np.concatenate([rows.mean(0), rows.max(0)])


def whole_steps(samples: FloatArray, spec: ModelSpec) -> FloatArray:
    """Pads with zeros to the end of the last step, so that no sample goes unheard."""
    overlap, step = spec.frontend.overlap_samples, spec.step_samples
    n_steps = max(1, -(-(len(samples) - overlap) // step))
    return np.pad(samples, (0, overlap + n_steps * step - len(samples)))


def _log_odds(scores: FloatArray) -> FloatArray:
    bounded = np.clip(scores, 1e-6, 1.0 - 1e-6)
    return np.log(bounded / (1.0 - bounded))


def _at_rate(samples: FloatArray, rate_hz: int) -> FloatArray:
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz), np.float32)


def _open_interpreter(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"{path} is missing: put it there or leave out --baselines")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise BackendError("YAMNet needs LiteRT: pip install 'edge-audio[tflite]'") from error
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter
