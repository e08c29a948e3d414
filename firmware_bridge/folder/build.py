"""From a bundle to a folder that any C compiler can build, and that is built at once where the
target's compiler is installed. The same bundle, options and compilers give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_audio.backends import open_backend
from edge_audio.backends.registry import NATIVE
from edge_audio.backends.stream import open_stream
from edge_audio.bundle.golden import Golden, load_golden
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import StateType, build_image
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.events.policy import Related
from edge_audio.labels.find import find_label, read_labels
from edge_audio.support.files import errors_for_people, folder_draft, recover_folder
from firmware_bridge.builders.android import build_android
from firmware_bridge.builders.base import BuildJob, Built, Sensitivities, include_dirs
from firmware_bridge.builders.programs import OBJECTS_DIR, build_programs, has_map, map_path
from firmware_bridge.builders.wasm import build_web
from firmware_bridge.folder.codegen import (
    Firmware,
    config_header,
    filled,
    golden_files,
    image_header,
    image_source,
    makefile,
    template_words,
)
from firmware_bridge.folder.edits import (
    check_links,
    hashes,
    keep_edits,
    keep_others,
    write_record,
)
from firmware_bridge.folder.probe import probe_image
from firmware_bridge.folder.size import MemoryReport, measure
from firmware_bridge.target_table import BuilderName, Target
from firmware_bridge.toolchains import ENGINE_DIR, TARGETS_DIR

CONFIG_NAME = "edge_audio_config.h"  # by which a folder is known to be one of ours
MODEL_HEADER = "edge_audio_model.h"
CARD_NAME = "CARD.md"
JOB_LANES = 4  # frames that CPUs transform together for which BuildJob.stream_bytes is said
EVENT_BYTES = 24  # of ea_event

BUILDERS: dict[BuilderName, Callable[[BuildJob], Built]] = {
    "programs": build_programs,
    "web": build_web,
    "android": build_android,
}


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
    related: Related = "most-specific",
) -> Firmware:
    """Writes the folder and builds its programs if the toolchain is installed.

    labels: those to keep, in the order of the scores; () = all. state: None = the target's.
    related: what is reported of labels that may name one sound, as in `PolicySpec`.
    A folder that this function made is replaced, but for what a user changed in it, see
    `firmware_bridge.folder.edits`; an interruption leaves the old folder or the new one. A link
    stays, and the folder that it leads to is written. Raises UsageError for any other folder that
    is not empty, EdgeAudioError if the model cannot be built, does not compile, or cannot be
    written.
    """
    state = state or target.state
    place = out_dir.resolve()
    recover_folder(place)
    _check_folder(place)
    image = build_image(bundle, labels, state, related)
    names = tuple(labels or bundle.manifest.labels)
    thresholds = bundle.manifest.events.thresholds
    silent = tuple(name for name in names if name not in thresholds)
    facts = probe_image(image)
    with errors_for_people(out_dir):
        place.parent.mkdir(parents=True, exist_ok=True)
        with folder_draft(place) as folder:
            draft = Firmware(folder, target, state, image, facts, names, silent)
            built = _fill(draft, bundle, place)
    programs = tuple(out_dir / path.relative_to(folder) for path in built.programs)
    return replace(built, path=out_dir, programs=programs)


def _golden(bundle: Bundle) -> Golden:
    """The bundle's golden recording, with the scores that numpy gives for the labels of rows."""
    golden = load_golden(bundle.without_rows())
    if bundle.rows is None:
        return golden
    backend = open_backend(bundle.without_rows(), NATIVE.name)
    stream = open_stream(backend, backend.spec)
    samples = golden.samples.astype(np.float32) / np.float32(32768.0)
    more = np.array([bundle.rows.scores(row) for row in stream.embed(samples)[1]], np.float32)
    n_steps = min(len(more), len(golden.scores))
    scores = np.concatenate([golden.scores[:n_steps], more[:n_steps]], axis=1)
    return replace(golden, scores=scores)


def _fill(draft: Firmware, bundle: Bundle, old: Path) -> Firmware:
    """Writes and builds all of a folder that is to replace `old`, and keeps what a user changed
    there."""
    folder = draft.path
    _write_folder(draft, bundle)
    written = hashes(folder)
    check_links(old, written)
    edits = keep_edits(old, folder, written)
    built = _build(draft, sensitivities_of(bundle.manifest.events, draft.labels))
    shutil.rmtree(folder / OBJECTS_DIR, ignore_errors=True)
    generated = {**hashes(folder), **{path: written[path] for path in edits.kept}}
    write_record(folder, generated)
    programs = [path.relative_to(folder).as_posix() for path in built.programs]
    return replace(built, edits=keep_others(old, folder, generated, programs, edits))


def _check_folder(path: Path) -> None:
    if path.is_dir():
        if any(path.iterdir()) and not (path / "src" / CONFIG_NAME).is_file():
            raise UsageError(f"{path} has other files in it: give a new or an empty folder")
    elif path.exists():
        raise UsageError(f"{path} is not a folder: give a new or an empty one")


def sensitivities_of(events: EventSpec, labels: Container[str]) -> Sensitivities:
    """Those of these labels; nothing where there is only one sensitivity."""
    if not events.sensitivities:
        return {}
    return {
        name: {
            label: (threshold.on, threshold.off)
            for label, threshold in events.at_sensitivity(name).thresholds.items()
            if label in labels
        }
        for name in SENSITIVITIES
    }


def _build(firmware: Firmware, sensitivities: Sensitivities) -> Firmware:
    """The firmware with its programs and their sizes, or with what is missing to build them."""
    target, toolchain = firmware.target, firmware.target.compiler()
    if toolchain is None:
        return firmware
    if toolchain.find() is None:
        return replace(firmware, missing=toolchain.missing)
    facts = firmware.facts[JOB_LANES]
    events_bytes = 2 * EVENT_BYTES * facts.n_labels  # a start and an end each
    stream_bytes = facts.state_bytes + events_bytes + facts.scratch_bytes
    job = BuildJob(firmware.path, target, toolchain, firmware.image, stream_bytes, sensitivities)
    built = BUILDERS[target.builder](job)
    memory = _memory(firmware) if built.programs and has_map(toolchain) else None
    return replace(firmware, programs=built.programs, missing=built.missing, memory=memory)


def _memory(firmware: Firmware) -> MemoryReport:
    engine = [path.stem for path in ENGINE_DIR.glob("src/*.c")]
    first = map_path(firmware.path, firmware.target.programs[0])
    return measure(first, engine, firmware.facts[1], len(firmware.image))


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
        golden = _golden(bundle)
        labels = [bundle.manifest.labels.index(label) for label in firmware.labels]
        for name, text in golden_files(firmware, bundle, golden, labels):
            _write(folder / "test" / name, text)
    for pattern, to in target.files:
        for path in _matching(pattern):
            _write(folder / to / path.name.removesuffix(".in"), filled(path, words))
    if target.programs:
        engine = [path.stem for path in sorted(src.glob("*.c"))]
        _write(folder / "Makefile", makefile(firmware, engine, include_dirs(folder)))
    _write(folder / "README.md", filled(TARGETS_DIR / "common" / "README.md.in", words))
    if CARD_NAME in bundle.manifest.files:
        _write(folder / "MODEL.md", bundle.read(CARD_NAME).decode())
    _write(folder / "LICENSE.md", filled(TARGETS_DIR / "common" / "LICENSE.md.in", words))


def _matching(pattern: str) -> list[Path]:
    paths = [path for path in sorted(TARGETS_DIR.glob(pattern)) if path.is_file()]
    if not paths:
        raise EdgeAudioError(f"this installation has no targets/{pattern}: reinstall edge-audio")
    return paths


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
