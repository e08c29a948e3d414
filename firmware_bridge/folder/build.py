"""From a bundle to a folder that any C compiler can build, and that is built at once where the
target's compiler is installed.

Templates are the files *.in of targets/; `@NAME@` in them is replaced. The same bundle, options
and compilers give the same bytes.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge_audio.bundle.golden import load_golden
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import StateType, build_image
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.labels.find import find_label, read_labels
from firmware_bridge.builders.android import (
    ABIS,
    JNI_MISSING,
    LIBRARY_NAME,
    find_jni_dirs,
    write_android_folder,
)
from firmware_bridge.builders.wasm import IMAGE_NAME, MODULE_NAME, write_web_folder
from firmware_bridge.folder.codegen import (
    Firmware,
    config_header,
    golden_files,
    image_header,
    image_source,
    makefile,
    template_words,
)
from firmware_bridge.folder.probe import probe_image
from firmware_bridge.folder.size import MemoryReport, measure
from firmware_bridge.target_table import Program, Target
from firmware_bridge.toolchains import (
    ENGINE_DIR,
    TARGETS_DIR,
    Toolchain,
    compile_objects,
    compile_program,
    link,
)

CONFIG_NAME = "edge_audio_config.h"  # by which a folder is known to be one of ours
MODEL_HEADER = "edge_audio_model.h"
CARD_NAME = "CARD.md"
WEB_LANES = 4


def chosen_labels(path: Path, bundle: Bundle) -> list[str]:
    """Those that a text file names, one on a line, as the bundle writes them.

    Raises UsageError if it cannot be read, names nothing, or a label twice, or one that the
    bundle has not.
    """
    names = read_labels(path)
    try:
        labels = [find_label(name, bundle.manifest.labels) for name in names]
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if twice := [label for i, label in enumerate(labels) if label in labels[:i]]:
        raise UsageError(f"{path} names {twice[0]!r} twice: name each label once")
    return labels


def build_firmware(
    bundle: Bundle,
    target: Target,
    out_dir: Path,
    labels: Sequence[str] = (),
    state: StateType | None = None,
) -> Firmware:
    """Writes the folder and builds its programs if the toolchain is installed.

    labels: those to keep, in the order of the scores; () = all. state: None = the target's.
    A folder that this function made is replaced. Raises UsageError for any other folder that is
    not empty, EdgeAudioError if the model cannot be built or does not compile.
    """
    state = state or target.state
    _check_folder(out_dir)
    image = build_image(bundle, labels, state)
    names = tuple(labels or bundle.manifest.labels)
    thresholds = bundle.manifest.events.thresholds
    silent = tuple(name for name in names if name not in thresholds)
    facts = probe_image(image)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}-"))
    try:
        folder = scratch / "new"
        draft = Firmware(folder, target, state, image, facts, names, silent)
        _write_folder(draft, bundle)
        built = _build(draft)
        shutil.rmtree(folder / "build", ignore_errors=True)
        if out_dir.exists():
            out_dir.rename(scratch / "old")
        folder.rename(out_dir)
    finally:
        shutil.rmtree(scratch)
    programs = tuple(out_dir / path.relative_to(folder) for path in built.programs)
    return replace(built, path=out_dir, programs=programs)


def _check_folder(path: Path) -> None:
    if path.is_dir():
        if any(path.iterdir()) and not (path / "src" / CONFIG_NAME).is_file():
            raise UsageError(f"{path} has other files in it: give a new or an empty folder")
    elif path.exists():
        raise UsageError(f"{path} is not a folder: give a new or an empty one")


def _build(firmware: Firmware) -> Firmware:
    """The firmware with its programs and their sizes, or with what is missing to build them."""
    target, toolchain = firmware.target, firmware.target.compiler()
    if toolchain is None:
        return firmware
    if toolchain.find() is None:
        return replace(firmware, missing=toolchain.missing)
    if target.name == "wasm":
        return _build_web(firmware, toolchain)
    if target.name == "android":
        return _build_android(firmware)
    return _build_programs(firmware, toolchain)


def _build_web(firmware: Firmware, toolchain: Toolchain) -> Firmware:
    """The image stays outside of the module, which has just the memory that it needs with it."""
    folder, facts = firmware.path, firmware.facts[WEB_LANES]
    events = 2 * 24 * facts.n_labels  # of a flush
    n_bytes = len(firmware.image) + facts.state_bytes + events + facts.scratch_bytes + 64
    module = folder / MODULE_NAME
    flags = [f"-DEDGE_AUDIO_ARENA_BYTES={-(-n_bytes // 4096) * 4096}u"]
    sources = [*_engine(folder), folder / "port" / "wasm.c"]
    compile_program(toolchain, sources, module, [folder / "src"], flags)
    write_web_folder(folder, module.read_bytes(), firmware.image)
    return replace(firmware, programs=(module, folder / IMAGE_NAME))


def _build_android(firmware: Firmware) -> Firmware:
    if find_jni_dirs() is None:
        return replace(firmware, missing=JNI_MISSING)
    write_android_folder(firmware.path, firmware.image)
    libraries = tuple(firmware.path / "jniLibs" / abi / LIBRARY_NAME for abi in ABIS)
    return replace(firmware, programs=libraries)


def _engine(folder: Path) -> list[Path]:
    """The engine's C files in a generated folder, but for the image."""
    sources = sorted((folder / "src").glob("*.c"))
    return [path for path in sources if path.name != "edge_audio_image.c"]


def _build_programs(firmware: Firmware, toolchain: Toolchain) -> Firmware:
    target = firmware.target
    folder, objects_dir = firmware.path, firmware.path / "build"
    objects_dir.mkdir()
    sources = list(dict.fromkeys(x for program in target.programs for x in program.sources))
    engine = [path.relative_to(folder) for path in sorted((folder / "src").glob("*.c"))]
    paths = [*engine, *map(Path, sources)]
    includes = [Path(name) for name in _include_dirs(folder)]
    objects = compile_objects(
        toolchain, paths, Path("build"), includes, _analysis(toolchain), folder
    )
    of = dict(zip(map(str, paths), objects, strict=True))
    for program in target.programs:
        parts = [of[str(path)] for path in engine] + [of[source] for source in program.sources]
        extra = [*target.link_flags, *_map_flags(toolchain, program)]
        link(toolchain, parts, Path(program.name), extra, folder)
    programs = tuple(folder / program.name for program in target.programs)
    return replace(firmware, programs=programs, memory=_memory(firmware))


def _memory(firmware: Firmware) -> MemoryReport | None:
    toolchain, folder = firmware.target.compiler(), firmware.path
    if toolchain is None or not _has_map(toolchain):
        return None
    engine = [path.stem for path in ENGINE_DIR.glob("src/*.c")]
    first = folder / "build" / f"{Path(firmware.target.programs[0].name).stem}.map"
    return measure(first, engine, firmware.facts[1], len(firmware.image))


def _has_map(toolchain: Toolchain) -> bool:
    return toolchain.suffix == ".elf"


def _analysis(toolchain: Toolchain) -> list[str]:
    """Flags by which GCC writes down who calls whom, and with how much stack."""
    return ["-fcallgraph-info=su"] if _has_map(toolchain) else []


def _map_flags(toolchain: Toolchain, program: Program) -> list[str]:
    name = f"build/{Path(program.name).stem}.map"
    return [f"-Wl,-Map,{name}"] if _has_map(toolchain) else []


def _include_dirs(folder: Path) -> list[str]:
    return [name for name in ("src", "port", "test") if (folder / name).is_dir()]


def _write_folder(firmware: Firmware, bundle: Bundle) -> None:
    folder, target = firmware.path, firmware.target
    words = template_words(firmware, bundle)
    src = folder / "src"
    for path in sorted([*ENGINE_DIR.glob("include/*.h"), *ENGINE_DIR.glob("src/*.[ch]")]):
        _write(src / path.name, _with_config(path))
    _write(src / CONFIG_NAME, config_header(firmware))
    _write(src / "edge_audio_image.h", image_header(firmware, bundle))
    _write(src / "edge_audio_image.c", image_source(firmware.image))
    if target.has_golden:
        golden = load_golden(bundle)
        labels = [bundle.manifest.labels.index(label) for label in firmware.labels]
        for name, text in golden_files(firmware, bundle, golden, labels):
            _write(folder / "test" / name, text)
    for pattern, to in target.files:
        for path in _matching(pattern):
            _write(folder / to / path.name.removesuffix(".in"), _filled(path, words))
    if target.programs:
        engine = [path.stem for path in sorted(src.glob("*.c"))]
        _write(folder / "Makefile", makefile(firmware, engine, _include_dirs(folder)))
    _write(folder / "README.md", _filled(TARGETS_DIR / "common" / "README.md.in", words))
    if CARD_NAME in bundle.manifest.files:
        _write(folder / "MODEL.md", bundle.read(CARD_NAME).decode())
    _write(folder / "LICENSE.md", _filled(TARGETS_DIR / "common" / "LICENSE.md.in", words))


def _matching(pattern: str) -> list[Path]:
    paths = [path for path in sorted(TARGETS_DIR.glob(pattern)) if path.is_file()]
    if not paths:
        raise EdgeAudioError(f"this installation has no targets/{pattern}: reinstall edge-audio")
    return paths


def _filled(path: Path, words: Mapping[str, str]) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".in":
        return text
    return re.sub(r"@([A-Z0-9_]+)@", lambda match: words[match[1]], text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _with_config(path: Path) -> str:
    """A source of the engine; the header that has its limits takes them from CONFIG_NAME."""
    text = path.read_text(encoding="utf-8")
    if path.name != MODEL_HEADER:
        return text
    start = text.index("#include")
    return f'{text[:start]}#include "{CONFIG_NAME}"\n\n{text[start:]}'
