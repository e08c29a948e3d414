"""Frozen descriptions of a model: what goes in, what comes out, and in which units.

They are what the packages agree on. `distill` writes them into checkpoints, `quantize` into
bundle manifests, and `edge_audio` and `firmware_bridge` read them back. Decoding is strict:
unknown fields and wrong types are errors that name the field, and so are numbers that no model
needs but that would cost gigabytes or poison every score.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal, TypeVar

import msgspec

from edge_audio.errors import UsageError
from edge_audio.support.text import check_name

T = TypeVar("T")
DType = Literal["float32", "int16", "int8"]
Sensitivity = Literal["quiet", "normal", "eager"]
WhyOff = Literal["no recordings", "few recordings", "too many false alarms", "rarely found"]

SENSITIVITIES: tuple[Sensitivity, ...] = ("quiet", "normal", "eager")

MAX_RATE_HZ = 384_000
MAX_FFT_SIZE = 8_192
MAX_MELS = 256
MAX_FRAMES_PER_STEP = 1_000
MAX_DIMS = 8
MAX_STATE_ELEMENTS = 1 << 22  # 16 MB of float32, for each stream
MAX_QUIET_STEPS = 1_000


def _is_amount(value: float) -> bool:
    return 0.0 <= value < math.inf


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all specs: immutable, keyword-only, strictly decoded."""


class FrontendSpec(Spec, frozen=True):
    """Log-mel front end. Frame k covers samples [k * hop, k * hop + window): it looks at no
    sample after its own window, so it adds no latency beyond the window itself.

    sample_rate_hz: rate of the samples pushed in.
    window_samples: length of the (periodic) Hann window; 400 = 25 ms at 16 kHz.
    hop_samples: distance between frames; 160 = 10 ms at 16 kHz.
    fft_size: zero-padded transform length, a power of two >= window_samples.
    n_mels: number of triangular bands, equally spaced on the HTK mel scale.
    min_hz, max_hz: lower edge of the first and upper edge of the last band.
    log_floor: added to the band power (full scale = 1.0) before the logarithm.
    log_mean, log_scale: frames are (ln(power + log_floor) - log_mean) / log_scale.
    """

    sample_rate_hz: int = 16_000
    window_samples: int = 400
    hop_samples: int = 160
    fft_size: int = 512
    n_mels: int = 64
    min_hz: float = 50.0
    max_hz: float = 8_000.0
    log_floor: float = 1e-6
    log_mean: float = -5.0
    log_scale: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.hop_samples <= self.window_samples <= self.fft_size <= MAX_FFT_SIZE:
            need = f"0 < hop_samples <= window_samples <= fft_size <= {MAX_FFT_SIZE}"
            raise ValueError(f"need {need}")
        if self.fft_size & (self.fft_size - 1):
            raise ValueError("fft_size must be a power of two")
        if not 1_000 <= self.sample_rate_hz <= MAX_RATE_HZ:
            raise ValueError(f"need 1000 <= sample_rate_hz <= {MAX_RATE_HZ}")
        if not 1 <= self.n_mels <= min(MAX_MELS, self.fft_size // 2):
            raise ValueError(f"need 1 <= n_mels <= fft_size / 2, at most {MAX_MELS}")
        self._check_scale()

    def _check_scale(self) -> None:
        if not 0 <= self.min_hz <= self.max_hz - 1 <= self.sample_rate_hz / 2 - 1:
            raise ValueError("need 0 <= min_hz, min_hz + 1 <= max_hz <= sample_rate_hz / 2")
        if not (1e-30 <= self.log_floor <= 1 and 1e-3 <= self.log_scale <= 1e3):
            raise ValueError("need 1e-30 <= log_floor <= 1 and 1e-3 <= log_scale <= 1e3")
        if not abs(self.log_mean) <= 1e3:
            raise ValueError("need -1e3 <= log_mean <= 1e3")

    @property
    def overlap_samples(self) -> int:
        """Samples that two consecutive windows share."""
        return self.window_samples - self.hop_samples


class TensorSpec(Spec, frozen=True):
    """One named tensor of an exported graph; `shape` is static, batch dimension included.

    It also describes what a runtime found in a model file, right or wrong: `ModelSpec` says
    which tensors a model may have.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"


class ModelSpec(Spec, frozen=True, kw_only=True):
    """One streaming step: (frames, state) -> (scores, next state).

    input: "frames", or "samples" where the front end is part of the graph.
    frames: the input, [1, frames_per_step, n_mels]; or [1, step_samples] samples in [-1, 1].
    scores: output [1, n_labels], probabilities in [0, 1], independent per label.
    embedding: output [1, embedding_dim], the last hidden layer, of which the head makes the scores;
        None where the graph does not give it, as those of older bundles.
    state: tensors carried between steps. The graph returns the successor of state `name` under
        the name `name + "_next"`.
    quiet_steps: a stream begins with the state that so many steps of digital silence leave of
        zeros; 0 = with zeros.
    latency_ms: algorithmic latency: the longest time from a sound reaching the front end to
        the end of the first step that contains all of its frame (window + stacking + delay).
    """

    frontend: FrontendSpec
    input: Literal["frames", "samples"] = "frames"
    frames_per_step: int
    latency_ms: float
    frames: TensorSpec
    scores: TensorSpec
    state: tuple[TensorSpec, ...]
    embedding: TensorSpec | None = None
    quiet_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.quiet_steps <= MAX_QUIET_STEPS:
            raise ValueError(f"need 0 <= quiet_steps <= {MAX_QUIET_STEPS}")
        if not 1 <= self.frames_per_step <= MAX_FRAMES_PER_STEP:
            raise ValueError(f"need 1 <= frames_per_step <= {MAX_FRAMES_PER_STEP}")
        if not _is_amount(self.latency_ms):
            raise ValueError("latency_ms must be finite and not negative")
        floats = (self.frames, self.scores, *self.embeddings)
        for tensor in (*floats, *self.state):
            _check_tensor(tensor)
        for tensor in floats:
            if tensor.dtype != "float32":
                raise ValueError(f"tensor {tensor.name!r} must be float32")
        if sum(math.prod(tensor.shape) for tensor in self.state) > MAX_STATE_ELEMENTS:
            raise ValueError(f"the state must have at most {MAX_STATE_ELEMENTS} elements in all")

    @property
    def embeddings(self) -> tuple[TensorSpec, ...]:
        """The embedding, if the graph gives one."""
        return () if self.embedding is None else (self.embedding,)

    @property
    def embedding_dim(self) -> int:
        """Of the embedding, 0 if the graph gives none."""
        return self.embedding.shape[1] if self.embedding else 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the shape of `frames` must be."""
        if self.input == "samples":
            return (1, self.step_samples)
        return (1, self.frames_per_step, self.frontend.n_mels)

    @property
    def overlap_samples(self) -> int:
        """Samples that the first step needs beyond its own: a graph that is fed samples keeps
        them as state, and starts with zeros."""
        return 0 if self.input == "samples" else self.frontend.overlap_samples

    @property
    def step_samples(self) -> int:
        """Samples consumed by one step."""
        return self.frames_per_step * self.frontend.hop_samples

    @property
    def step_s(self) -> float:
        """Seconds of audio consumed by one step."""
        hop_s = self.frontend.hop_samples / self.frontend.sample_rate_hz
        return self.frames_per_step * hop_s


def _check_tensor(tensor: TensorSpec) -> None:
    check_name(tensor.name, "tensor name")
    if not 1 <= len(tensor.shape) <= MAX_DIMS or min(tensor.shape) < 1:
        raise ValueError(f"tensor {tensor.name!r} must have 1 to {MAX_DIMS} sizes of at least 1")


class Threshold(Spec, frozen=True):
    """The scores between which events of one label start and end, with the evidence for them: None
    and 0 where nobody measured.

    An event starts when the smoothed score reaches `on` and ends when it falls below `off`.
    alarms_per_hour: starts in the `negative_h` hours of audio in which the label could not be
        expected. recall: share of its events that were found, in scenes composed of `n_positives`
        recordings. Both were counted on recordings that the threshold was not chosen on.
    """

    on: float
    off: float
    alarms_per_hour: float | None = None
    negative_h: float = 0.0
    recall: float | None = None
    n_positives: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.off <= self.on <= 1.0:
            raise ValueError("need 0 < off <= on <= 1")
        if not (self.recall is None or 0.0 <= self.recall <= 1.0):
            raise ValueError("recall must be within 0 and 1")
        if not (self.alarms_per_hour is None or _is_amount(self.alarms_per_hour)):
            raise ValueError("alarms_per_hour must be finite and not negative")
        if not _is_amount(self.negative_h) or self.n_positives < 0:
            raise ValueError("negative_h and n_positives must not be negative")


class EventSpec(Spec, frozen=True):
    """Turns a stream of scores into start and end events. All times in seconds, so that they
    hold for any step length.

    smoothing_s: time constant of the exponential smoothing of scores; 0 = none.
    attack_s: the same where scores rise; None = smoothing_s, as all manifests of older models.
    min_on_s: a start is reported once the score has stayed at or above `on` this long.
    min_off_s: an end is reported once the score has stayed below `off` this long.
    thresholds: label -> its threshold, in a manifest at the sensitivity `normal`. Labels without
        one are not watched; in a manifest those are the labels without honest evidence.
    sensitivities: thresholds at other sensitivities. One that is not here has `thresholds`, as all
        have in the manifests of older models.
    off: why labels that were recorded have no threshold; others have not been recorded.
    """

    smoothing_s: float = 0.0
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    attack_s: float | None = None
    thresholds: dict[str, Threshold] = {}
    sensitivities: dict[Sensitivity, dict[str, Threshold]] = {}
    off: dict[str, WhyOff] = {}

    def __post_init__(self) -> None:
        times_s = (self.smoothing_s, self.rising_s, self.min_on_s, self.min_off_s)
        if not all(map(_is_amount, times_s)):
            names = "smoothing_s, attack_s, min_on_s and min_off_s"
            raise ValueError(f"{names} must be finite, not negative")

    @property
    def rising_s(self) -> float:
        """The time constant of rising scores."""
        return self.smoothing_s if self.attack_s is None else self.attack_s

    def at_sensitivity(self, sensitivity: Sensitivity | None) -> EventSpec:
        """A manifest's settings at a sensitivity; None = as they are, which is `normal`. What the
        label has at the others is still known. Raises UsageError for what is no sensitivity."""
        if sensitivity is not None and sensitivity not in SENSITIVITIES:
            known = ", ".join(SENSITIVITIES)
            raise UsageError(f"{sensitivity!r} is no sensitivity: it is one of {known}")
        if sensitivity is None or sensitivity not in self.sensitivities:
            return self
        others = {"normal": self.thresholds, **self.sensitivities}
        chosen = others[sensitivity]
        return msgspec.structs.replace(self, thresholds=chosen, sensitivities=others)

    def of_labels(self, labels: Collection[str]) -> EventSpec:
        """The settings of these labels alone."""
        kept = frozenset(labels)

        def among_kept(known: Mapping[str, T]) -> dict[str, T]:
            return {label: each for label, each in known.items() if label in kept}

        return msgspec.structs.replace(
            self,
            thresholds=among_kept(self.thresholds),
            sensitivities={name: among_kept(x) for name, x in self.sensitivities.items()},
            off=among_kept(self.off),
        )
