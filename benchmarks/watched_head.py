"""What it saves to compute the scores of ten watched labels alone (`scores="watched"`).

    python benchmarks/watched_head.py [MODEL ...]

Of a step of the engine with its front end: instructions, counted by valgrind's callgrind, and time.
Of a `Tagger` that is pushed a file in blocks of 2.56 s, or a microphone in blocks of 80 ms: time.
All times are the least of runs in turn. Needs a C compiler, and valgrind for instructions.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from host_step import N_RUNS, TIMED_STEPS, build, instructions, run, runs
from in_turn import least_s
from instructions import ten_labels

from edge_audio import Tagger
from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from edge_audio.engine.variants import machine_of, variants_of
from edge_audio.sources.demo import DemoScene
from edge_audio.support.arrays import FloatArray

MODELS = ("tiny-int8", "micro-int8", "small-int8")
AUDIO_S = 60.0
BLOCKS_MS = {"a file": 2_560, "a microphone": 80}


def tagged_s(tagger: Tagger, audio: FloatArray, block_ms: int) -> float:
    n_block = block_ms * tagger.sample_rate_hz // 1000
    start_s = time.process_time()
    for start in range(0, len(audio), n_block):
        tagger.push(audio[start : start + n_block])
    tagger.flush()
    return time.process_time() - start_s


def stepped_s(program: Path, image: Path) -> float:
    return run(program, image, TIMED_STEPS, packed=True)[1]


def of_a_step(model: str, program: Path, folder: Path) -> str:
    bundle, images = load_bundle(model), []
    for labels in ((), ten_labels(model)):
        images.append(folder / f"{model}-{len(labels)}.image")
        images[-1].write_bytes(build_image(bundle, labels))
    all_s, ten_s = least_s([partial(stepped_s, program, image) for image in images], N_RUNS)
    counts = [instructions(program, image, packed=True) for image in images]
    text = f"{100 * (1 - ten_s / all_s):.0f} % of the time of a step ({program.name})"
    if "-" in counts:
        return text
    before, after = (int(count.replace(",", "")) for count in counts)
    return f"{100 * (1 - after / before):.1f} % of {before:,} instructions, {text}"


def of_a_tagger(model: str) -> str:
    audio, labels = DemoScene(16_000).first(AUDIO_S), ten_labels(model)
    open_one = partial(Tagger.open, model, "native", only=labels)
    taggers, texts = (open_one(), open_one(scores="watched")), []
    for name, block_ms in BLOCKS_MS.items():
        all_s, ten_s = least_s([partial(tagged_s, x, audio, block_ms) for x in taggers], N_RUNS)
        texts.append(f"{100 * (1 - ten_s / all_s):.0f} % of a Tagger's in blocks of {name}")
    return ", ".join(texts)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [build(one, folder) for one in variants_of(machine_of(platform.machine()))]
        program = [one for one in programs if runs(one)][-1]
        for model in sys.argv[1:] or MODELS:
            saved = of_a_step(model, program, folder), of_a_tagger(model)
            print(f"{model}: ten labels save {', '.join(saved)}", flush=True)


if __name__ == "__main__":
    main()
