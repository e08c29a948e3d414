"""The libraries of wheels, as zig compiles them for ARM, give the bits under emulation that they
give here; and a CPU that lacks an instruction is not given the library that has it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_audio.backends.compiler import C, find_compiler
from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from edge_audio.engine.variants import (
    VARIANTS,
    Variant,
    compile_arguments,
    engine_sources,
    file_name,
)
from firmware_bridge.toolchains import ENGINE_DIR
from tests.support.paths import REPOSITORY

# Machine -> target of zig, prefix of the cross compiler, name of the emulator, name of its CPU.
TARGETS = {
    "aarch64": ("aarch64-linux-gnu.2.17", "aarch64-linux-gnu", "aarch64", "cortex-a72"),
    "armv7l": ("arm-linux-gnueabihf.2.17", "arm-linux-gnueabihf", "arm", "cortex-a9"),
}
MACHINES = [(name, variant) for name in TARGETS for variant in VARIANTS[name]]
PROGRAM = REPOSITORY / "benchmarks" / "host_step.c"
N_STEPS = "12"
LEVEL = """
#include <stdio.h>
#include "{host}/edge_audio_host.h"
int main(void) {{ return printf("%d\\n", ea_cpu_level()) < 0; }}
"""


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "micro"
    path.write_bytes(build_image(load_bundle("micro-int8")))
    return path


@pytest.fixture(scope="module")
def expected(image: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the scores that plain C has on this machine."""
    require("gcc")
    program = tmp_path_factory.mktemp("here") / "host_step"
    sources = [PROGRAM, *engine_sources(ENGINE_DIR)]
    flags = ("-O1", "-DEA_PLAIN", "-ffp-contract=off", f"-I{ENGINE_DIR / 'include'}")
    run("gcc", *flags, *sources, "-o", program)
    return run(program, image, N_STEPS, "0").split()[0]


@pytest.mark.parametrize(
    ("machine", "variant"), MACHINES, ids=[variant.name for _, variant in MACHINES]
)
def test_libraries_of_arm_wheels_give_the_same_bits(
    machine: str, variant: Variant, image: Path, expected: str, tmp_path: Path
) -> None:
    target, prefix, emulator, cpu = TARGETS[machine]
    require(f"{prefix}-gcc", f"qemu-{emulator}-static")
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs ziglang: pip install 'edge-audio[firmware]'")
    library, program = tmp_path / file_name(variant), tmp_path / "host_step"
    zig = (sys.executable, "-m", "ziglang", "cc", "-target", target, "-fPIC")
    run(*zig, *compile_arguments(ENGINE_DIR, variant, library, is_zig=True))
    run(f"{prefix}-gcc", f"-I{ENGINE_DIR / 'include'}", PROGRAM, library, "-o", program)
    paths = f"LD_LIBRARY_PATH={tmp_path}:/usr/{prefix}/lib"
    qemu = (f"qemu-{emulator}-static", "-cpu", cpu, "-L", f"/usr/{prefix}", "-E", paths)
    assert run(*qemu, program, image, N_STEPS, "1").split()[0] == expected
    attributes = run("readelf", "-A", library)
    assert ("NEON" in attributes) == (machine == "armv7l" and "neon" in variant.name)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="is about x86-64")
@pytest.mark.parametrize(("cpu", "level"), [("core2duo", 0), ("Nehalem", 1), ("Haswell", 2)])
def test_a_cpu_is_given_no_instructions_that_it_lacks(cpu: str, level: int, tmp_path: Path) -> None:
    require("qemu-x86_64-static")
    compiler = find_compiler(C)
    assert compiler
    source, program = tmp_path / "level.c", tmp_path / "level"
    source.write_text(LEVEL.format(host=ENGINE_DIR / "host"))
    flags = ("-O1", "-static", "-w", f"-I{ENGINE_DIR / 'include'}")
    run(*compiler, *flags, source, *engine_sources(ENGINE_DIR), "-o", program)
    assert int(run("qemu-x86_64-static", "-cpu", cpu, program)) <= level
    assert int(run("qemu-x86_64-static", "-cpu", "Nehalem", program)) == 1
