"""The C texts of a folder: the engine image as an array, sizes, labels, a self-test's recording, a
Makefile. Templates are the files *.in of targets/. The same bundle and options give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.golden import Golden
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import StateType
from firmware_bridge.folder.edits import NO_EDITS, Edits
from firmware_bridge.folder.probe import LANES, ImageFacts
from firmware_bridge.folder.size import MemoryReport
from firmware_bridge.target_table import Target
from firmware_bridge.toolchains import TARGETS_DIR, Toolchain

MAX_GOLDEN_S = 1.5
BYTES_PER_LINE = 24
IMAGE_HEADER = TARGETS_DIR / "common" / "edge_audio_image.h.in"


@dataclass(frozen=True)
class Firmware:
    """A generated folder.

    image: the engine image. facts: by number of lanes (see probe.LANES). silent_labels: those
    without a threshold, which are off until ea_set_threshold is called. programs: those that were
    built. memory: of the first program, where it can be told. missing: what to install for them,
    if anything. edits: what a user had changed in the folder that this one replaces.
    """

    path: Path
    target: Target
    state: StateType
    image: bytes
    facts: dict[int, ImageFacts]
    labels: tuple[str, ...]
    silent_labels: tuple[str, ...]
    programs: tuple[Path, ...] = ()
    memory: MemoryReport | None = None
    missing: str = ""
    edits: Edits = NO_EDITS


def template_words(firmware: Firmware, bundle: Bundle) -> dict[str, str]:
    """Word in a template -> the text that replaces it."""
    manifest, facts = bundle.manifest, firmware.facts[1]
    state = "16-bit integers" if firmware.state == "int16" else "32-bit floats"
    return {
        "MODEL": in_a_comment(manifest.name),
        "DESCRIPTION": in_a_comment(manifest.description),
        "TARGET": firmware.target.name,
        "TARGET_DESCRIPTION": firmware.target.description,
        "HOW_TO_BUILD": how_to_build(firmware.target),
        "STATE": state,
        "N_LABELS": str(len(firmware.labels)),
        "IMAGE_BYTES": f"{len(firmware.image):,}",
        "STREAM_BYTES": f"{facts.state_bytes:,}",
        "CRC32": f"{facts.crc32:08x}",
        "SAMPLE_RATE_HZ": str(facts.sample_rate_hz),
        "STEP_MS": f"{1000 * facts.step_samples / facts.sample_rate_hz:g}",
    }


def how_to_build(target: Target) -> str:
    """The target's guides, for README.md."""
    guides = [(TARGETS_DIR / guide).read_text(encoding="utf-8").strip() for guide in target.guides]
    return "\n\n".join(guides)


def config_header(firmware: Firmware) -> str:
    """Limits of a build for this model alone."""
    facts = firmware.facts[1]
    lines = [
        "/* Limits of the engine for this model alone: what it has no use for is left out. */",
        "#ifndef EDGE_AUDIO_CONFIG_H",
        "#define EDGE_AUDIO_CONFIG_H",
        "",
        f"#define EA_MAX_CONVS {max(1, facts.n_convs)}",
        f"#define EA_MAX_BLOCKS {max(1, facts.n_blocks)}",
        f"#define EA_MAX_MAP_CHANNELS {facts.map_channels}",
        f"#define EA_MIXERS {facts.mixers:#x}u",
        f"#define EA_STATES {2 if firmware.state == 'int16' else 1}u",
        f"#define EA_FOLD {int(facts.related_bytes > 0)}",
    ]
    if not firmware.target.takes_flags:
        lines += [
            "",
            "/* The build system has no place for flags. Products and sums have to be rounded each",
            "   by itself for scores to have the same bits as elsewhere. */",
            "#if defined(__clang__)",
            "#pragma STDC FP_CONTRACT OFF",
            "#elif defined(__GNUC__)",
            '#pragma GCC optimize("O2", "fp-contract=off")',
            "#endif",
        ]
    return "\n".join([*lines, "", "#endif", ""])


def image_header(firmware: Firmware, bundle: Bundle) -> str:
    """Sizes, labels and the declaration of the image."""
    facts = firmware.facts
    labels = [f"    {name} = {i}," for i, name in enumerate(_enumerators(firmware.labels))]
    words = {
        "MODEL": in_a_comment(bundle.manifest.name),
        "N_LABELS": str(len(labels)),
        "STATE": firmware.state,
        "IMAGE_BYTES": str(len(firmware.image)),
        "CRC32": f"{facts[1].crc32:08x}",
        "LABELS": "\n".join(labels),
        **{f"STREAM_BYTES_{lanes}": str(facts[lanes].state_bytes) for lanes in LANES},
    }
    return filled(IMAGE_HEADER, words)


def filled(template: Path, words: Mapping[str, str]) -> str:
    """A file of targets/; where its name ends in .in, `@NAME@` in it is replaced by a word."""
    text = template.read_text(encoding="utf-8")
    if template.suffix != ".in":
        return text
    return re.sub(r"@([A-Z0-9_]+)@", lambda match: words[match[1]], text)


def in_a_comment(text: str) -> str:
    """One line that ends no comment: what a bundle says of itself is not compiled."""
    line = " ".join(text.split())
    return line.replace("*/", "* /").replace("/*", "/ *").rstrip("\\ ")


def _enumerators(labels: Sequence[str]) -> list[str]:
    """EA_LABEL_DOG for "Dog"; numbered where two labels would be the same."""
    names: list[str] = []
    for label in labels:
        word = re.sub(r"[^A-Z0-9]+", "_", label.upper()).strip("_") or "UNNAMED"
        name, number = f"EA_LABEL_{word}", 2
        while name in names:
            name, number = f"EA_LABEL_{word}_{number}", number + 1
        names.append(name)
    return names


ALIGNED = """\
#if defined(__GNUC__)
#define EA_ALIGNED __attribute__((aligned(8)))
#elif defined(_MSC_VER)
#define EA_ALIGNED __declspec(align(8))
#else
#define EA_ALIGNED _Alignas(8)
#endif
"""


def image_source(image: bytes) -> str:
    """C source of the image as an array."""
    rows = [image[i : i + BYTES_PER_LINE] for i in range(0, len(image), BYTES_PER_LINE)]
    body = "\n".join(f"{','.join(map(str, row))}," for row in rows)
    start = "EA_ALIGNED const uint8_t ea_image[EA_IMAGE_BYTES] = {"
    return f'#include "edge_audio_image.h"\n\n{ALIGNED}\n{start}\n{body}\n}};\n'


def golden_files(
    firmware: Firmware, bundle: Bundle, golden: Golden, labels: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """(name, content): the beginning of the golden recording, with the scores of those labels."""
    model = bundle.manifest.model
    rate_hz = model.frontend.sample_rate_hz
    n_samples = min(len(golden.samples), round(MAX_GOLDEN_S * rate_hz))
    n_steps = (n_samples - model.overlap_samples) // model.step_samples
    samples = golden.samples[: model.overlap_samples + n_steps * model.step_samples]
    scores = golden.scores[:n_steps, list(labels)]
    header = [
        "/* A recording and what the model's maker computed for it. */",
        "#ifndef EDGE_AUDIO_GOLDEN_H",
        "#define EDGE_AUDIO_GOLDEN_H",
        "",
        '#include "edge_audio_image.h"',
        "",
        f"#define EA_GOLDEN_SAMPLES {len(samples)}u",
        f"#define EA_GOLDEN_STEPS {n_steps}u",
        f"#define EA_GOLDEN_TOLERANCE {bundle.manifest.tolerance.scores:.9g}f",
        "",
        "extern const int16_t ea_golden_samples[EA_GOLDEN_SAMPLES];",
        "extern const float ea_golden_scores[EA_GOLDEN_STEPS * EA_LABELS];",
        "",
        "#endif",
        "",
    ]
    yield "edge_audio_golden.h", "\n".join(header)
    yield (
        "edge_audio_golden.c",
        '#include "edge_audio_golden.h"\n\n'
        + _array("const int16_t ea_golden_samples[EA_GOLDEN_SAMPLES]", map(str, samples.tolist()))
        + "\n"
        + _array("const float ea_golden_scores[EA_GOLDEN_STEPS * EA_LABELS]", _floats(scores)),
    )


def _floats(values: NDArray[np.float32]) -> Iterator[str]:
    return (f"{value.hex()}f" for value in values.ravel().astype(float).tolist())


def _array(declaration: str, items: Iterator[str]) -> str:
    values = list(items)
    rows = [",".join(values[i : i + 12]) for i in range(0, len(values), 12)]
    return f"{declaration} = {{\n" + ",\n".join(rows) + "\n};\n"


def makefile(firmware: Firmware, engine: Sequence[str], include_dirs: Sequence[str]) -> str:
    """Builds the programs of the folder again, with the flags that they were built with here.

    engine: names of its sources without .c. include_dirs: folders with headers and sources.
    """
    target, toolchain = firmware.target, firmware.target.compiler()
    assert toolchain is not None
    compiler = " ".join(toolchain.compilers[0])
    lines = [
        f"CC = {compiler}",
        f"CFLAGS = {' '.join(toolchain.flags)}",
        f"LDFLAGS = {' '.join(target.link_flags)}",
        f"LDLIBS = {' '.join(toolchain.link_flags)}",
        f"INCLUDES = {' '.join(f'-I{name}' for name in include_dirs)}",
        f"ENGINE = {' '.join(f'build/{name}.o' for name in engine)}",
        f"VPATH = {':'.join(include_dirs)}",
        "",
        f"all: {' '.join(program.name for program in target.programs)}",
        "",
    ]
    for program in target.programs:
        objects = " ".join(f"build/{Path(source).stem}.o" for source in program.sources)
        lines += [
            f"{program.name}: $(ENGINE) {objects}",
            "\t$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)",
            "",
        ]
    lines += ["build/%.o: %.c | build", "\t$(CC) $(CFLAGS) $(INCLUDES) -c $< -o $@", ""]
    lines += ["build:", "\tmkdir -p build", "", *_run_rules(target, toolchain)]
    lines += ["clean:", f"\trm -rf build {' '.join(p.name for p in target.programs)}", ""]
    return "\n".join([*lines, ".PHONY: all run test clean", ""])


def _run_rules(target: Target, toolchain: Toolchain) -> list[str]:
    if not any(program.name.startswith("self_test") for program in target.programs):
        return []
    listen, self_test, *_ = (Path(program.name) for program in target.programs)
    rules: list[str] = []
    for rule, program, arguments in (("run", listen, ["$(FILE)"]), ("test", self_test, [])):
        command = toolchain.run_command(program, arguments)
        if not toolchain.emulator:
            command[0] = f"./{command[0]}"
        rules += [f"{rule}: {program}", f"\t{' '.join(command)}", ""]
    return rules
