"""What of a training run others need: recipe and weights, without the optimiser's state.

python -m distill.publish runs/tiny/checkpoint.pt distill/checkpoints/tiny.pt
"""

from __future__ import annotations

import sys
from pathlib import Path

from distill.runs import load_state, save_atomically


def publish(checkpoint: Path, path: Path) -> None:
    """Writes to `path` what `edge-audio quantize`, `evaluate` and `start_from` read of a
    checkpoint, at a fifth of its size. EdgeAudioError if `checkpoint` is none."""
    state = load_state(checkpoint)
    save_atomically({name: state[name] for name in ("recipe", "step", "student")}, path)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]))
