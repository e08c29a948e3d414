"""What microcontrollers need for ten labels: flash, RAM, and instructions for a second of audio.

    python benchmarks/instructions.py [--model micro-int8] [--target cortex-m4]

Runs the generated programs in QEMU, which counts instructions, not cycles: the load at 160 MHz is
what it would be if each instruction took one cycle, and real ones are higher by what memory and
multi-cycle instructions cost. Counts are the same on every machine. With them stands what ST has
published in its stm32ai-modelzoo for YAMNet-256, measured on a board.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from bisect import bisect_right
from collections import Counter
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import StateType
from edge_audio.errors import EdgeAudioError
from edge_audio.sources.demo import DemoScene
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.folder.codegen import Firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TARGETS_DIR, TOOLCHAINS, compile_program

MODELS = ("micro-int8", "tiny-int8", "tiny-xlstm-int8", "small-int8")
CORTEX_M = ("cortex-m4", "cortex-m7", "cortex-m55")
N_LABELS = 10
CLOCK_HZ = 160e6
SAMPLE_RATE_HZ = 16_000
AUDIO_S = 8.0
MIN_SHARE = 0.01

YAMNET = ("ST: YAMNet-256, measured", "Cortex-M33", "194", "117", "-", "about 39 %")


def ten_labels(model: str) -> list[str]:
    """Those with the best evidence."""
    thresholds = load_bundle(model).manifest.events.thresholds
    ranked = sorted(thresholds, key=lambda label: (-thresholds[label].n_positives, label))
    return ranked[:N_LABELS]


def write_audio(path: Path) -> None:
    """The beginning of the demo scene: sounds and pauses."""
    samples = DemoScene(SAMPLE_RATE_HZ).first(AUDIO_S)
    path.write_bytes(np.round(samples * 32767.0).astype("<i2").tobytes())


def run(made: Firmware, program: Path, audio: Path) -> list[dict[str, int]]:
    """The JSON lines that the program prints."""
    command = TOOLCHAINS[made.target.name].run_command(program, [audio])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def instructions_per_s(records: list[dict[str, int]]) -> float:
    """Of audio; under -icount shift=0 an instruction takes a nanosecond."""
    end = next(record for record in records if "ticks" in record)
    return 1e9 * end["ticks"] / end["ticks_hz"] * SAMPLE_RATE_HZ / end["samples"]


def shares(made: Firmware, audio: Path) -> Counter[str]:
    """Samples of the program counter by function."""
    folder, target = made.path, made.target
    sources = [*folder.glob("src/*.c"), TARGETS_DIR / "cortex_m" / "profile.c"]
    sources += [folder / name for name in target.programs[0].sources]
    program = folder.parent / "profile.elf"
    linker = [flag.replace("port/link.ld", f"{folder}/port/link.ld") for flag in target.link_flags]
    flags = ["-DEA_PROFILE", *linker]
    includes = [folder / "src", folder / "port"]
    compile_program(TOOLCHAINS[target.name], sorted(sources), program, includes, flags)
    symbols = functions(program)
    starts = [start for start, _ in symbols]
    counts: Counter[str] = Counter()
    for record in run(made, program, audio):
        if "pc" in record:
            name = symbols[max(0, bisect_right(starts, record["pc"]) - 1)][1]
            counts[name.partition(".")[0]] += record["count"]
    return counts


def functions(program: Path) -> list[tuple[int, str]]:
    """(address, name), sorted."""
    command = ["arm-none-eabi-nm", "--defined-only", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return sorted((int(row[0], 16) & ~1, row[2]) for row in rows if row[1] in "tTwW")


@click.command()
@click.option("--model", "models", multiple=True, default=MODELS, show_default=True)
@click.option("--target", "targets", multiple=True, default=CORTEX_M, show_default=True)
@click.option("--state", type=click.Choice(["float", "int16"]), default="int16", show_default=True)
def main(models: tuple[str, ...], targets: tuple[str, ...], state: StateType) -> None:
    """Prints a table of totals, and the shares of functions."""
    columns = ("model", "CPU", "flash KiB", "RAM KiB", "M instructions/s", "load at 160 MHz")
    totals = Table(*columns, box=None)
    function_lines: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        audio = Path(scratch) / "audio.pcm"
        write_audio(audio)
        for model in models:
            for target in targets:
                folder = Path(scratch) / f"{model}-{target}" / "out"
                labels = ten_labels(model)
                try:
                    made = build_firmware(
                        load_bundle(model), TARGETS[target], folder, labels, state
                    )
                except EdgeAudioError as error:  # such as more flash than the board has
                    totals.add_row(model, target, *"----")
                    function_lines.append(f"{model} on {target}: {error}")
                    continue
                totals.add_row(*total_row(made, model, audio))
                counts = shares(made, audio)
                function_lines.append(f"{model} on {target}: {share_text(counts)}")
    totals.add_row(*YAMNET)
    console = Console(soft_wrap=True)
    console.print(totals)
    console.print("\nShares of instructions by function:", *function_lines, sep="\n")


def total_row(made: Firmware, model: str, audio: Path) -> tuple[str, ...]:
    """A line of the first table."""
    if made.memory is None:
        raise click.ClickException(f"{made.target.name} {made.missing}")
    per_s = instructions_per_s(run(made, made.programs[0], audio))
    sizes = (made.memory.flash_bytes, made.memory.ram_bytes)
    kib = (f"{n_bytes / 1024:.1f}" for n_bytes in sizes)
    load = f"{100 * per_s / CLOCK_HZ:.1f} %"
    return (model, made.target.name, *kib, f"{per_s / 1e6:.2f}", load)


def share_text(counts: Counter[str]) -> str:
    """Functions from 1 % on, the largest first."""
    total = counts.total()
    rows = [(name, n / total) for name, n in counts.most_common()]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in rows if share > MIN_SHARE)


if __name__ == "__main__":
    main()
