"""How each family of Hugging Face audio encoders hears audio and lays its hidden states out in
time: the facts that the library knows but does not tell.

A sample n lies at n / rate; a frame's centre is the middle of the samples that it sees before
any attention or pooling mixes it with others.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks.waveform import conv_field_hop
from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray

CONVOLUTIONAL_TYPES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat")
AST_TYPE, CLAP_TYPES = "audio-spectrogram-transformer", ("clap", "clap_audio_model")

_AST_WINDOW_SAMPLES, _AST_HOP_SAMPLES = 400, 160
_AST_SUMMARY_TOKENS = 2  # classification and distillation
_DEFAULT_RATE_HZ = 16_000
_PROBE_S = 4.8  # a multiple of every usual hop, from 10 to 160 ms


class Layout(Protocol):
    """max_samples: the longest clip that the model hears whole, None for any length."""

    rate_hz: int
    max_samples: int | None

    def inputs(self, rows: Sequence[FloatArray], n_samples: int) -> Mapping[str, Tensor]:
        """What `forward` takes for clips of up to n_samples each, f32[n_i] within [-1, 1]."""
        ...

    def frames(self, state: Tensor) -> Tensor:
        """One hidden state as the library returns it -> [B, T, D]."""
        ...

    def timing(self, n_frames: int) -> Timing:
        """When the n_frames of a hidden state are."""
        ...


class ConvolutionalLayout:
    """wav2vec 2.0 (Baevski et al. 2020) and its successors: unpadded convolutions over the
    waveform, then a transformer at their rate."""

    max_samples: int | None = None

    def __init__(self, config: Any, extractor: Any) -> None:
        self.rate_hz, self._extractor = extractor.sampling_rate, extractor
        field, hop = conv_field_hop(zip(config.conv_kernel, config.conv_stride, strict=True))
        self._timing = Timing(hop / self.rate_hz, (field - 1) / 2 / self.rate_hz)

    def inputs(self, rows: Sequence[FloatArray], n_samples: int) -> Mapping[str, Tensor]:
        """Padded to n_samples; masked where the extractor was saved with an attention mask."""
        padding = {"padding": "max_length", "max_length": n_samples}
        return _extract(self._extractor, rows, **padding)

    def frames(self, state: Tensor) -> Tensor:
        return state

    def timing(self, n_frames: int) -> Timing:
        return self._timing


class ASTLayout:
    """Audio Spectrogram Transformer (Gong et al. 2021): square patches of a log-mel image of
    fixed length, frequency-major, behind two summary tokens; a frame is the mean over the
    patches of one time."""

    def __init__(self, config: Any, extractor: Any) -> None:
        self.rate_hz, self._extractor = extractor.sampling_rate, extractor
        self.max_samples = _AST_WINDOW_SAMPLES + _AST_HOP_SAMPLES * extractor.max_length - 1
        self._n_bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
        centre = (config.patch_size - 1) / 2 * _AST_HOP_SAMPLES + (_AST_WINDOW_SAMPLES - 1) / 2
        hop = config.time_stride * _AST_HOP_SAMPLES
        self._timing = Timing(hop / self.rate_hz, centre / self.rate_hz)

    def inputs(self, rows: Sequence[FloatArray], n_samples: int) -> Mapping[str, Tensor]:
        return _extract(self._extractor, rows)

    def frames(self, state: Tensor) -> Tensor:
        patches = state[:, _AST_SUMMARY_TOKENS:]
        out: Tensor = patches.unflatten(1, (self._n_bands, -1)).mean(1)
        return out

    def timing(self, n_frames: int) -> Timing:
        return self._timing


class ClapLayout:
    """The audio tower of CLAP (Wu et al. 2023), HTS-AT (Chen et al. 2022): a Swin transformer
    over a log-mel image of fixed length that is cut into `n_chunks` pieces of time, one below
    the other; a frame is the mean over the patches of one time. Each stage halves the rate."""

    def __init__(self, config: Any, extractor: Any) -> None:
        self.rate_hz, self._extractor = extractor.sampling_rate, extractor
        self.max_samples = extractor.nb_max_samples
        self._n_chunks = config.spec_size // config.num_mel_bins
        self._n_columns = config.spec_size * self._n_chunks
        # the spectrogram is stretched to n_columns, its first and last frame staying in place
        last_s = self.max_samples // extractor.hop_length * extractor.hop_length / self.rate_hz
        self._column_s = last_s / (self._n_columns - 1)

    def inputs(self, rows: Sequence[FloatArray], n_samples: int) -> Mapping[str, Tensor]:
        inputs = dict(_extract(self._extractor, rows))
        # the extractor calls one clip of each batch longer than it is, chosen at random
        inputs["is_longer"] = torch.zeros(len(rows), 1, dtype=torch.bool)
        return inputs

    def frames(self, state: Tensor) -> Tensor:
        """[B, D, n_chunks * bands, times] -> [B, n_chunks * times, D]."""
        chunks = state.unflatten(2, (self._n_chunks, -1)).mean(3)
        out: Tensor = chunks.flatten(2).transpose(1, 2)
        return out

    def timing(self, n_frames: int) -> Timing:
        n_columns = self._n_columns / n_frames
        return Timing(n_columns * self._column_s, (n_columns - 1) / 2 * self._column_s)


class MeasuredLayout:
    """Any other model that returns hidden states [B, T, D] whose T grows with the clip.

    Its hop is measured on two clips; its frames are taken to lie evenly about the clip's
    middle, which is true to within half a hop. Padding is not masked. Without an extractor,
    `forward` gets the waveform as its first argument.
    """

    max_samples: int | None = None

    def __init__(self, network: nn.Module, extractor: Any | None) -> None:
        self._network, self._extractor = network, extractor
        self.rate_hz = getattr(extractor or network.config, "sampling_rate", _DEFAULT_RATE_HZ)
        n_samples = round(_PROBE_S * self.rate_hz)
        n_frames, n_twice = self._count_frames(n_samples), self._count_frames(2 * n_samples)
        if n_twice <= n_frames:
            raise UsageError(
                f"{n_frames} frames for {_PROBE_S} s and {n_twice} for twice as long: "
                "only a model whose hidden states [B, T, D] grow with the clip can be timed"
            )
        hop = n_samples / (n_twice - n_frames)
        offset = (n_samples - (n_frames - 1) * hop) / 2
        self._timing = Timing(hop / self.rate_hz, offset / self.rate_hz)

    def inputs(self, rows: Sequence[FloatArray], n_samples: int) -> Mapping[str, Tensor]:
        padded = [np.pad(row, (0, n_samples - len(row))) for row in rows]
        if self._extractor is not None:
            return _extract(self._extractor, padded)
        first = next(iter(inspect.signature(self._network.forward).parameters))
        return {first: torch.from_numpy(np.stack(padded))}

    def frames(self, state: Tensor) -> Tensor:
        return state

    def timing(self, n_frames: int) -> Timing:
        return self._timing

    def _count_frames(self, n_samples: int) -> int:
        inputs = self.inputs([np.zeros(n_samples, np.float32)], n_samples)
        return hidden_states(run(self._network, inputs))[-1].shape[1]


def layout_of(network: nn.Module, extractor: Any | None) -> Layout:
    """The layout of a loaded model by its `model_type`; measured where it is not known."""
    config: Any = network.config
    if config.model_type in CONVOLUTIONAL_TYPES:
        return ConvolutionalLayout(config, extractor)
    if config.model_type == AST_TYPE:
        return ASTLayout(config, extractor)
    if config.model_type in CLAP_TYPES:
        return ClapLayout(config, extractor)
    return MeasuredLayout(network, extractor)


def run(network: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """The network's output, with hidden states where it has to be asked for them."""
    parameters = inspect.signature(network.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    asks = takes_any or "output_hidden_states" in parameters
    return network(**inputs, **({"output_hidden_states": True} if asks else {}))


def output_field(output: Any, name: str) -> Any:
    """One field of a model's output, be it a mapping or an object; None if it has none."""
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def hidden_states(output: Any) -> tuple[Tensor, ...]:
    """All hidden states, shallow to deep; UsageError if there are none."""
    states = output_field(output, "hidden_states")
    if states is None:
        raise UsageError("its forward returns no `hidden_states`, of which a student could learn")
    return (states,) if isinstance(states, Tensor) else tuple(states)


def _extract(extractor: Any, rows: Sequence[FloatArray], **options: Any) -> Mapping[str, Tensor]:
    features = extractor(
        list(rows), sampling_rate=extractor.sampling_rate, return_tensors="pt", **options
    )
    return dict(features)
