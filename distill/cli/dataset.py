"""`edge-audio dataset`: clip lists of public datasets, their checks, and shards of them.

Imports of the training side are put off until a command runs.
"""

from __future__ import annotations

from pathlib import Path

import click

from distill.cli.draw_shares import draw_shares
from distill.cli.synthesise import synthesise
from distill.progress import tracked
from edge_audio.cli.console import tell
from edge_audio.support.text import printable_lines

CLASSES_NAME = "class_labels_indices.csv"
"""AudioSet's own name for its class map."""

folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
data_argument = click.argument("data", type=click.Path(path_type=Path))
classes_option = click.option(
    "--classes",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Class map (index, mid, display_name): {CLASSES_NAME} in FOLDER, else "
    "audioset_labels.csv in $EDGE_AUDIO_PEERS.",
)


@click.group()
def dataset() -> None:
    """Turn public datasets into clip lists, check them, and shard them.

    Every other command works on a folder with a manifest.csv, or on a clip list of another name in
    its folder, once $EDGE_AUDIO_DATA names it.

    \b
    edge-audio dataset esc50 ESC-50-master            writes ESC-50-master/manifest.csv
    edge-audio dataset check ESC-50-master --decode   looks for what would spoil a training run
    edge-audio dataset shard audioset/ shards/        WebDataset tars, for millions of clips
    edge-audio dataset draw-shares RECIPE             what a training run will hear how often
    edge-audio dataset synthesise data/ --recipe R    sounds that few recordings have
    """


dataset.add_command(draw_shares)
dataset.add_command(synthesise)


def _layout_command(layout: str, text: str) -> None:
    @dataset.command(layout, help=text)
    @folder_argument
    @click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The clip list, named manifest.csv, in FOLDER or above it.  [default: in FOLDER]",
    )
    @classes_option
    def command(folder: Path, out: Path | None, classes: Path | None) -> None:
        _write(layout, folder, out, classes)


for _layout, _text in {
    "audioset": """Segment lists and downloads of AudioSet.

    FOLDER holds balanced_train_segments.csv, unbalanced_train_segments.csv or eval_segments.csv,
    and below it files named YTID.ext, YTID_start.ext or YTID_start_end.ext. Segments that were
    not downloaded are counted and left out.""",
    "esc50": "ESC-50: FOLDER holds meta/esc50.csv and audio/.",
    "fsd50k": "FSD50K: FOLDER holds FSD50K.ground_truth/ and the other FSD50K.* folders.",
    "urbansound8k": "UrbanSound8K: FOLDER holds metadata/UrbanSound8K.csv and audio/fold1 to 10.",
    "webdataset": """Tars of audio with a JSON beside each file.

    FOLDER holds *.tar with KEY.flac (or another audio format) and KEY.json, which has at least
    "labels", and may have fold, group, tier and licence.""",
}.items():
    _layout_command(_layout, _text)


def _write(layout: str, folder: Path, out: Path | None, classes: Path | None) -> None:
    from distill.data.clip_list import CLIP_LIST_NAME, write_clip_list
    from distill.data.datasets import LAYOUTS, display_names, survey
    from edge_audio.errors import UsageError

    out = folder / CLIP_LIST_NAME if out is None else out
    if out.name != CLIP_LIST_NAME:
        raise UsageError(f"name it {CLIP_LIST_NAME}, not {out.name}: every command looks for that")
    names = display_names(_class_map(folder, classes))
    listed = LAYOUTS[layout](folder.resolve(), names)
    found = survey(tracked(listed, "opening clips"), out.parent.resolve())
    write_clip_list(out.parent, found.rows)
    click.echo(printable_lines(found.summary(names.values())))
    tell(str(out))


@dataset.command()
@data_argument
@classes_option
@click.option("--decode", is_flag=True, help="Also decode every clip, to find damaged audio.")
def check(data: Path, classes: Path | None, decode: bool) -> None:
    """Report what is wrong with DATA, a clip list or a folder with manifest.csv.

    Errors are missing files, paths listed twice, misspelt labels and groups that are split
    between folds; the exit code is 1 if there are any.
    """
    from distill.data.checks import check_audio, check_clip_list
    from distill.data.clip_list import clip_list_at, read_clip_list
    from distill.data.datasets import display_names

    folder, clips = clip_list_at(data).parent, read_clip_list(data)
    labels = set(display_names(_class_map(folder, classes)).values())
    problems = check_clip_list(folder, clips, labels)
    if decode:
        results = tracked(check_audio(folder, clips), "decoding clips", len(clips))
        problems += [problem for problem in results if problem is not None]
    for problem in problems:
        tell(f"{problem.severity}: {problem.message}")
    n_errors = sum(problem.severity == "error" for problem in problems)
    click.echo(f"{len(clips)} clips, {n_errors} errors, {len(problems) - n_errors} warnings")
    if n_errors:
        raise SystemExit(1)


@dataset.command()
@data_argument
@click.argument("out_folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--clips-per-shard",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="1,000 clips of 10 s are 100 to 900 MB.",
)
@click.option("--seed", default=0, show_default=True, help="Of the order of the clips.")
def shard(data: Path, out_folder: Path, clips_per_shard: int, seed: int) -> None:
    """Copy the clips of DATA, a clip list or a folder with manifest.csv, shuffled, into tars with a
    clip list of their own.

    OUT_FOLDER is then a data folder too, and WebDataset reads its tars. Run again to go on where
    it stopped.
    """
    from distill.data.shards import ShardWriter

    writer = ShardWriter(data, out_folder, clips_per_shard, seed)
    for _ in tracked(writer, "writing shards"):
        pass
    tell(f"{len(writer)} shards in {out_folder}")


def _class_map(folder: Path, classes: Path | None) -> Path:
    from distill.data.labels import LABELS_NAME
    from edge_audio.support.folders import peers_dir

    own = folder / CLASSES_NAME
    return classes or (own if own.is_file() else peers_dir() / LABELS_NAME)
