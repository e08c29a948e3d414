"""Published systems as teachers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.data.labels import audioset_labels, audioset_names
from distill.teachers.base import (
    Layer,
    TeacherOutput,
    check_layers,
    count_frames,
    refuse_longer,
    row_of,
    stack_rows,
)
from distill.teachers.published.checkpoint import Checkpoint, read_checkpoint
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.registry import system_of
from distill.teachers.published.system import Architecture, assemble

BF16_DEVICES = ("cuda", "xpu")
"""Not CPUs: grouped convolutions in bf16 are wrong there (torch 2.13 with oneDNN)."""
_N_DEFAULT_LAYERS = 4
_N_AUDIOSET = 527
_log = logging.getLogger(__name__)


class PublishedTeacher(nn.Module):
    """Hidden layers and, from a fine-tuned checkpoint, logits of whole clips.

    Frames are those centred within the clip. Rows of different lengths are heard apart, so that
    a batch gives what its clips give alone.
    """

    label_frames: Layer | None = None
    bf16 = False
    """Whether the network is autocast, on BF16_DEVICES."""

    def __init__(
        self, name: str, network: Network, labels: Sequence[str], layers: Sequence[int] | None
    ) -> None:
        super().__init__()
        self.name, self.network, self.labels = name, network, tuple(labels)
        self.sample_rate_hz = network.sample_rate_hz
        encoded = self._encode(torch.zeros(1, max(network.min_samples, self.sample_rate_hz // 2)))
        last = len(encoded.hidden) - 1
        chosen = _spread(last) if layers is None else tuple(layers)
        check_layers(chosen, range(last + 1), f" of {name}")
        self.indices = chosen
        self.layers = tuple(self._describe(index, encoded) for index in chosen)

    @classmethod
    def load(
        cls,
        kind: str,
        checkpoint: Path,
        layers: Sequence[int] | None = None,
        architecture: Architecture | None = None,
    ) -> PublishedTeacher:
        """architecture: what the file does not say of itself. UsageError if the checkpoint is
        missing, is of another kind, or has no such layers."""
        system = system_of(kind)
        read = read_checkpoint(checkpoint, system.entries)
        network = assemble(system, read.state, read.config, architecture or {}, str(checkpoint))
        labels = _labels(network, read, checkpoint)
        return cls(checkpoint.stem.replace(".", "_"), network, labels, layers).eval()

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        n_samples = waveform.shape[1]
        ends = [n_samples] * len(waveform) if lengths is None else lengths.tolist()
        rows: dict[int, TeacherOutput] = {}
        for end in sorted(set(ends)):
            alike = [index for index, length in enumerate(ends) if length == end]
            output = self._hear(waveform[alike, :end])
            rows |= {index: row_of(output, place) for place, index in enumerate(alike)}
        return stack_rows([rows[index] for index in range(len(rows))])

    def _hear(self, waveform: Tensor) -> TeacherOutput:
        """Clips of one length."""
        encoded = self._encode(waveform)
        n_samples, rate_hz, network = waveform.shape[1], self.sample_rate_hz, self.network
        hidden = tuple(
            network.frames(index, encoded.hidden[index])[
                :, : count_frames(layer, n_samples, rate_hz)
            ]
            for index, layer in zip(self.indices, self.layers, strict=True)
        )
        return TeacherOutput(hidden, encoded.clip_logits if self.labels else None)

    def _encode(self, waveform: Tensor) -> Encoded:
        network, n_samples = self.network, waveform.shape[1]
        refuse_longer(self, n_samples, network.max_samples)
        padding = max(0, network.min_samples - n_samples)
        device = waveform.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16 and device in BF16_DEVICES):
            encoded: Encoded = network(functional.pad(waveform, (0, padding)))
        return encoded

    def _describe(self, index: int, encoded: Encoded) -> Layer:
        dim = self.network.frames(index, encoded.hidden[index]).shape[2]
        timing = self.network.timing(index)
        return Layer(f"hidden.{index}", dim, timing.hop_s, timing.offset_s)


def _spread(last: int) -> tuple[int, ...]:
    """A few layers, evenly spread over all, the deepest among them."""
    n_layers = min(_N_DEFAULT_LAYERS, last)
    return tuple(round(last * (rank + 1) / n_layers) for rank in range(n_layers))


def _labels(network: Network, read: Checkpoint, checkpoint: Path) -> tuple[str, ...]:
    """Names of the logits' columns: the file's own order where it tells one (BEATs), AudioSet's
    where there are 527, none where nobody knows, which the log tells."""
    own: Any = read.entries.get("label_dict")
    if isinstance(own, dict):
        names = audioset_names()
        mids = [str(own[index]) for index in sorted(own)]
        return tuple(names.get(mid, mid) for mid in mids)
    n_labels = getattr(network, "n_labels", 0)
    if n_labels == _N_AUDIOSET:
        return audioset_labels()
    if n_labels:
        _log.warning(
            "%s: its head has %d outputs, and nothing names them (AudioSet has %d): it teaches "
            "layers alone, no labels",
            checkpoint,
            n_labels,
            _N_AUDIOSET,
        )
    return ()
