"""Who recorded what a recipe trains on, as their licences ask:

python -m distill.attribution distill/recipes/ship.toml > docs/attribution.md
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from distill.data.clip_list import read_clip_list
from distill.data.folders import data_dir
from distill.training.recipe import read_recipe

Source = tuple[str, str]  # repository, licence


def credits_by_source(recipe_path: Path) -> dict[Source, list[str]]:
    """Attributions of all training clips, each once, by source and licence, sorted."""
    folder = data_dir()
    trained = {
        clip.path for clip in read_recipe(recipe_path).split.divide(read_clip_list(folder))[0]
    }
    found: dict[Source, set[str]] = defaultdict(set)
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["path"] in trained:
                found[row["source_repo"], row["licence"]].add(row["attribution"])
    return {source: sorted(found[source]) for source in sorted(found)}


def to_markdown(recipe_path: Path) -> Iterator[str]:
    """The page, line by line."""
    yield "# Attribution"
    yield ""
    yield f"Recordings on which the recipe `{recipe_path.name}` trains, by source and licence."
    yield f"Made by `python -m distill.attribution {recipe_path.as_posix()}`."
    for (repository, licence), names in credits_by_source(recipe_path).items():
        yield ""
        yield f"## {repository}: {licence}"
        yield ""
        yield from (f"- {name}" for name in names)


if __name__ == "__main__":
    sys.stdout.write("\n".join(to_markdown(Path(sys.argv[1]))) + "\n")
