"""`edge-audio dataset synthesise`: clips of sounds that few recordings have.

Imports of the training side are put off until the command runs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from distill.progress import tracked
from edge_audio.cli.console import plain_console, tell
from edge_audio.errors import UsageError


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Its first teacher with labels, such as mn04 of distill/recipes/esc_free.toml, listens.",
)
@click.option("--per-kind", "n_variants", type=click.IntRange(1), default=20, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Others give other variants.")
def synthesise(data: Path, recipe_path: Path, n_variants: int, seed: int) -> None:
    """Add synthesised alarms, sirens, telephones, whistles, engines and bells to DATA, a clip list
    or a folder.

    Only sounds of which a teacher has the label, or a related one, among its ten likeliest are
    written; the table says how many those were. They train (CC0, tier A), and lie in no fold that
    is scored.
    """
    from rich.table import Table

    from distill.mixing.synthetic import KINDS
    from distill.teachers.opening import open_teacher
    from distill.training.recipe import read_recipe
    from distill.training.synthesis import add_synthetic
    from edge_audio.support.folders import peers_dir

    recipe = read_recipe(recipe_path)
    opened = (open_teacher(config, peers_dir()) for config in recipe.teachers)
    teacher = next((one for one in opened if one.labels), None)
    if teacher is None:
        raise UsageError(f"no teacher of {recipe.name} has labels: it cannot check what it hears")
    variants = add_synthetic(data, teacher, n_variants, seed)
    accepted = Counter[str]()
    for one in tracked(variants, "synthesising", len(KINDS) * n_variants):
        accepted[one.kind] += bool(one.labels)
    table = Table("kind", "labels", f"accepted by {teacher.name}, of {n_variants}")
    for name, kind in KINDS.items():
        table.add_row(name, "; ".join(kind.labels), str(accepted[name]))
    plain_console().print(table)
    tell(f"{accepted.total()} of {len(KINDS) * n_variants} sounds accepted, in {data}")
