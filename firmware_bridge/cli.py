"""`edge-audio firmware`: a model as source code and programs for other devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.cli.console import plain_console, tell
from edge_audio.cli.options import (
    FiniteRange,
    LabelChoice,
    related_option,
    sounds_option,
    threshold_option,
)
from edge_audio.errors import UsageError
from edge_audio.events.policy import ONE_SOUND
from edge_audio.labels.find import find_label
from firmware_bridge.target_table import TARGETS

if TYPE_CHECKING:
    from rich.console import Console

    from edge_audio.bundle.store import Bundle
    from edge_audio.engine.image import StateType
    from edge_audio.events.policy import Related
    from firmware_bridge.folder.codegen import Firmware
    from firmware_bridge.folder.edits import Edits

STATE_HELP = (
    "How the recurrent state is kept in memory. int16 takes half the RAM and changes scores by "
    "less than a thousandth; float is what other runtimes compute. Default: int16 for "
    "microcontrollers, else float. Scores have the same bits on every target with the same state."
)


@click.group()
def firmware() -> None:
    """Build a model for microcontrollers, browsers, phones and C programs.

    \b
    edge-audio firmware targets
    edge-audio firmware build micro-int8 --target cortex-m4 --out micro-m4
    """


@firmware.command()
def targets() -> None:
    """List what firmware can be built for, and which compilers are installed."""
    table = Table("target", "for", "compiler", box=None, pad_edge=False)
    for target in TARGETS.values():
        toolchain = target.compiler()
        if toolchain is None:
            status = "your own"
        else:
            status = toolchain.missing if toolchain.find() is None else "found"
        table.add_row(target.name, target.description, status)
    plain_console().print(table)


@firmware.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--target",
    "target_name",
    type=click.Choice(list(TARGETS)),
    required=True,
    help="What to build for; `edge-audio firmware targets` explains each.",
)
@click.option(
    "--labels",
    "labels_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Text file with the labels to keep, one on a line; lines with # are left out. Default: "
    "all of the model's.",
)
@sounds_option
@click.option(
    "--sensitivity",
    type=click.Choice(SENSITIVITIES),
    help="Which of the model's thresholds it starts with: quiet, normal (the default) or eager.",
)
@threshold_option
@related_option
@click.option("--state", type=click.Choice(["float", "int16"]), help=STATE_HELP)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write: a new or empty one, or an older one of this command, in which files of "
    "your own and what you changed in port/, examples/ and its Makefile are kept.",
)
@click.option(
    "--flash-kib", type=FiniteRange(0, min_open=True), help="Fail if it takes more flash."
)
@click.option("--ram-kib", type=FiniteRange(0, min_open=True), help="Fail if it takes more RAM.")
def build(
    model: str,
    target_name: str,
    labels_path: Path | None,
    sounds: str | None,
    sensitivity: Sensitivity | None,
    thresholds: tuple[str, ...],
    related: Related | None,
    state: StateType | None,
    out_dir: Path,
    flash_kib: float | None,
    ram_kib: float | None,
) -> None:
    """Write MODEL as a folder that builds by itself, and build it.

    The folder has the C engine, the model's weights as an array, and what the target needs around
    them; its README.md says how to use it. Programs are compiled at once where the compiler is
    installed; otherwise the command names what to install. MODEL is a shipped name or the folder of
    a bundle. The exit code is 1 where flash or RAM exceed what was given.

    \b
    edge-audio firmware build tiny-int8 --target cmake --out tiny
    edge-audio firmware build micro-int8 --target cortex-m4 --labels alarms.txt --out micro \\
        --flash-kib 128 --ram-kib 32
    edge-audio firmware build micro-int8 --target arduino --sensitivity quiet \\
        --threshold Dog=0.6 --out library
    """
    from edge_audio.sounds.opening import load_with_sounds
    from firmware_bridge.folder.build import build_firmware, chosen_labels

    bundle = load_with_sounds(model, sounds)
    labels = chosen_labels(labels_path, bundle) if labels_path else ()
    bundle = with_thresholds(bundle, sensitivity, thresholds, labels)
    target, one_of = TARGETS[target_name], related or ONE_SOUND.related
    made = build_firmware(bundle, target, out_dir, labels, state, one_of)
    describe(made)
    if not fits(made, flash_kib, ram_kib, plain_console()):
        raise SystemExit(1)


def with_thresholds(
    bundle: Bundle,
    sensitivity: Sensitivity | None,
    thresholds: Sequence[str],
    kept: Sequence[str],
) -> Bundle:
    """The bundle with the thresholds of a sensitivity, and those that were given. kept: the labels
    that the image has; () = all. Raises UsageError for a label that it has not."""
    manifest = bundle.manifest
    own = LabelChoice((), (), thresholds, sensitivity)
    names = {find_label(label, manifest.labels) for label in own.config.thresholds}
    if kept and (missing := names - set(kept)):
        raise UsageError(f"--threshold {min(missing)}: --labels leaves it out; add it there")
    events = own.events(manifest.events, manifest.labels)
    if sensitivity is not None or thresholds:  # what was chosen is all that there is to choose
        events = msgspec.structs.replace(events, sensitivities={})
    return replace(bundle, manifest=msgspec.structs.replace(manifest, events=events))


def describe(made: Firmware) -> None:
    """Says what was written, and what there is to know about it."""
    tell(f"{made.path}: {len(made.labels)} labels, state as {made.state}")
    for program in made.programs:
        tell(f"  {program.relative_to(made.path)}  {program.stat().st_size:,} bytes")
    if made.missing:
        tell(f"not compiled, sources are there: {made.missing}")
    describe_edits(made.edits)
    if made.silent_labels and len(made.silent_labels) < len(made.labels):
        names = ", ".join(made.silent_labels[:5])
        more = f" and {len(made.silent_labels) - 5} more" if len(made.silent_labels) > 5 else ""
        tell(f"without a calibrated threshold, so off until ea_set_threshold: {names}{more}")


def describe_edits(edits: Edits) -> None:
    """Says what became of the files that a user had changed or added."""
    for words, paths in (
        ("kept as you changed them", edits.kept),
        ("of these, what is new lies beside them as NAME.new", edits.renewed),
        ("replaced; what you had changed lies beside them as NAME.old", edits.set_aside),
        ("your own files, kept", edits.added),
    ):
        if paths:
            tell(f"{words}: {', '.join(paths)}")


def fits(made: Firmware, flash_kib: float | None, ram_kib: float | None, console: Console) -> bool:
    """Prints the sizes; False if they exceed what was given."""
    from firmware_bridge.folder.size import estimate

    memory = made.memory or estimate(made.facts[1], len(made.image))
    table = Table("", "bytes", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    is_whole = made.memory is not None
    within = True
    for name, parts, budget_kib in (
        ("flash", memory.flash, flash_kib),
        ("RAM", memory.ram, ram_kib),
    ):
        n_bytes = sum(parts.values())
        is_over = budget_kib is not None and n_bytes > budget_kib * 1024
        within = within and not is_over
        limit = "" if budget_kib is None else f" of {budget_kib:g} KiB"
        verdict = "" if budget_kib is None else ": exceeded" if is_over else ": fits"
        title = f"{name}{limit}{verdict}" if is_whole else f"{name}, without code{limit}{verdict}"
        table.add_row(title, f"{n_bytes:,}", style="bold")
        for part, part_bytes in parts.items():
            table.add_row(f"  {part}", f"{part_bytes:,}")
    console.print(table)
    return within
