"""Fixed point or float: what one frame of log-mel takes on a Cortex-M4F, and how far off it is.

    python benchmarks/experiments/fixed_point_frontend.py [--audio RECORDING.wav] [--seconds 4]

Runs the programs of fixed_point_frontend.c in QEMU. Instructions are counted there; cycles are
estimated from a trace of one frame with the timings of Arm's Cortex-M4 manual (r0p1, chapters 3 and
7), for memory without wait states. Errors are those of normalised frames, against the same
definitions in double precision.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge_audio.bundle.spec import FrontendSpec
from edge_audio.bundle.store import load_bundle
from edge_audio.features.frontend import hz_to_mel, mel_weights
from edge_audio.sources.demo import DemoScene
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TOOLCHAINS, compile_program

SOURCE = Path(__file__).with_suffix(".c")
TARGET = "cortex-m4"
MODEL = "micro-int8"  # the front end is that of all models
LABELS = ("Dog",)
ARITHMETICS = {
    "engine, float": "ENGINE",
    "float, laid out alike": "FLOAT",
    "fixed, 32 bits": "Q31",
    "fixed, 16 bits": "Q15",
}
SPEC = FrontendSpec()
SYSTICK_HZ = 25_000_000
INSTRUCTIONS_PER_TICK = 10**9 // SYSTICK_HZ  # under -icount shift=0 one takes a nanosecond
LOG_TABLE = 64
PEAK = 10 ** (-1 / 20)  # -1 dBFS
WIDTH = 150  # of the table, in characters
QUIET = 10 ** (-60 / 20)

Samples = NDArray[np.int16]
Frames = NDArray[np.float64]


# Tables


def _mel_bins(spec: FrontendSpec) -> tuple[np.ndarray, np.ndarray]:
    """The first bin at or above each edge of the bands [n_mels + 2], and the weight of each bin in
    the band whose peak is the next one."""
    hz = np.arange(1, spec.fft_size // 2) * spec.sample_rate_hz / spec.fft_size
    low, high = hz_to_mel(np.array([spec.min_hz, spec.max_hz]))
    edges = np.linspace(low, high, spec.n_mels + 2)
    mels = hz_to_mel(hz)
    first = 1 + np.searchsorted(mels, edges)
    band = np.searchsorted(edges, mels, side="right") - 1
    weights = np.pad(mel_weights(spec).astype(float), ((0, 0), (0, 1)))
    rising = np.where(band >= 0, weights[np.arange(1, len(hz) + 1), np.maximum(band, 0)], 0.0)
    rising = np.where(band == spec.n_mels, 1.0 - weights[1:-1, spec.n_mels - 1], rising)
    return first, np.concatenate([[0.0], rising])


def _turns(n: int, count: int) -> np.ndarray:
    """cos and sin of 2 pi k / n, [count, 2]."""
    angles = 2.0 * np.pi * np.arange(count) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _scaled(values: np.ndarray, bits: int, limit_bits: int) -> np.ndarray:
    """Integers in units of 2^-bits, cut to what is less than 2^limit_bits."""
    limit = 2**limit_bits - 1
    return np.round(values * 2.0**bits).clip(-limit, limit).astype(np.int64)


def _array(ctype: str, name: str, values: np.ndarray) -> str:
    if ctype == "float":
        texts = [f"{value:.9e}f" for value in values.ravel()]
    else:
        texts = [str(value) for value in values.ravel()]
    return f"static const {ctype} {name}[] = {{{', '.join(texts)}}};\n"


def _words(turns: np.ndarray) -> np.ndarray:
    """Pairs of 16-bit numbers -> words, the first one in the lower half."""
    return (turns[:, 0] & 0xFFFF) | ((turns[:, 1] & 0xFFFF) << 16)


def tables(arithmetic: str, spec: FrontendSpec = SPEC) -> str:
    """tables.h for FLOAT, Q31 or Q15."""
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(spec.window_samples) / spec.window_samples)
    turns = _turns(spec.fft_size // 2, 3 * spec.fft_size // 8)
    split = _turns(spec.fft_size, spec.fft_size // 4 + 1)
    first, weight = _mel_bins(spec)
    text = _array("uint16_t", "first_bin", first)
    if arithmetic == "FLOAT":
        text += _array("float", "window", hann / 32768.0)
        text += _array("float", "turns", turns) + _array("float", "split_turns", split)
        text += _array("float", "mel_weight", weight)
        text += f"#define LOG_FLOOR {spec.log_floor:.9e}f\n#define LOG_MEAN {spec.log_mean:.9e}f\n"
        return text + f"#define LOG_GAIN {1.0 / spec.log_scale:.9e}f\n"
    text += _array("int16_t", "mel_weight", _scaled(weight, 15, 15))
    if arithmetic == "Q31":
        text += _array("int32_t", "window", _scaled(hann, 29, 31))
        text += _array("int32_t", "turns", _scaled(turns, 30, 31))
        text += _array("int32_t", "split_turns", _scaled(split, 31, 31))
    else:
        text += _array("int16_t", "window", _scaled(hann, 15, 15))
        text += _array("uint32_t", "turns", _words(_scaled(turns, 15, 15)))
        text += _array("uint32_t", "split_turns", _words(_scaled(split, 14, 15)))
    return text + _log_tables(spec)


def _log_tables(spec: FrontendSpec) -> str:
    logs = np.log2(1.0 + np.arange(LOG_TABLE + 1) / LOG_TABLE)
    numbers = {
        "LOG_GAIN_Q31": round(np.log(2.0) / spec.log_scale * 2**31),
        "LOG_OFFSET_Q23": round(-spec.log_mean / spec.log_scale * 2**23),
        "FLOOR_Q40": round(spec.log_floor * 2**40),
        "FLOOR_Q60": f"{round(spec.log_floor * 2**60)}ull",
    }
    defines = "".join(f"#define {name} {value}\n" for name, value in numbers.items())
    return _array("int32_t", "log2_table", _scaled(logs, 24, 31)) + defines


# Audio


def demo(seconds: float) -> NDArray[np.float64]:
    """The beginning of the demo scene."""
    return DemoScene(SPEC.sample_rate_hz).first(seconds).astype(float)


def recording(path: Path, seconds: float) -> NDArray[np.float64]:
    """Raises click.ClickException unless it is mono at 16 kHz."""
    samples, rate_hz = soundfile.read(path, dtype="float64")
    if samples.ndim != 1 or rate_hz != SPEC.sample_rate_hz:
        raise click.ClickException(f"{path} is not mono at {SPEC.sample_rate_hz} Hz: convert it")
    return np.asarray(samples[: round(seconds * rate_hz)])


def signals(sounds: NDArray[np.float64]) -> dict[str, Samples]:
    """What the frames are computed of, as 16-bit samples."""
    sounds = sounds / np.abs(sounds).max()
    t_s = np.arange(len(sounds)) / SPEC.sample_rate_hz
    chosen = {
        "loud": PEAK * sounds,
        "quiet": QUIET * sounds,
        "tone": PEAK * np.sin(2.0 * np.pi * 997.0 * t_s),
    }
    return {name: np.round(x * 32767.0).astype(np.int16) for name, x in chosen.items()}


def reference(samples: Samples, spec: FrontendSpec = SPEC) -> Frames:
    """Normalised frames in double precision."""
    n = spec.window_samples
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
    windows = np.lib.stride_tricks.sliding_window_view(samples / 32768.0, n)[:: spec.hop_samples]
    power = np.abs(np.fft.rfft(windows * hann, spec.fft_size)) ** 2
    mels = power @ mel_weights(spec).astype(float)
    return np.asarray((np.log(mels + spec.log_floor) - spec.log_mean) / spec.log_scale)


# Programs


def build(folder: Path, arithmetic: str) -> Path:
    """The program for one arithmetic, next to the generated firmware in `folder`."""
    work = folder.parent / arithmetic
    work.mkdir()
    engine = sorted((folder / "src").glob("*.c"))
    port = [folder / "port" / name for name in ("startup.c", "semihosting.c", "report.c")]
    if arithmetic != "ENGINE":
        (work / "tables.h").write_text(tables(arithmetic))
    linker = [flag.replace("port/link.ld", f"{folder}/port/link.ld") for flag in _flags()]
    compile_program(
        TOOLCHAINS[TARGET],
        [*engine, *port, SOURCE],
        work / "frontend.elf",
        [work, folder / "src", folder / "port"],
        [f"-DEA_ARITHMETIC={arithmetic}", *linker],
    )
    return work / "frontend.elf"


def _flags() -> tuple[str, ...]:
    return TARGETS[TARGET].link_flags


@dataclass(frozen=True)
class Heard:
    """What a program wrote: frames [n, n_mels], instructions for each, bytes it works in."""

    frames: Frames
    instructions: float
    working_bytes: int


def run(program: Path, arithmetic: str, samples: Samples, extra: tuple[str, ...] = ()) -> Heard:
    """Runs it on samples. extra: options of QEMU."""
    audio = program.with_name("audio.pcm")
    audio.write_bytes(samples.astype("<i2").tobytes())
    command = TOOLCHAINS[TARGET].run_command(program, [audio])
    command[1:1] = extra
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    *rows, end = done.stdout.splitlines()
    words = np.array([np.frombuffer(bytes.fromhex(row), ">u4") for row in rows]).astype("<u4")
    is_float = arithmetic in {"ENGINE", "FLOAT"}
    frames = words.view("<f4").astype(float) if is_float else words.view("<i4") / 2.0**23
    facts = json.loads(end)
    instructions = facts["ticks"] * INSTRUCTIONS_PER_TICK / facts["frames"]
    return Heard(frames, instructions, facts["working_bytes"])


# Cycles

NOT_MEASURED = re.compile(r"main|ea_open|take|read_image")  # which would make the trace long
INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(\S+)\s*([^;@<]*)")
TRACED = re.compile(r"^Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
ENDS = ("transform", "ea_transform")  # where a frame begins and ends; a call may be a jump
TAKEN_CYCLES = 2  # to refill the pipeline: 1 to 3, by the manual


@dataclass(frozen=True)
class Instruction:
    """name: without .w, .n and types. operands: as text. n_bytes: 2 or 4."""

    name: str
    operands: str
    n_bytes: int

    @property
    def is_fp_arithmetic(self) -> bool:
        return self.name.startswith("v") and not self.is_fp_transfer

    @property
    def is_fp_transfer(self) -> bool:
        return self.name.startswith(("vldr", "vstr", "vldm", "vstm", "vpush", "vpop", "vmov"))

    @property
    def is_single_load(self) -> bool:
        return bool(re.match(r"(ldr|str)(?!d|ex)", self.name))

    @property
    def registers(self) -> list[str]:
        return re.findall(r"\b[rs]\d+\b", self.operands)

    @property
    def n_listed(self) -> int:
        """Registers in braces, of which a-b are those from a to b."""
        listed = re.search(r"\{(.*)\}", self.operands)
        parts = listed[1].split(",") if listed else []
        ends = [[int(n) for n in re.findall(r"\d+", part)] for part in parts]
        halves = 2 if "d" in (listed[1] if listed else "") else 1
        return sum(halves * (x[1] - x[0] + 1 if len(x) == 2 else 1) for x in ends)


def disassembly(program: Path) -> dict[int, Instruction]:
    """By address."""
    command = ["arm-none-eabi-objdump", "-d", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        if match := INSTRUCTION.match(line):
            name = re.sub(r"\.(w|n|f32|s32|u32|32)\b", "", match[3])
            n_bytes = len(match[2].replace(" ", "")) // 2
            found[int(match[1], 16)] = Instruction(name, match[4], n_bytes)
    return found


def functions(program: Path) -> dict[str, range]:
    """Addresses by name."""
    command = ["arm-none-eabi-nm", "-S", "--defined-only", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[2] in "tT"]
    starts = {row[3]: int(row[0], 16) & ~1 for row in rows}
    return {row[3]: range(starts[row[3]], starts[row[3]] + int(row[1], 16)) for row in rows}


def trace(program: Path, arithmetic: str, samples: Samples) -> list[int]:
    """Addresses of the instructions of one frame."""
    log = program.with_name("trace.log")
    found = functions(program)
    parts = (x for name, x in found.items() if not NOT_MEASURED.match(name))
    ranges = ",".join(f"0x{part.start:x}+0x{len(part):x}" for part in parts)
    options = (*_one_by_one(), "-d", "exec,nochain", "-D", str(log), "-dfilter", ranges)
    run(program, arithmetic, samples[: SPEC.window_samples], options)
    addresses = [int(match[1], 16) for line in log.open() if (match := TRACED.match(line))]
    whole = {x for name in ENDS if name in found for x in found[name]}
    inside = [i for i, address in enumerate(addresses) if address in whole]
    return addresses[inside[0] : inside[-1] + 1]


def _one_by_one() -> tuple[str, ...]:
    """The option by which QEMU logs each instruction, whose name changed with version 8.1."""
    command = [TOOLCHAINS[TARGET].emulator[0], "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return ("-accel", "tcg,one-insn-per-tb=on") if "one-insn-per-tb" in text else ("-singlestep",)


def cycles(addresses: list[int], code: Mapping[int, Instruction], vldr_cycles: int) -> int:
    """vldr_cycles: of a load or store of floats next to another: 2 by the manual's table, 1 if it
    is pipelined as those of integers are."""
    total, before = 0, None
    for address, next_address in zip(addresses, [*addresses[1:], 0], strict=True):
        it, after = code[address], code.get(next_address)
        total += _cycles_of(before, it, after, vldr_cycles)
        if next_address not in {address + it.n_bytes, 0}:
            total += TAKEN_CYCLES
        before = it
    return total


def _cycles_of(
    before: Instruction | None, it: Instruction, after: Instruction | None, vldr_cycles: int
) -> int:
    if it.n_listed:  # push, pop, ldm, stm and those of floats
        return 1 + it.n_listed
    if it.name.startswith(("ldrd", "strd")):
        return 3
    if it.name.startswith(("vldr", "vstr")):
        is_next = before is not None and before.name.startswith(("vldr", "vstr"))
        return vldr_cycles if is_next else 2
    if it.is_single_load:
        is_next = before is not None and before.is_single_load
        return 1 if it.name.startswith("str") or is_next else 2
    return _fp_cycles(it, after) if it.is_fp_arithmetic else 1


def _fp_cycles(it: Instruction, after: Instruction | None) -> int:
    """One more where the next instruction needs the result."""
    own = 14 if it.name.startswith("vdiv") else 3 if it.name.startswith(("vml", "vfm")) else 1
    results = set(it.registers[:1])
    needed = after.registers[0 if after.name.startswith("vstr") else 1 :] if after else []
    return own + (not results.isdisjoint(needed))


# Table


def error(frames: Frames, wanted: Frames) -> str:
    """Largest and RMS."""
    difference = frames - wanted
    return f"{np.abs(difference).max():.1e}, {np.sqrt(np.mean(difference**2)):.1e}"


def row(name: str, program: Path, heard: Mapping[str, Samples]) -> tuple[str, ...]:
    """A line of the table."""
    arithmetic = ARITHMETICS[name]
    results = {key: run(program, arithmetic, samples) for key, samples in heard.items()}
    errors = [error(results[key].frames, reference(samples)) for key, samples in heard.items()]
    addresses = trace(program, arithmetic, heard["loud"])
    code = disassembly(program)
    low, high = (cycles(addresses, code, vldr_cycles) for vldr_cycles in (1, 2))
    estimate = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    instructions = np.mean([result.instructions for result in results.values()])
    working_bytes = results["loud"].working_bytes
    return (name, f"{instructions:,.0f}", estimate, f"{working_bytes:,}", *errors)


@click.command()
@click.option("--audio", type=click.Path(exists=True, path_type=Path), help="instead of the demo")
@click.option("--seconds", default=4.0, show_default=True)
def main(audio: Path | None, seconds: float) -> None:
    """Prints a table."""
    heard = signals(recording(audio, seconds) if audio else demo(seconds))
    columns = ("a frame in", "instructions", "cycles, about", "RAM bytes")
    table = Table(*columns, *(f"error, {name}: largest, RMS" for name in heard), box=None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "firmware"
        build_firmware(load_bundle(MODEL), TARGETS[TARGET], folder, LABELS)
        for name, arithmetic in ARITHMETICS.items():
            table.add_row(*row(name, build(folder, arithmetic), heard))
    Console(soft_wrap=True, width=WIDTH).print(table)


if __name__ == "__main__":
    main()
