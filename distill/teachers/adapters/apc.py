"""APC (Chung et al. 2019) and VQ-APC, as s3prl has them: recurrent layers over a filter bank that
is normalised by the whole clip, which is all that keeps them from being causal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import patches
from distill.teachers.bricks.mel import KaldiBank, normalised_bands
from distill.teachers.published.network import Encoded, Golden, Network, recorded
from distill.teachers.published.system import Architecture, Card, State, System, n_layers


class APC(Network):
    """features [B, T, 80]; hidden: each layer with its shortcut, which the first one lacks."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, n_mels = architecture["hidden_size"], architecture["input_size"]
        self.bank = KaldiBank(n_mels, window="hamming")
        self.min_samples = self.bank.window_samples + self.bank.hop_samples
        self.residual = architecture["residual"]
        widths = [n_mels] + [dim] * (architecture["num_layers"] - 1)
        self.rnn_layers = nn.ModuleList(nn.GRU(width, dim, batch_first=True) for width in widths)
        self.postnet = nn.Linear(dim, n_mels)

    def features(self, waveform: Tensor) -> Tensor:
        return normalised_bands(self.bank(waveform))

    def encode(self, features: Tensor) -> Encoded:
        hidden: list[Tensor] = []
        for layer in self.rnn_layers:
            output = layer(hidden[-1] if hidden else features)[0]
            hidden.append(hidden[-1] + output if hidden and self.residual else output)
        return Encoded(
            tuple(hidden), hidden[-1], others=lambda: {"prediction": self.postnet(hidden[-1])}
        )

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        with recorded(self.rnn_layers) as raw:
            made = super().recompute(golden)
        return made | {f"raw_gru_outputs_{index}": output for index, (output, _) in enumerate(raw)}

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(1, 1)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_mels, dim = state["postnet.weight"].shape
    return {"input_size": n_mels, "hidden_size": dim, "num_layers": n_layers(state, "rnn_layers")}


SYSTEM = System(
    card=Card(
        title="APC, VQ-APC",
        paper="Chung et al. 2019, An Unsupervised Autoregressive Model for Speech Representation "
        "Learning",
        code_licence="Apache-2.0",
        weights_licence="CC BY-NC 4.0",
        non_commercial=True,
        checkpoints=("apc_360hr", "apc_960hr", "vq_apc_360hr", "vq_apc_960hr"),
        sizes={"360 h": {}},
    ),
    build=APC,
    defaults={"input_size": 80, "hidden_size": 512, "num_layers": 3, "residual": True},
    infer=_infer,
    anchor="rnn_layers.0.weight_ih_l0",
    ignored=(r"vq_layers\.",),
)
