"""Programs that are linked from the C files of a folder."""

from __future__ import annotations

from pathlib import Path

from firmware_bridge.builders.base import BuildJob, Built
from firmware_bridge.target_table import Program
from firmware_bridge.toolchains import Toolchain, compile_objects, link

OBJECTS_DIR = "build"


def build_programs(job: BuildJob) -> Built:
    """Compiles each source once and links every program of the target; objects, maps and call
    graphs stay in build/. Raises EdgeAudioError with what the compiler said."""
    folder, programs, toolchain = job.folder, job.target.programs, job.toolchain
    (folder / OBJECTS_DIR).mkdir()
    engine = [str(path.relative_to(folder)) for path in sorted((folder / "src").glob("*.c"))]
    sources = [*engine, *dict.fromkeys(name for program in programs for name in program.sources)]
    objects = compile_objects(
        toolchain,
        [Path(source) for source in sources],
        Path(OBJECTS_DIR),
        [Path(name) for name in job.include_dirs],
        _analysis_flags(toolchain),
        folder,
    )
    object_of = dict(zip(sources, objects, strict=True))
    for program in programs:
        parts = [object_of[source] for source in (*engine, *program.sources)]
        flags = [*job.target.link_flags, *_map_flags(toolchain, program)]
        link(toolchain, parts, Path(program.name), flags, folder)
    return Built(tuple(folder / program.name for program in programs))


def map_path(folder: Path, program: Program) -> Path:
    """Where the linker's map of a program is, if the toolchain writes one."""
    return folder / OBJECTS_DIR / f"{Path(program.name).stem}.map"


def has_map(toolchain: Toolchain) -> bool:
    """Whether its linker writes a map, from which flash and RAM are counted."""
    return toolchain.suffix == ".elf"


def _analysis_flags(toolchain: Toolchain) -> list[str]:
    """By which GCC writes down who calls whom, and with how much stack."""
    return ["-fcallgraph-info=su"] if has_map(toolchain) else []


def _map_flags(toolchain: Toolchain, program: Program) -> list[str]:
    return [f"-Wl,-Map,{map_path(Path(), program).as_posix()}"] if has_map(toolchain) else []
