"""ATST-Clip (Li and Li 2022): as ATST-Frame, with a class token."""

from __future__ import annotations

from distill.teachers.adapters.atst_frame import (
    DEFAULTS,
    ENTRIES,
    IGNORED,
    PREFIXES,
    SIZES,
    Atst,
    infer,
)
from distill.teachers.published.system import Card, System


class AtstClip(Atst):
    """hidden: the class token and T / 4 tokens."""

    has_class_token = True


SYSTEM = System(
    card=Card(
        title="ATST-Clip",
        paper="Li and Li 2022, ATST: Audio Representation Learning by Teacher and Student",
        code_licence="none stated",
        weights_licence="CC BY 4.0",
        checkpoints=("base.ckpt", "small.ckpt"),
        sizes=SIZES,
        audioset_map="0.452 (paper)",
    ),
    build=AtstClip,
    defaults=DEFAULTS,
    infer=infer,
    anchor="patch_embed.patch_embed.weight",
    prefixes=PREFIXES,
    ignored=IGNORED,
    entries=ENTRIES,
)
