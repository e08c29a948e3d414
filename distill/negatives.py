"""Gives a bundle stored negatives, which `edge-audio learn` needs; again whenever weights change.

python -m distill.negatives tiny-int8 edge_audio/models/tiny-int8-executorch

The clips are those of $EDGE_AUDIO_DATA that the bundle was trained on, of tiers A and B.
"""

from __future__ import annotations

import sys

from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.models import bundle_recipe
from distill.scoring.negatives import add_negatives
from edge_audio.bundle.store import load_bundle
from edge_audio.learning.bank import BANK_FILE


def main(names: list[str]) -> None:
    """names: of shipped bundles, or folders."""
    clip_list = named_clip_list()
    clips = read_clip_list(clip_list)
    for name in names:
        bundle = load_bundle(name)
        made = add_negatives(bundle, bundle_recipe(bundle).split, clips, clip_list.parent)
        n_bytes = made.manifest.files[BANK_FILE].n_bytes
        print(f"{made.path / BANK_FILE}: {n_bytes:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
