"""Any Hugging Face audio encoder as a teacher: from a local folder or the hub, through the
model's own feature extractor.

wav2vec 2.0, HuBERT, WavLM, Data2Vec-audio, UniSpeech-SAT, AST and CLAP's audio tower (HTS-AT)
are timed exactly. Any other model whose `forward` returns `hidden_states` [B, T, D] is timed by
measurement; models that bring their own code run only with trust_remote_code. Extractors
compute in numpy on the CPU; torchaudio is not needed (AST's uses it if it is installed).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Layer, TeacherOutput, check_layers, count_frames, refuse_longer
from distill.teachers.layouts import (
    CLAP_TYPES,
    Layout,
    hidden_states,
    layout_of,
    output_field,
    run,
)
from edge_audio.errors import EdgeAudioError, UsageError

_HEADS = ("ForAudioClassification", "ForSequenceClassification")
_TRAINING_ONLY = "masked_spec_embed"
"""Stands in for masked frames during training; many published checkpoints come without it."""
_PROBE_S = 1.0


class TransformersTeacher(nn.Module):
    """Hidden states of the library's `hidden_states`, and the logits of a classification head.

    Clips shorter than the fixed input of AST or CLAP are padded as the model's extractor does
    it, and frames centred beyond the clip are dropped; longer clips are refused. Logits are the
    head's own: only those of a multi-label head are log-odds.
    """

    label_frames: Layer | None = None

    def __init__(
        self,
        name: str,
        network: nn.Module,
        layout: Layout,
        labels: Sequence[str],
        indices: Sequence[int],
    ) -> None:
        super().__init__()
        self.name, self.sample_rate_hz, self.labels = name, layout.rate_hz, tuple(labels)
        self.network, self._layout, self._indices = network, layout, tuple(indices)
        states = hidden_states(self._run(torch.zeros(1, round(_PROBE_S * layout.rate_hz)), None))
        check_layers(indices, range(len(states)))
        self.layers = tuple(self._layer(index, states[index]) for index in indices)

    @classmethod
    def load(
        cls, model: str, layers: Sequence[int], trust_remote_code: bool = False
    ) -> TransformersTeacher:
        """model: a folder made by `save_pretrained`, or a hub id, which is downloaded once.

        Raises UsageError, saying what to do, if it cannot be had, lacks weights, has no such
        layers, or brings code that is not trusted.
        """
        with _refusing(model):
            network, extractor = _load(model, trust_remote_code)
            network.eval().requires_grad_(False)
            layout = layout_of(network, extractor)
            labels = _labels(network.config) if _has_head(network.config) else ()
            return cls(_name(model), network, layout, labels, layers).eval()

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        n_samples, rate_hz = waveform.shape[1], self.sample_rate_hz
        refuse_longer(self, n_samples, self._layout.max_samples)
        output = self._run(waveform, lengths)
        states = hidden_states(output)
        hidden = tuple(
            self._layout.frames(states[index])[:, : count_frames(layer, n_samples, rate_hz)]
            for index, layer in zip(self._indices, self.layers, strict=True)
        )
        return TeacherOutput(hidden, output_field(output, "logits") if self.labels else None)

    def _run(self, waveform: Tensor, lengths: Tensor | None) -> Any:
        device = next(self.network.parameters()).device
        n_samples = waveform.shape[1]
        ends = [n_samples] * len(waveform) if lengths is None else lengths.tolist()
        samples = waveform.cpu().numpy()
        rows = [row[:end] for row, end in zip(samples, ends, strict=True)]
        inputs = self._layout.inputs(rows, n_samples)
        return run(self.network, {name: value.to(device) for name, value in inputs.items()})

    def _layer(self, index: int, state: Tensor) -> Layer:
        n_frames, dim = self._layout.frames(state).shape[1:]
        timing = self._layout.timing(n_frames)
        return Layer(f"hidden_states.{index}", dim, timing.hop_s, timing.offset_s)


def _name(model: str) -> str:
    """The last part of a path or hub id, without dots, which module names may not hold."""
    return Path(model).name.replace(".", "_")


def _has_head(config: Any) -> bool:
    return any(name.endswith(_HEADS) for name in config.architectures or ())


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(config.id2label[index] for index in range(len(config.id2label)))


def _load(model: str, trust_remote_code: bool) -> tuple[nn.Module, Any | None]:
    """The network in float32 and its feature extractor, None where a model with code of its own
    has none. Raises what the library raises, and UsageError if weights are missing."""
    from transformers import AutoConfig, AutoFeatureExtractor

    source = {
        "trust_remote_code": trust_remote_code,
        "local_files_only": Path(model).is_dir(),
    }
    extractors: Any = AutoFeatureExtractor  # which has no types
    config = AutoConfig.from_pretrained(model, **source)
    try:
        extractor = extractors.from_pretrained(model, **source)
    except OSError:
        if not hasattr(config, "auto_map"):
            raise
        extractor = None
    network, report = _network_class(config).from_pretrained(
        model,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # to be refused below, by name
        output_loading_info=True,
        **source,
    )
    unusable = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    missing = sorted(name for name in unusable if not name.endswith(_TRAINING_ONLY))
    if missing:
        raise UsageError(
            f"{len(missing)} weights are missing or of another shape, such as "
            f"{', '.join(missing[:3])}: fetch the checkpoint again"
        )
    return network, extractor


def _network_class(config: Any) -> Any:
    """The class that takes the checkpoint's audio encoder, with its classification head if it
    has one, and without CLAP's text tower."""
    import transformers

    if config.model_type not in CLAP_TYPES:
        head = transformers.AutoModelForAudioClassification
        return head if _has_head(config) else transformers.AutoModel
    bare = "ClapAudioModel" in (config.architectures or ())
    return transformers.ClapAudioModel if bare else transformers.ClapAudioModelWithProjection


@contextmanager
def _refusing(model: str) -> Iterator[None]:
    """Turns whatever goes wrong inside the library, or in a model's own code, into a UsageError
    that says what to do; keeps the library's reports and progress bars off the terminal."""
    try:
        import transformers.utils.logging
    except ModuleNotFoundError as error:
        raise EdgeAudioError(
            f"teacher {model} needs transformers: pip install 'edge-audio[teachers]'"
        ) from error
    logging: Any = transformers.utils.logging  # it has no types
    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:
        raise UsageError(f"teacher {model}: {_advice(model, error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()


def _advice(model: str, error: Exception) -> str:
    if isinstance(error, UsageError):
        return str(error)
    if "trust_remote_code" in str(error):
        return (
            "it brings Python code of its own: read that code, then allow it with "
            "trust_remote_code = true in the recipe's teacher, or --trust-remote-code"
        )
    reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
    absent = "" if Path(model).is_dir() else "there is no such folder, and as a hub id: "
    return (
        f"{absent}{reason}. It must be a folder made by save_pretrained, with model and feature "
        "extractor, or the id of a model on the Hugging Face hub, to be downloaded"
    )
