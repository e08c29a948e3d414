"""Synthesised clips in a data folder, of those sounds that a teacher takes for what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

from distill.data.clip_list import (
    CLIP_LIST_NAME,
    Clip,
    clip_list_rows,
    to_row,
    write_clip_list,
)
from distill.mixing.synthetic import KINDS, RATE_HZ, synthesise
from distill.teachers.base import Teacher
from distill.training.targets import teach
from edge_audio.errors import UsageError
from edge_audio.labels.ontology import related_labels
from edge_audio.support.arrays import FloatArray
from edge_audio.support.files import errors_for_people, write_atomically

SOURCE = "edge-audio/synthetic"
N_TOP = 10
"""A label stays if it, or a related one, is among so many that the teacher finds likeliest."""
_N_FOLDS = 4  # none in fold 5: nobody is scored, and no threshold chosen, by what was synthesised


class Variant(NamedTuple):
    """One synthesised sound. labels: those of its kind that the teacher agrees with; without any
    it was not accepted, and written nowhere."""

    kind: str
    labels: tuple[str, ...]


def add_synthetic(place: Path, teacher: Teacher, n_variants: int, seed: int) -> Iterator[Variant]:
    """Writes n_variants of each kind below `synthetic/` beside a clip list, and its rows to the
    list's end in place of those of an earlier call. Yields each variant once it was heard.

    place: a clip list, or a folder, where `manifest.csv` is begun if it is missing. Raises
    UsageError if the teacher has no labels.
    """
    if not teacher.labels:
        raise UsageError(f"teacher {teacher.name} has no labels: it cannot check what it hears")
    clip_list = place if place.suffix == ".csv" else place / CLIP_LIST_NAME
    rows: list[dict[str, object]] = []
    if clip_list.exists():
        rows += [{**row} for row in clip_list_rows(clip_list) if row["source_repo"] != SOURCE]
    for kind in KINDS:
        for index in range(n_variants):
            samples = synthesise(kind, seed, index)
            labels = agreed_labels(teacher, samples, KINDS[kind].labels)
            if labels:
                rows.append(_write(clip_list.parent, kind, seed, index, samples, labels))
            yield Variant(kind, labels)
    if not rows:
        raise UsageError(f"{teacher.name} takes no synthesised sound for what it is")
    write_clip_list(clip_list.parent, rows, clip_list.name)


def agreed_labels(teacher: Teacher, samples: FloatArray, labels: Sequence[str]) -> tuple[str, ...]:
    """Those of `labels` that are, or have a related label, among the teacher's N_TOP."""
    logits = teach(teacher, samples[None], RATE_HZ).clip_logits
    assert logits is not None, "it has labels"
    top = {teacher.labels[i] for i in np.argsort(-logits[0].cpu().numpy())[:N_TOP]}
    return tuple(label for label in labels if top & {label, *related_labels(label)})


def _write(
    folder: Path, kind: str, seed: int, index: int, samples: FloatArray, labels: tuple[str, ...]
) -> dict[str, object]:
    """Writes one clip as FLAC, and returns its row."""
    path = f"synthetic/{kind}-{seed}-{index:03d}.flac"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    flac = BytesIO()
    sf.write(flac, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    with errors_for_people(folder / path):
        write_atomically(folder / path, flac.getvalue())
    group = f"synthetic:{kind}-{seed}-{index}"
    clip = Clip(
        path=path,
        tier="A",
        labels=labels,
        esc10_class="",
        esc50_class="",
        fold=1 + int(hashlib.md5(group.encode(), usedforsecurity=False).hexdigest(), 16) % _N_FOLDS,
        group=group,
        duration_s=round(len(samples) / RATE_HZ, 3),
        licence="CC0 1.0",
        source=SOURCE,
    )
    made = "synthesised by edge-audio dataset synthesise"
    return to_row(clip, original_path=f"{kind} {seed} {index}", orig_sr=RATE_HZ, attribution=made)
