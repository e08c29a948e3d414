"""Writes tests/data/toy/: the toy as files for every runtime, which most tests are content with.

python -m tests.support.toy_export      with the extras export and onnx
"""

from __future__ import annotations

import json
from importlib.metadata import version

import torch
from torch import Tensor

from edge_audio.bundle.spec import ModelSpec
from quantize.export import export
from quantize.schemes import SCHEMES
from tests.support.toy import EXPORTED_DIR, N_LABELS, SPEC, band_weights

RUNTIMES = {"tflite": "litert", "onnx": "onnx", "pte": "executorch"}
EXPORTERS = ("torch", "litert-torch", "onnx", "onnxscript", "onnx-ir", "executorch")
VERSIONS_FILE = EXPORTED_DIR / "exporters.json"


class Toy(torch.nn.Module):
    """toy.NumpyBackend in torch; its maths is explained there."""

    spec: ModelSpec = SPEC
    weights: Tensor
    eighth: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(band_weights()).unsqueeze(0))
        self.register_buffer("eighth", torch.full((1, 1, 8), 0.125))
        self.register_buffer("mean", torch.full((1, 64, 1), 1.0 / 64.0))

    def forward(
        self, frames: Tensor, fast: Tensor, slow: Tensor, previous: Tensor, older: Tensor
    ) -> dict[str, Tensor]:
        """frames f32[1, 8, 64] and the state of SPEC -> scores f32[1, 12] and the next state."""
        energy = torch.bmm(torch.bmm(self.eighth, frames), self.weights)
        fast = 0.5 * fast + 0.5 * energy.reshape(1, N_LABELS)
        slow = 0.9 * slow + 0.1 * fast.reshape(1, 3, 4)
        motion = torch.bmm((previous - older).reshape(1, 1, 64), self.mean).reshape(1, 1)
        logits = 4.0 * fast + 2.0 * slow.reshape(1, N_LABELS) + 0.5 * motion + 2.0
        return {
            "scores": torch.sigmoid(logits),
            "fast_next": fast,
            "slow_next": slow,
            "previous_next": frames[:, 7:8, :].reshape(1, 64),
            "older_next": previous,
        }


def export_toy(suffix: str) -> bytes:
    """The toy as the content of `model.{suffix}`."""
    return export(RUNTIMES[suffix], Toy().eval(), SCHEMES["float"])  # type: ignore[arg-type]


def exporter_versions() -> dict[str, str]:
    """Of the packages whose versions decide about the bytes."""
    return {name: version(name) for name in EXPORTERS}


def main() -> None:
    EXPORTED_DIR.mkdir(parents=True, exist_ok=True)
    for suffix in RUNTIMES:
        (EXPORTED_DIR / f"model.{suffix}").write_bytes(export_toy(suffix))
    VERSIONS_FILE.write_text(json.dumps(exporter_versions(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from tests.support import toy_export

    toy_export.main()  # LiteRT writes the full name of the class into its file
