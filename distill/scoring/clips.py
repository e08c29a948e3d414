"""Everything that can score a clip: students, exported bundles, and the peers beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from distill.data.labels import audioset_labels
from distill.students.student import Student, StudentOutput
from distill.teachers.base import Teacher
from distill.teachers.yamnet import YamnetTeacher
from edge_audio.backends import open_backend
from edge_audio.backends.base import silence
from edge_audio.bundle.spec import EventSpec, ModelSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.tagger import Tagger

SAMPLE_RATE_HZ = 16_000
"""Rate of the samples that every scorer is given."""
_BATCH_SIZE = 32


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
    """A student in PyTorch, each clip as the start of a stream. labels: () means AudioSet's."""

    def __init__(self, name: str, student: Student, labels: tuple[str, ...] = ()) -> None:
        self.name, self.labels = name, labels or audioset_labels()
        self._student, self.spec = student.eval(), student.model_spec()

    def score(self, samples: FloatArray) -> ClipScore:
        output = self._output(samples)
        pooled = pool_steps(torch.sigmoid(output.logits)[0].numpy())
        embedding = mean_and_max(output.embedding[0].numpy())
        return ClipScore(pooled.scores, {"embedding": embedding, **pooled.features})

    def steps(self, samples: FloatArray) -> FloatArray:
        """Samples f32[n] of a clip -> probabilities f32[n_steps, n_labels]."""
        return torch.sigmoid(self._output(samples).logits)[0].numpy()

    def _output(self, samples: FloatArray) -> StudentOutput:
        n_quiet, frames = self.spec.quiet_steps, frames_of(samples, self.spec)
        with torch.inference_mode():
            output: StudentOutput = self._student(torch.from_numpy(frames)[None])
        return StudentOutput(output.logits[:, n_quiet:], output.embedding[:, n_quiet:])


def frames_of(samples: FloatArray, spec: ModelSpec) -> FloatArray:
    """Samples f32[n] of a clip -> log-mel f32[T, n_mels] of whole steps, spec.quiet_steps before
    them."""
    padded = whole_steps(at_rate(samples, spec.frontend.sample_rate_hz), spec)
    quiet = [silence(spec)[0]] * spec.quiet_steps
    return np.concatenate([*quiet, log_mel(spec.frontend, padded)])


def highest_logits(student: Student, frames: Sequence[NDArray[np.floating[Any]]]) -> FloatArray:
    """f32[n_clips, n_labels]: the highest logit over the steps of each clip, given as `frames_of`
    it. Clips of about one length are scored together: a student is causal, so that what is padded
    changes nothing."""
    spec, lengths = student.model_spec(), [len(of_clip) for of_clip in frames]
    logits = np.empty((len(frames), student.config.n_classes), np.float32)
    order, device = np.argsort(lengths, kind="stable"), next(student.parameters()).device
    for start in range(0, len(order), _BATCH_SIZE):
        rows = order[start : start + _BATCH_SIZE]
        batch = [torch.from_numpy(frames[row]).float() for row in rows]
        with torch.inference_mode():
            found = student(pad_sequence(batch, batch_first=True).to(device)).logits.cpu()
        for row, of_clip in zip(rows, found, strict=True):
            steps = of_clip[spec.quiet_steps : lengths[row] // spec.frames_per_step]
            logits[row] = steps.amax(0).numpy()
    return logits


class BundleScorer:
    """A bundle as a user runs it: the streaming Tagger, from a fresh state per clip."""

    def __init__(self, bundle: Bundle, name: str | None = None) -> None:
        self.name = name or bundle.manifest.name
        self.labels = bundle.manifest.labels
        self.spec = bundle.manifest.model
        self.events = bundle.manifest.events
        self._tagger = Tagger(bundle, open_backend(bundle), EventSpec())

    def score(self, samples: FloatArray) -> ClipScore:
        return pool_steps(self.steps(samples))

    def steps(self, samples: FloatArray) -> FloatArray:
        """Samples f32[n] of a clip -> probabilities f32[n_steps, n_labels]."""
        padded = whole_steps(at_rate(samples, self.spec.frontend.sample_rate_hz), self.spec)
        self._tagger.reset()
        return np.stack([scores for _, scores, _ in self._tagger.steps(padded)])


class TeacherScorer:
    """A teacher with labels, on whole clips. Scores are its logits, the embedding is its deepest
    layer averaged over time."""

    def __init__(self, teacher: Teacher) -> None:
        self.name, self.labels = teacher.name, teacher.labels
        self.rate_hz, self._teacher = teacher.sample_rate_hz, teacher

    def score(self, samples: FloatArray) -> ClipScore:
        logits, hidden = self._teach(at_rate(samples, self.rate_hz)[None])
        features = {"scores": logits[0]}
        if hidden:
            features["embedding"] = hidden[-1][0].mean(0).numpy()
        return ClipScore(logits[0], features)

    def probabilities(self, clips: FloatArray) -> FloatArray:
        """f32[B, n] at rate_hz -> f32[B, n_labels]."""
        return np.asarray(expit(self._teach(clips)[0]), np.float32)

    def _teach(self, clips: FloatArray) -> tuple[FloatArray, tuple[Tensor, ...]]:
        with torch.inference_mode():
            output = self._teacher(torch.from_numpy(clips))
        if output.clip_logits is None:
            raise UsageError(f"teacher {self.name} has no labels: it cannot score clips")
        return output.clip_logits.numpy(), output.hidden


class YamnetScorer:
    """YAMNet; a clip's score is the mean over its windows."""

    def __init__(self, peers: Path) -> None:
        self._yamnet = YamnetTeacher.load(peers)
        self.name, self.labels = "YAMNet", self._yamnet.labels

    def score(self, samples: FloatArray) -> ClipScore:
        rows = self._yamnet.window_scores(samples)
        return ClipScore(rows.mean(0), pool_steps(rows).features)


def pool_steps(scores: FloatArray) -> ClipScore:
    """Probabilities f32[n_steps, n_labels] of a clip -> their maximum over time, and mean and
    maximum of their log-odds as `scores` features.

    The maximum, because a clip's labels say that a sound occurs in it, however briefly, and
    because an event starts where its score peaks; a mean would count a bark in five seconds of
    silence as a tenth of a bark.
    """
    return ClipScore(scores.max(0), {"scores": mean_and_max(log_odds(scores))})


def mean_and_max(rows: FloatArray) -> FloatArray:
    """f32[n, D] -> f32[2 D]."""
    return np.concatenate([rows.mean(0), rows.max(0)])


def whole_steps(samples: FloatArray, spec: ModelSpec) -> FloatArray:
    """Pads with zeros to the end of the last step, so that no sample goes unheard."""
    overlap, step = spec.frontend.overlap_samples, spec.step_samples
    n_steps = max(1, -(-(len(samples) - overlap) // step))
    return np.pad(samples, (0, overlap + n_steps * step - len(samples)))


def log_odds(scores: FloatArray) -> FloatArray:
    """ln p / (1 - p), of probabilities no closer to 0 or 1 than 1e-6."""
    bounded = np.clip(scores, 1e-6, 1.0 - 1e-6)
    return np.log(bounded / (1.0 - bounded))


def at_rate(samples: FloatArray, rate_hz: int) -> FloatArray:
    """Samples at SAMPLE_RATE_HZ, resampled to rate_hz."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz), np.float32)
