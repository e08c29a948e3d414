"""Stores negatives for a bundle, which `edge-audio learn` needs; again whenever weights change.

python -m distill.negatives tiny-int8 build/my-bundle

The clips are those of $EDGE_AUDIO_DATA that the bundle was trained on, of tiers A and B. One
shipped bundle of a network is enough: its negatives go into the package, those of others into the
bundle.
"""

from __future__ import annotations

import sys

from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.models import bundle_recipe
from distill.scoring.negatives import add_negatives
from edge_audio.bundle.store import load_bundle


def main(names: list[str]) -> None:
    """names: of shipped bundles, or folders."""
    clip_list = named_clip_list()
    clips = read_clip_list(clip_list)
    for name in names:
        bundle = load_bundle(name)
        path = add_negatives(bundle, bundle_recipe(bundle).split, clips, clip_list.parent)
        print(f"{path}: {path.stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
