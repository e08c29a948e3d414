"""What the network of every published system offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing

Golden = Mapping[str, Tensor]
"""Arrays of a parity file, those of the state aside."""


class Encoded(NamedTuple):
    """hidden: every layer as the authors return it, shallow to deep, [B, N, D] as a rule; a
    recipe's `layers` are positions in it. output: the authors' final features. clip_logits:
    [B, C], log-odds of whole clips. others: makes the further arrays of parity files, by their
    names there: nobody else needs them."""

    hidden: tuple[Tensor, ...]
    output: Tensor
    clip_logits: Tensor | None = None
    others: Callable[[], Mapping[str, Tensor]] = dict


class Network(nn.Module):
    """A published system: its front end and its network, in eval mode.

    sample_rate_hz, and the shortest and the longest clip that it hears (None: of any length).
    Shorter ones are padded with zeros, longer ones are refused. Rows of a batch are of one
    length, and none may depend on another.
    """

    sample_rate_hz = 16_000
    min_samples = 1
    max_samples: int | None = None

    bank: nn.Module
    """The front end, where there is nothing to do but it."""

    def features(self, waveform: Tensor) -> Tensor:
        """[B, n] in [-1, 1] -> the network's input, after normalisation."""
        made: Tensor = self.bank(waveform)
        return made

    def encode(self, features: Tensor) -> Encoded:
        """Every layer of the network's input."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Encoded:
        """Every layer of a waveform [B, n]."""
        return self.encode(self.exact_features(waveform))

    def exact_features(self, waveform: Tensor) -> Tensor:
        """`features` in float32, whatever is autocast about it."""
        if waveform.is_meta:  # which nothing is autocast on
            return self.features(waveform)
        with torch.autocast(waveform.device.type, enabled=False):
            return self.features(waveform)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        """Layer `index` of `Encoded.hidden` -> [B, T, D], one row for each time."""
        raise NotImplementedError

    def timing(self, index: int) -> Timing:
        """When the frames of layer `index` are."""
        raise NotImplementedError

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        """The arrays of a parity file under its names: `features` from the waveform, all others
        from the golden features, so that errors of the front end count once."""
        features = self.features(golden["waveform"])
        encoded = self.encode(golden.get("features", features))
        return {"features": features, **named_arrays(encoded)}


def named_arrays(encoded: Encoded) -> dict[str, Tensor]:
    """What a network gave, under the names of parity files."""
    made = {f"hidden_{index:02}": hidden for index, hidden in enumerate(encoded.hidden)}
    made["output"] = encoded.output
    if encoded.clip_logits is not None:
        made["logits"] = encoded.clip_logits
    return made | dict(encoded.others())


def states(layers: Iterable[nn.Module], x: Tensor, *common: Any) -> tuple[Tensor, ...]:
    """What each layer makes of the one before. common: what all layers are given besides."""
    made = []
    for layer in layers:
        x = layer(x, *common)
        made.append(x)
    return tuple(made)


@contextmanager
def recorded(modules: Iterable[nn.Module]) -> Iterator[list[Any]]:
    """A list of what these modules return, in the order of their calls."""
    outputs: list[Any] = []
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_hook(lambda _, inputs, output: outputs.append(output))
            stack.callback(hook.remove)
        yield outputs
