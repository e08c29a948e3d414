"""What a published size costs, without making its weights: the network runs on the meta device,
where tensors have shapes alone."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from distill.teachers.published.network import Network
from distill.teachers.published.system import Architecture, System

aten = torch.ops.aten
_SEQUENTIAL = "distill.teachers.bricks.mamba"
N_CLIPS, CLIP_S = 8, 10.0
"""What the teachers of a training run hear at once (`distill/training/targets.py`)."""


class Cost(NamedTuple):
    """macs_per_s: multiply-accumulates for a second of audio. peak_bytes: weights, and the most
    that N_CLIPS clips of CLIP_S hold beside them at a time, in float32. frame_rate_hz: of the
    deepest layer. None where the network is not run: it looks at values, or goes step by step."""

    sample_rate_hz: int
    n_parameters: int
    frame_rate_hz: float | None
    dim: int | None
    macs_per_s: float | None
    peak_bytes: int | None


class _Peak(TorchDispatchMode):
    """The largest sum of bytes that tensors made within it held at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._users: dict[int, int] = {}  # storage -> its tensors

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._hold(value)
        return made

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, n_bytes = storage._cdata, storage.nbytes()  # noqa: SLF001
        if key not in self._users:
            self._now += n_bytes
            self.peak = max(self.peak, self._now)
        self._users[key] = self._users.get(key, 0) + 1
        weakref.finalize(tensor, self._release, key, n_bytes)

    def _release(self, key: int, n_bytes: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            self._now -= n_bytes


def cost_of(system: System, size: Architecture) -> Cost:
    """Of one published size."""
    with torch.device("meta"):
        network = system.build({**system.defaults, **size})
    network = network.to("meta").eval()
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    rate_hz = network.sample_rate_hz
    if any(_goes_step_by_step(module) for module in network.modules()):
        frame_rate_hz = 1.0 / network.timing(0).hop_s
        return Cost(rate_hz, n_parameters, frame_rate_hz, None, None, None)
    try:
        return _run(network, n_parameters)
    except (RuntimeError, NotImplementedError):  # it looks at values
        return Cost(rate_hz, n_parameters, None, None, None, None)


def _goes_step_by_step(module: nn.Module) -> bool:
    """What takes thousands of calls for a clip: these would be minutes on the meta device too."""
    return isinstance(module, nn.RNNBase) or type(module).__module__ == _SEQUENTIAL


def _run(network: Network, n_parameters: int) -> Cost:
    rate_hz = network.sample_rate_hz
    n_samples = round(CLIP_S * rate_hz)
    if network.max_samples is not None:
        n_samples = min(n_samples, network.max_samples)
    waveform = torch.empty(N_CLIPS, n_samples, device="meta")
    counted: Any = {aten._fft_r2c: _forward_flops, aten._fft_c2r: _backward_flops}  # noqa: SLF001
    peak, counter = _Peak(), FlopCounterMode(display=False, custom_mapping=counted)
    with torch.no_grad(), counter, peak:
        hidden = network(waveform).hidden
    last = len(hidden) - 1
    macs = counter.get_total_flops() / 2 / N_CLIPS / (n_samples / rate_hz)
    return Cost(
        sample_rate_hz=rate_hz,
        n_parameters=n_parameters,
        frame_rate_hz=1.0 / network.timing(last).hop_s,
        dim=network.frames(last, hidden[last]).shape[2],
        macs_per_s=macs,
        peak_bytes=peak.peak + _n_bytes(network),
    )


def _forward_flops(shape: Sequence[int], dim: Sequence[int], *_: Any, **__: Any) -> int:
    """Of a real transform, which torch does not count: 2.5 n log2 n (Frigo, Johnson 2005)."""
    return round(2.5 * math.prod(shape) * math.log2(shape[dim[-1]]))


def _backward_flops(
    shape: Sequence[int], dim: Sequence[int], norm: int, size: int, **_: Any
) -> int:
    return _forward_flops((math.prod(shape) // shape[dim[-1]], size), (1,))


def _n_bytes(network: nn.Module) -> int:
    return sum(value.nbytes for value in network.state_dict().values())
