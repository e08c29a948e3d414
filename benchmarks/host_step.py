"""What front end and step cost on this computer, by the library of a wheel, with packed weights
and without: instructions counted by valgrind's callgrind, and time, the least of runs in turn.

    python benchmarks/host_step.py [MODEL ...]

Needs a C compiler, and valgrind for instructions; it knows no AVX-512. All rows of a model must
have the same scores.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_audio.backends.compiler import C, find_compiler
from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from edge_audio.engine.variants import (
    FLAGS,
    Variant,
    engine_sources,
    machine_of,
    variants_of,
)

ROOT = Path(__file__).resolve().parent.parent
ENGINE_DIR = ROOT / "firmware_bridge" / "engine"
MODELS = ("tiny-int8", "micro-int8")
COUNTED_STEPS, TIMED_STEPS, N_RUNS = 50, 2_000, 5


def build(variant: Variant, folder: Path) -> Path:
    compiler = find_compiler(C)
    if compiler is None:
        sys.exit("needs a C compiler, such as gcc")
    program = folder / variant.name
    flags = [flag for flag in FLAGS if flag != "-shared" and not flag.startswith("-fvis")]
    sources = [ROOT / "benchmarks" / "host_step.c", *engine_sources(ENGINE_DIR)]
    command = [*compiler, *flags, *variant.flags, f"-I{ENGINE_DIR / 'include'}"]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True)
    return program


def run(program: Path, image: Path, n_steps: int, packed: bool) -> tuple[str, float]:
    """Hash of the last scores, seconds."""
    command = [str(program), str(image), str(n_steps), str(int(packed))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, seconds = done.stdout.split()
    return found, float(seconds)


def instructions(program: Path, image: Path, packed: bool) -> str:
    """Of a step, without what happens once."""
    if shutil.which("valgrind") is None or "vnni" in program.name:
        return "-"
    counts = []
    for n_steps in (1, 1 + COUNTED_STEPS):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program)]
        command += [str(image), str(n_steps), str(int(packed))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (count,) = re.findall(r"refs:\s+([\d,]+)", done.stderr)
        counts.append(int(count.replace(",", "")))
    return f"{(counts[1] - counts[0]) / COUNTED_STEPS:,.0f}"


def measure(model: str, programs: list[Path], folder: Path) -> None:
    image = folder / f"{model}.image"
    image.write_bytes(build_image(load_bundle(model)))
    rows = [(program, packed) for program in programs for packed in (False, True)]
    times: dict[tuple[Path, bool], list[float]] = {row: [] for row in rows}
    for _ in range(N_RUNS):  # in turn: the machine is not always as quick
        for row in rows:
            times[row].append(run(row[0], image, TIMED_STEPS, row[1])[1])
    for program, packed in rows:
        found, _ = run(program, image, 20, packed)
        us = 1e6 * min(times[program, packed]) / TIMED_STEPS
        name = f"{program.name}{', packed' if packed else ''}"
        count = instructions(program, image, packed)
        print(f"{model:12} {name:22} {count:>12} instructions {us:8.1f} us  scores {found}")


def main() -> None:
    variants = variants_of(machine_of(platform.machine()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [build(variant, folder) for variant in variants]
        runnable = [program for program in programs if runs(program)]
        for model in sys.argv[1:] or MODELS:
            measure(model, runnable, folder)


def runs(program: Path) -> bool:
    """Whether this CPU has its instructions, which a step takes: it dies of others."""
    with tempfile.NamedTemporaryFile() as image:
        image.write(build_image(load_bundle(MODELS[0])))
        image.flush()
        command = [str(program), image.name, "1", "1"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    main()
