"""The compilers that firmware is built with: how each is found, with which flags, and what runs
its programs here.

All of them are told not to contract floating-point operations: x * y + z has to round twice on
every CPU for scores to have the same bits.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge_audio.errors import EdgeAudioError

ENGINE_DIR = Path(__file__).parent / "engine"
TARGETS_DIR = Path(__file__).parent / "targets"
INCLUDE_DIR = ENGINE_DIR / "include"

ZIG = "ziglang"  # a Python package: stands for `python -m ziglang cc` in Toolchain.compilers
COMMON_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")
SECTION_FLAGS = ("-ffunction-sections", "-fdata-sections")
SOURCE_DATE_EPOCH = "0"  # nothing that is built may depend on when


@dataclass(frozen=True)
class Toolchain:
    """A C compiler for one target.

    name: of the target. description: what CPU that is.
    compilers: commands, of which the first that is installed is used.
    flags: of every call. link_flags: of those that link too; they follow the sources.
    missing: what to install where no compiler is found.
    emulator: command that runs a program of the target here, empty where it runs by itself.
    emulator_missing: what to install where the emulator is not found.
    suffix: of a program's file name.
    """

    name: str
    description: str
    compilers: tuple[tuple[str, ...], ...]
    flags: tuple[str, ...]
    missing: str
    link_flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    emulator_missing: str = ""
    suffix: str = ""

    def find(self) -> list[str] | None:
        """The command that compiles, such as ["arm-none-eabi-gcc"]; None if none is installed."""
        for command in self.compilers:
            if command[0] == ZIG:
                if importlib.util.find_spec(ZIG) is not None:
                    return [sys.executable, "-m", ZIG, *command[1:]]
            elif shutil.which(command[0]) is not None:
                return list(command)
        return None

    def require(self) -> list[str]:
        """Like `find`, but raises EdgeAudioError that says what to install."""
        command = self.find()
        if command is None:
            raise EdgeAudioError(f"target {self.name} {self.missing}")
        return command

    def run_command(self, program: Path, arguments: Iterable[object] = ()) -> list[str]:
        """The command that runs a program of this target on this machine."""
        texts = [str(argument) for argument in arguments]
        if self.emulator[:1] == ("qemu-system-arm",):
            given = "".join(f",arg={text.replace(',', ',,')}" for text in ("firmware", *texts))
            semihosting = f"enable=on,target=native,chardev=console{given}"
            return [*self.emulator, "-semihosting-config", semihosting, "-kernel", str(program)]
        return [*self.emulator, str(program), *texts]


def _cortex_m(name: str, core: str, board: str, systick_hz: int, flags: str) -> Toolchain:
    machine = "-nographic -monitor none -serial none -icount shift=0 -chardev stdio,id=console"
    return Toolchain(
        name=name,
        description=core,
        compilers=(("arm-none-eabi-gcc",),),
        flags=(
            *COMMON_FLAGS,
            *flags.split(),
            "-mfloat-abi=hard",
            "-mthumb",
            "-ffreestanding",
            *SECTION_FLAGS,
            f"-DEA_SYSTICK_HZ={systick_hz}u",
        ),
        missing="needs arm-none-eabi-gcc: apt-get install gcc-arm-none-eabi "
        "libnewlib-arm-none-eabi",
        link_flags=("-nostdlib", "-Wl,--gc-sections", "-Wl,--build-id=none", "-lgcc"),
        emulator=("qemu-system-arm", "-M", board, *machine.split()),
        emulator_missing="needs qemu-system-arm: apt-get install qemu-system-arm",
        suffix=".elf",
    )


def _linux(name: str, description: str, prefix: str, emulator: str, flags: str) -> Toolchain:
    libc = {"aarch64-linux-gnu": "arm64", "arm-linux-gnueabihf": "armhf"}[prefix]
    return Toolchain(
        name=name,
        description=description,
        compilers=((f"{prefix}-gcc",),),
        flags=(*COMMON_FLAGS, *flags.split(), *SECTION_FLAGS),
        missing=f"needs {prefix}-gcc: apt-get install gcc-{prefix} libc6-dev-{libc}-cross",
        link_flags=("-static", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none"),
        emulator=tuple(emulator.split()),
        emulator_missing=f"needs {emulator.split(maxsplit=1)[0]}: apt-get install qemu-user-static",
    )


_ZIG_MISSING = "needs the Python package ziglang: pip install 'edge-audio[firmware]'"

# On the M55 floats stay scalar (+nomve.fp): Helium flushes subnormal numbers to zero, which no
# other target does. Integers are as quick as ever. A Pi 4 has no int8 dot products, so its
# emulated CPU has none either: what uses them stops there.
_TOOLCHAINS = (
    _cortex_m(
        "cortex-m4",
        "Arm Cortex-M4F, 32-bit with DSP instructions",
        "mps2-an386",
        25_000_000,
        "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16",
    ),
    _cortex_m(
        "cortex-m7",
        "Arm Cortex-M7, 32-bit with DSP instructions",
        "mps2-an500",
        25_000_000,
        "-mcpu=cortex-m7 -mfpu=fpv5-d16",
    ),
    _cortex_m(
        "cortex-m55",
        "Arm Cortex-M55, 32-bit with Helium",
        "mps3-an547",
        32_000_000,
        "-mcpu=cortex-m55+nomve.fp",
    ),
    _linux(
        "linux-aarch64",
        "64-bit Arm Linux, such as a Raspberry Pi 4",
        "aarch64-linux-gnu",
        "qemu-aarch64-static -cpu cortex-a72",
        "-march=armv8-a",
    ),
    _linux(
        "linux-armv7",
        "32-bit Arm Linux with NEON, such as a Raspberry Pi 2",
        "arm-linux-gnueabihf",
        "qemu-arm-static -cpu cortex-a7",
        "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard",
    ),
    Toolchain(
        name="wasm",
        description="WebAssembly with SIMD, for browsers and Node.js",
        compilers=((ZIG, "cc"),),
        flags=(
            *COMMON_FLAGS,
            "-O3",
            "-target",
            "wasm32-freestanding",
            "-msimd128",
            "-mbulk-memory",
        ),
        missing=_ZIG_MISSING,
        link_flags=("-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=65536"),
        suffix=".wasm",
    ),
    Toolchain(
        name="android",
        description="64-bit Arm Android 10 and later: a JNI library",
        compilers=((ZIG, "cc"),),
        flags=(*COMMON_FLAGS, "-target", "aarch64-linux-android.29", "-fPIC"),
        missing=_ZIG_MISSING,
        link_flags=("-shared", "-nostdlib", "-s", "-Wl,-z,max-page-size=16384"),
        suffix=".so",
    ),
    Toolchain(
        name="host",
        description="this machine",
        compilers=(("cc",), ("gcc",), ("clang",), (ZIG, "cc")),
        flags=COMMON_FLAGS,
        missing="needs a C compiler: apt-get install gcc, or pip install 'edge-audio[firmware]'",
    ),
)
TOOLCHAINS: dict[str, Toolchain] = {toolchain.name: toolchain for toolchain in _TOOLCHAINS}


def engine_sources() -> list[Path]:
    """The C files of the engine, sorted."""
    return sorted((ENGINE_DIR / "src").glob("*.c"))


def compile_program(
    toolchain: Toolchain,
    sources: Sequence[Path],
    output: Path,
    include_dirs: Sequence[Path],
    extra_flags: Sequence[str] = (),
) -> None:
    """Compiles and links C files into a program or library.

    extra_flags: of all calls; those that begin with -Wl, and -l only of the last one. Raises
    EdgeAudioError with the compiler's first error, or if it is not installed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for_linker = [flag for flag in extra_flags if flag.startswith(("-Wl,", "-l"))]
    flags = [flag for flag in extra_flags if flag not in for_linker]
    with tempfile.TemporaryDirectory(prefix="edge-audio-") as scratch:
        objects = compile_objects(toolchain, sources, Path(scratch), include_dirs, flags)
        link(toolchain, objects, output, [*flags, *for_linker])


def compile_objects(
    toolchain: Toolchain,
    sources: Sequence[Path],
    objects_dir: Path,
    include_dirs: Sequence[Path],
    extra_flags: Sequence[str] = (),
    cwd: Path | None = None,
) -> list[Path]:
    """One object for each source, of the same name, in objects_dir, which must exist.

    cwd: what all paths are relative to. Raises like `compile_program`.
    """
    compiler = toolchain.require()
    objects = [objects_dir / f"{source.stem}.o" for source in sources]
    if len(set(objects)) != len(objects):
        raise ValueError("two sources have the same name")
    flags = [*toolchain.flags, *extra_flags, *(f"-I{path}" for path in include_dirs)]
    calls = [
        [*compiler, *flags, "-c", str(source), "-o", str(target)]
        for source, target in zip(sources, objects, strict=True)
    ]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda call: _run_compiler(call, cwd), calls))
    return objects


def link(
    toolchain: Toolchain,
    objects: Sequence[Path],
    output: Path,
    extra_flags: Sequence[str] = (),
    cwd: Path | None = None,
) -> None:
    """Objects -> program or library. Raises like `compile_program`."""
    parts = [*map(str, objects), *extra_flags, *toolchain.link_flags]
    command = [*toolchain.require(), *toolchain.flags, "-o", str(output), *parts]
    _run_compiler(command, cwd)


def _run_compiler(command: Sequence[str], cwd: Path | None) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, "LC_ALL": "C"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise EdgeAudioError(f"{Path(command[0]).name} failed: {_first_error(done.stderr)}")


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marks = ("error:", "undefined reference", "overflowed", "cannot find")
    errors = [line for line in lines if any(mark in line for mark in marks)]
    return (errors or lines or ["it said nothing"])[0]
