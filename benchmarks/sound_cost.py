"""What a learned sound costs on the C engine: flash of its image, and instructions of a step,
counted by valgrind's callgrind, by many sounds and by none.

    python benchmarks/sound_cost.py [MODEL ...]

Needs a C compiler and valgrind. The row stands behind the model's own; following it for events is
not counted.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
from host_step import MODELS, build, instructions, runs

from edge_audio.backends import open_backend
from edge_audio.backends.fingerprint import fingerprint
from edge_audio.bundle.rows import HeadRows
from edge_audio.bundle.spec import SENSITIVITIES, Threshold
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.engine.image import build_image
from edge_audio.engine.variants import machine_of, variants_of

N_SOUNDS = 100


def taught(bundle: Bundle) -> Bundle:
    """With rows of any weights."""
    network = fingerprint(open_backend(bundle, "native"))
    names = tuple(f"Sound {index}" for index in range(N_SOUNDS))
    on = dict.fromkeys(SENSITIVITIES, Threshold(on=0.5, off=0.35))
    weight = np.random.default_rng(0).integers(-127, 128, (N_SOUNDS, len(network)))
    return bundle.with_rows(
        HeadRows(
            labels=names,
            weight=weight.astype(np.int8),
            scale=np.full(N_SOUNDS, 1e-3, np.float32),
            bias=np.full(N_SOUNDS, -1.0, np.float32),
            fingerprint=network,
            thresholds=dict.fromkeys(names, on),
        )
    )


def measure(model: str, program: Path, folder: Path) -> None:
    plain = load_bundle(model)
    step_s, images = plain.manifest.model.step_s, []
    for index, bundle in enumerate((plain, taught(plain))):
        images.append(folder / f"{model}-{index}.image")
        images[-1].write_bytes(build_image(bundle))
    n_bytes = images[1].stat().st_size - images[0].stat().st_size
    found = [instructions(program, image, packed=True) for image in images]
    print(f"{model}: {n_bytes / N_SOUNDS:.0f} bytes of flash a sound")
    if "-" not in found:
        before, after = (int(count.replace(",", "")) for count in found)
        each = (after - before) / N_SOUNDS
        print(
            f"{model}: {each:.0f} instructions a step and sound, {each / step_s:,.0f} an audio "
            f"second, {100 * each / before:.3f} % of {before:,} ({program.name})"
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [build(one, folder) for one in variants_of(machine_of(platform.machine()))]
        counted = [one for one in programs if runs(one) and "vnni" not in one.name]
        for model in sys.argv[1:] or MODELS:
            measure(model, counted[-1], folder)


if __name__ == "__main__":
    main()
