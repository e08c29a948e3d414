"""`edge-audio sounds`: what was taught, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table

from edge_audio.bundle.store import load_bundle
from edge_audio.cli.console import plain_console, remark, tell
from edge_audio.cli.options import backend_option, model_option
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.labels.find import refuse_label
from edge_audio.sounds.file import Sound, Sounds, changing, read_sounds, write_sounds
from edge_audio.support.text import clock, printable

file_option = click.option(
    "--sounds",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="house.sounds",
    show_default=True,
    metavar="FILE",
    help="The file that keeps what was learned.",
)


@click.group()
def sounds() -> None:
    """List the sounds that `learn` taught, rename or remove them, try them on a recording.

    \b
    edge-audio sounds list
    edge-audio sounds rename "Washing machine" Washer
    edge-audio sounds remove Washer
    edge-audio sounds export Bella --out bella.sounds
    edge-audio sounds import bella.sounds
    edge-audio sounds test evening.wav
    """


@sounds.command("list")
@file_option
def list_sounds(path: Path) -> None:
    """List all sounds of the file."""
    found = read_sounds(path)
    if not found.sounds:
        tell(f"{path} has no sounds yet: `edge-audio learn` teaches some")
        return
    table = Table("sound", "a kind of", "takes", "found", "own audio, h", box=None, pad_edge=False)
    for sound in found.sounds:
        table.add_row(*row(sound))
    plain_console().print(table)


def row(sound: Sound) -> tuple[str, ...]:
    """Cells of the table. found: takes that are found where they did not teach."""
    evidence = sound.evidence
    tried = f"{evidence.n_found} of {evidence.n_tried}" if evidence.n_tried else "unknown"
    hours = f"{evidence.negative_h:.1f}"
    names = printable(sound.name), printable(sound.parent)
    return *names, str(len(sound.takes)), tried, hours


@sounds.command()
@click.argument("name")
@click.argument("new_name", metavar="NEW_NAME")
@file_option
@model_option
def rename(name: str, new_name: str, path: Path, model: str) -> None:
    """Call a sound NEW_NAME from now on, which is no label of the model."""
    refuse_label(new_name, load_bundle(model).manifest.labels)
    with changing(path):
        write_sounds(path, read_sounds(path).renamed(name, new_name))
    tell(f"{path}: {name} is {new_name.strip()} now")


@sounds.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@file_option
def remove(names: tuple[str, ...], path: Path) -> None:
    """Forget sounds; all others stay as they are."""
    with changing(path):
        found = read_sounds(path)
        for name in names:
            found = found.without(name)
        write_sounds(path, found)
    tell(f"{path}: {len(found.sounds)} sounds are left")


@sounds.command("export")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@file_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file to write.",
)
def export_sounds(names: tuple[str, ...], path: Path, out: Path) -> None:
    """Write sounds to a file of their own."""
    found = read_sounds(path)
    if out.exists() and out.samefile(path):
        raise UsageError(
            f"{out} is the file itself, which would lose its other sounds: name another"
        )
    chosen = tuple({sound.name: sound for sound in map(found.find, names)}.values())
    write_sounds(out, msgspec.structs.replace(found, sounds=chosen))
    tell(f"{out}: {len(chosen)} sounds")


@sounds.command("import")
@click.argument("other", metavar="OTHER", type=click.Path(path_type=Path, dir_okay=False))
@file_option
def import_sounds(other: Path, path: Path) -> None:
    """Add all sounds of the file OTHER."""
    new = read_sounds(other)
    with changing(path):
        merged = merge(read_sounds(path), new, path, other) if path.exists() else new
        write_sounds(path, merged)
    tell(f"{path}: {len(merged.sounds)} sounds")


def merge(found: Sounds, new: Sounds, path: Path, other: Path) -> Sounds:
    """Raises UsageError for sounds of another network, and for names that are taken."""
    from edge_audio.backends.fingerprint import is_same_network

    if not is_same_network(new.network, found.network):
        raise UsageError(f"{other} was learned with another model than {path}: learn it again")
    for sound in new.sounds:
        if found.has(sound.name):
            raise UsageError(f"{path} has a sound {sound.name!r} already: rename one of them")
        found = found.with_sound(sound)
    return found


@sounds.command()
@click.argument(
    "recordings", metavar="RECORDING...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@file_option
@model_option
@backend_option
@quiet_libraries()
def test(recordings: tuple[Path, ...], path: Path, model: str, backend: str) -> None:
    """Try all sounds of the file on recordings: what is found when, and the highest score of each.

    Nothing is changed. The threshold is 0.5 for every sound.
    """
    from edge_audio.tagging.tag import tags_of_file
    from edge_audio.tagging.tagger import Tagger

    names = [sound.name for sound in read_sounds(path).sounds]
    if not names:
        raise UsageError(f"{path} has no sounds yet: `edge-audio learn` teaches some")
    tagger = Tagger.open(model, backend, sounds=path, only=names)
    for recording in recordings:
        tagger.reset()
        tags = tags_of_file(str(recording), tagger)
        tell(f"{recording}:")
        segments = tags.segments
        for name in names:
            spans = [one for one in segments if one.label == name]
            times = ", ".join(f"{clock(one.start_s)}-{clock(one.end_s)}" for one in spans[:10])
            highest = tags.by_label[name].max(initial=0.0)
            tell(f"  {name}  highest {highest:.2f}  {times or 'not found'}")
        if tags.error:
            remark(tags.error)
        if not segments:
            remark("nothing was found: --sensitivity eager of `listen` finds more")
