"""How tests of firmware run its programs, and what they hear."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.events.choice import select_events
from firmware_bridge.folder.codegen import Firmware
from firmware_bridge.toolchains import TOOLCHAINS, Toolchain, compile_program

HANG_S = 240  # reached only by what never ends
LABELS = (  # in none of the models' own order
    "Dog",
    "Chicken, rooster",
    "Baby cry, infant cry",
    "Chainsaw",
    "Cat",
    "Cattle, bovinae",
    "Crow",
    "Cricket",
    "Speech",
    "Snoring",
)

Make = Callable[..., Firmware]


def open_sensitive(model: str) -> Bundle:
    """A shipped model that reports LABELS so readily that a minute has events to compare."""
    bundle = load_bundle(model)
    manifest = bundle.manifest
    readily = select_events(manifest.events, manifest.labels, threshold=dict.fromkeys(LABELS, 0.1))
    return Bundle(bundle.path, msgspec.structs.replace(manifest, events=readily))


@dataclass(frozen=True)
class Heard:
    """What a program printed. hash: of all scores. events: its lines, as printed."""

    hash: str
    n_steps: int
    events: tuple[str, ...]
    facts: dict[str, Any]


def require_compiler(target: str) -> None:
    toolchain = TOOLCHAINS.get(target)
    for needed in (toolchain, TOOLCHAINS["host"]):
        if needed is not None and needed.find() is None:
            pytest.skip(needed.missing)


def can_run(toolchain: Toolchain) -> bool:
    """Whether its `run_command` will work here."""
    return not toolchain.emulator or shutil.which(toolchain.emulator[0]) is not None


def require_emulator(target: str) -> None:
    if not can_run(TOOLCHAINS[target]):
        pytest.skip(TOOLCHAINS[target].emulator_missing)


def require_command(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def has_avx2() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "avx2" in cpuinfo.read_text().split()


def host_program(folder: Path, name: str, compiler: str, flags: Sequence[str]) -> Path:
    """The listening program of a generated folder for this machine, by one compiler."""
    require_command(compiler, compiler)
    if "-mavx2" in flags and not (platform.machine() == "x86_64" and has_avx2()):
        pytest.skip("needs a CPU with AVX2")
    sources = [
        *sorted((folder / "src").glob("*.c")),
        *(folder / "port" / f"{part}.c" for part in ("listen", "report", "port", "main")),
    ]
    output = folder.parent / name
    toolchain = replace(TOOLCHAINS["host"], compilers=((compiler,),))
    compile_program(toolchain, sources, output, [folder / "src", folder / "port"], flags)
    return output


def run_program(command: Sequence[object]) -> str:
    """stdout of a program that ends well."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    return done.stdout


def heard(text: str) -> Heard:
    """What a listening program printed, taken apart."""
    lines = text.splitlines()
    records = [json.loads(line) for line in lines]
    facts = {
        key: value for record in records if "kind" not in record for key, value in record.items()
    }
    events = tuple(line for line, record in zip(lines, records, strict=True) if "kind" in record)
    return Heard(facts["hash"], facts["steps"], events, facts)
