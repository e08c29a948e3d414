"""Who recorded what a recipe trains on, as their licences ask:

python -m distill.attribution distill/recipes/base.toml > docs/attribution.md

The page is made by the whole clip list. Lists only grow, so that it covers those before: what
weights of an earlier, shorter list were trained on stands there too.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from distill.data.clip_list import clip_list_rows, read_clip_list
from distill.data.folders import named_clip_list
from distill.training.recipe import read_recipe

Source = tuple[str, str]  # repository, licence


def credits_by_source(recipe_path: Path, clip_list: Path) -> dict[Source, list[str]]:
    """Attributions of all training clips of a clip list, each once, by source and licence,
    sorted."""
    split = read_recipe(recipe_path).split
    # By tiers alone: weights from before licences were looked at heard what these forbid now.
    clips = [msgspec.structs.replace(clip, licence="") for clip in read_clip_list(clip_list)]
    trained = {clip.path for clip in split.divide(clips)[0]}
    found: dict[Source, set[str]] = defaultdict(set)
    for row in clip_list_rows(clip_list):
        if row["path"] in trained:
            found[row["source_repo"], row["licence"]].add(row["attribution"])
    return {source: sorted(found[source]) for source in sorted(found)}


def to_markdown(recipe_path: Path) -> Iterator[str]:
    """The page, line by line."""
    yield "# Attribution"
    yield ""
    yield f"Recordings on which the recipe `{recipe_path.name}` trains, by source and licence."
    yield f"Made by `python -m distill.attribution {recipe_path.as_posix()}`."
    for (repository, licence), names in credits_by_source(recipe_path, named_clip_list()).items():
        yield ""
        yield f"## {repository}: {licence}"
        yield ""
        yield from (f"- {name}" for name in names)


if __name__ == "__main__":
    sys.stdout.write("\n".join(to_markdown(Path(sys.argv[1]))) + "\n")
