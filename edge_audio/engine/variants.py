"""The engine as libraries that come with the package: one for each kind of CPU of an architecture.

`setup.py` compiles them by this table, before anything is installed: nothing but Python's own
library is imported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-shared", "-fvisibility=default", "-DEA_HOST")
"""Of every call of the compiler: without contraction, scores have the same bits everywhere."""

LIBRARY_DIR = Path(__file__).parent / "lib"


@dataclass(frozen=True)
class Variant:
    """name: of its library. flags: which instructions the compiler may use; zig_flags: where zig
    calls them by other names."""

    name: str
    flags: tuple[str, ...] = ()
    zig_flags: tuple[str, ...] = ()


# Machine, as the tags of wheels call it -> variants, by what `ea_cpu_level` returns.
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "x86_64": (
        Variant("x86_64"),
        Variant("x86_64-sse4", ("-msse4.1",)),
        Variant("x86_64-avx2", ("-mavx2",)),
        Variant("x86_64-vnni", ("-mavx2", "-mavx512bw", "-mavx512vl", "-mavx512vnni")),
    ),
    "aarch64": (Variant("aarch64"),),
    "armv7l": (
        Variant(
            "armv7l",
            ("-march=armv7-a", "-mfpu=vfpv3-d16"),
            ("-mcpu=generic+v7a+vfp3d16-neon-d32",),
        ),
        Variant("armv7l-neon", ("-march=armv7-a", "-mfpu=neon"), ("-mcpu=generic+v7a+neon",)),
    ),
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def machine_of(platform: str) -> str:
    """Of a platform as wheels or Python name it: "win-amd64" -> "x86_64"."""
    words = platform.replace("-", "_").lower()
    for name in (*_ALIASES, *VARIANTS):
        if words.endswith(name):
            return _ALIASES.get(name, name)
    return words.rpartition("_")[2]


def variants_of(machine: str) -> tuple[Variant, ...]:
    """Those of a machine; one that is not in the table has one for all its CPUs."""
    return VARIANTS.get(machine, (Variant(machine),))


def file_name(variant: Variant) -> str:
    """Of its library. All systems load it by this name."""
    return f"engine-{variant.name}.so"


def engine_sources(folder: Path) -> list[Path]:
    """What is compiled of firmware_bridge/engine."""
    return sorted([*folder.glob("src/*.c"), *folder.glob("host/*.c")])


def fingerprint_of(folder: Path) -> str:
    """A hash of all files of firmware_bridge/engine that a library is made of."""
    files = [*engine_sources(folder), *sorted(folder.glob("*/*.h"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def compile_arguments(
    folder: Path, variant: Variant, library: Path, is_zig: bool = False
) -> list[str]:
    """What follows the command of the compiler."""
    cpu = (variant.zig_flags if is_zig else ()) or variant.flags
    include, fingerprint = f"-I{folder / 'include'}", f'-DEA_FINGERPRINT="{fingerprint_of(folder)}"'
    sources: Sequence[str] = [str(source) for source in engine_sources(folder)]
    return [*FLAGS, "-s", *cpu, include, fingerprint, *sources, "-o", str(library)]
