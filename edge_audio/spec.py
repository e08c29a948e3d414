"""Frozen descriptions of a model: what goes in, what comes out, and in which units.

They are what the packages agree on. `distill` writes them into checkpoints, `quantize` into
bundle manifests, and `edge_audio` and `firmware_bridge` read them back. Decoding is strict:
unknown fields and wrong types are errors that name the field.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DType = Literal["float32", "int16", "int8"]


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
        if not 0 < self.hop_samples <= self.window_samples <= self.fft_size:
            raise ValueError("need 0 < hop_samples <= window_samples <= fft_size")
        if not 0 <= self.min_hz < self.max_hz <= self.sample_rate_hz / 2:
            raise ValueError("need 0 <= min_hz < max_hz <= sample_rate_hz / 2")
        if not 1 <= self.n_mels <= self.fft_size // 2:
            raise ValueError("need 1 <= n_mels <= fft_size / 2")
        if self.log_floor <= 0 or self.log_scale <= 0:
            raise ValueError("log_floor and log_scale must be positive")

    @property
    def overlap_samples(self) -> int:
        """Samples that two consecutive windows share."""
        return self.window_samples - self.hop_samples


class TensorSpec(Spec, frozen=True):
    """One named tensor of an exported graph; `shape` is static, batch dimension included."""

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"


class ModelSpec(Spec, frozen=True):
    """One streaming step: (frames, state) -> (scores, next state).

    frames: input [1, frames_per_step, n_mels].
    scores: output [1, n_labels], probabilities in [0, 1], independent per label.
    state: tensors carried between steps, all zero at the start of a stream. The graph returns
        the successor of state `name` under the name `name + "_next"`.
    latency_ms: algorithmic latency: the longest time from a sound reaching the front end to
        the end of the first step that contains all of its frame (window + stacking + delay).
    """

    frontend: FrontendSpec
    frames_per_step: int
    latency_ms: float
    frames: TensorSpec
    scores: TensorSpec
    state: tuple[TensorSpec, ...]

    @property
    def step_samples(self) -> int:
        """Samples consumed by one step."""
        return self.frames_per_step * self.frontend.hop_samples

    @property
    def step_s(self) -> float:
        """Seconds of audio consumed by one step."""
        hop_s = self.frontend.hop_samples / self.frontend.sample_rate_hz
        return self.frames_per_step * hop_s


class Threshold(Spec, frozen=True):
    """Operating point of one label, with the evidence it was chosen on.

    An event starts when the smoothed score reaches `on` and ends when it falls below `off`.
    precision, recall: as measured on `n_positives` held-out clips at `on`.
    """

    on: float
    off: float
    precision: float
    recall: float
    n_positives: int

    def __post_init__(self) -> None:
        if not 0.0 < self.off <= self.on <= 1.0:
            raise ValueError("need 0 < off <= on <= 1")


class EventSpec(Spec, frozen=True):
    """Turns a stream of scores into start and end events. All times in seconds, so that they
    hold for any step length.

    smoothing_s: time constant of the exponential smoothing of scores; 0 = none.
    min_on_s: a start is reported once the score has stayed at or above `on` this long.
    min_off_s: an end is reported once the score has stayed below `off` this long.
    thresholds: label -> operating point. Labels that are absent are off by default, because
        there was too little evidence to choose a threshold.
    """

    smoothing_s: float = 0.0
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    thresholds: dict[str, Threshold] = {}
