"""A whole training workshop in miniature: synthesised clips, a manifest, a small teacher."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile as sf
import torch

from distill.data.clip_list import Clip
from distill.data.split import Split
from distill.mixing.mixtures import MixtureConfig
from distill.students.lti import LTIConfig
from distill.students.student import StudentConfig
from distill.teachers.config import EfficientATConfig
from distill.teachers.efficientat import EfficientAT
from distill.training.recipe import Recipe, TrainingConfig
from edge_audio.bundle.spec import Threshold
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle

RATE_HZ = 16_000
CLIPS_PER_SHARD = 7
LEAKING_GROUPS = {"fs:131943", "fs:209698", "fs:134049", "fs:234879", "fs:14262"}
"""Recordings of which ESC-50's official folds share clips."""
TEACHER_NAME = "small.pt"
COLUMNS = (
    *("path", "source_repo", "original_path", "licence", "attribution", "tier", "labels"),
    *("esc10_class", "esc50_class", "fold", "group", "duration_s", "orig_sr", "note"),
)
KINDS = {"siren": "Siren", "rain": "Rain", "clock_tick": "Clock"}

TINY_STUDENT = StudentConfig(
    stem=((4, 2), (8, 2), (8, 1), (8, 2)),
    channels=16,
    n_blocks=2,
    mixer=LTIConfig(n_modes=2),
    embedding_dim=12,
)
TINY_TEACHER = EfficientATConfig(checkpoint=TEACHER_NAME, width=0.1, layers=(11, 16))
STRANGE_SOURCES = {"4": "gheja/doggy-daycare", "5": "marc-moreaux/kitchen20"}
"""Of the folds outside ESC in the strange workshop; TINY_RECIPE trains on fold 4, not on 5."""

TINY_RECIPE = Recipe(
    name="miniature",
    seed=3,
    split=Split(tiers=("A",), held_out_folds=(5,), hold_out_esc=True),
    teachers=(TINY_TEACHER,),
    training=TrainingConfig(
        n_mixtures=64, n_steps=6, batch_size=8, n_warmup_steps=2, checkpoint_every_steps=3
    ),
    mixture=MixtureConfig(duration_s=1.28),
    student=TINY_STUDENT,
)


def sound(kind: str, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """f32[n_samples] within [-1, 1], told apart by its spectrum."""
    time_s = np.arange(n_samples) / RATE_HZ
    hz = rng.uniform(600, 900)
    wave = {
        "siren": np.sin(2 * np.pi * hz * time_s + 8 * np.sin(2 * np.pi * 2 * time_s)),
        "rain": rng.standard_normal(n_samples) / 4,
        "clock_tick": rng.standard_normal(n_samples) * (time_s % 0.5 < 0.01),
    }[kind]
    samples: np.ndarray = np.clip(0.3 * wave, -1, 1).astype(np.float32)
    return samples


def row(path: str, kind: str, fold: int, group: str, **changes: Any) -> dict[str, Any]:
    """One row of a manifest; changes overrule its columns."""
    is_esc = path.startswith("esc")
    values = {
        "path": path,
        "licence": "CC0",
        "tier": "A",
        "labels": KINDS[kind],
        "esc10_class": kind if is_esc else "",
        "esc50_class": kind if is_esc else "",
        "fold": fold,
        "group": group,
        "duration_s": 1.0,
    }
    return {**dict.fromkeys(COLUMNS, ""), **values, **changes}


def write_clip_list(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def make_data(folder: Path, n_per_fold: int = 2) -> None:
    """n_per_fold ESC and as many other clips of each kind in each of five folds."""
    rng = np.random.default_rng(0)
    rows = []
    for origin in ("esc", "other"):
        (folder / origin).mkdir(parents=True, exist_ok=True)
        for fold in range(1, 6):
            for kind in KINDS:
                for take in range(n_per_fold):
                    name = f"{origin}/{fold}-{kind}-{take}.wav"
                    n_samples = int(rng.uniform(0.4, 1.0) * RATE_HZ)
                    sf.write(folder / name, sound(kind, n_samples, rng), RATE_HZ)
                    rows.append(row(name, kind, fold, f"{origin}-{fold}-{kind}"))
    write_clip_list(folder, rows)


def save_rain_detector(folder: Path) -> Bundle:
    """tiny-int8, but of all labels only Rain is on, and clips of fold 5 alone are held out."""
    shipped = load_bundle("tiny-int8")
    threshold = Threshold(on=0.5, off=0.35)
    events = msgspec.structs.replace(shipped.manifest.events, thresholds={"Rain": threshold})
    facts = shipped.manifest.provenance
    split = msgspec.json.decode(msgspec.json.encode(Split(("A", "B"), held_out_folds=(5,))))
    provenance = {**facts, "recipe": {**facts["recipe"], "split": split}}
    manifest = msgspec.structs.replace(shipped.manifest, events=events, provenance=provenance)
    return save_bundle(folder / "rain-detector", manifest, shipped.contents())


def make_peers(folder: Path) -> None:
    """A class list of 527 names and a small teacher with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [*KINDS.values(), *(f"Class {index}" for index in range(len(KINDS), 527))]
    lines = [f"{index},/m/{index},{name}" for index, name in enumerate(names)]
    text = "\n".join(["index,mid,display_name", *lines])
    (folder / "audioset_labels.csv").write_text(text + "\n")
    torch.manual_seed(0)
    torch.save(EfficientAT(TINY_TEACHER.width).state_dict(), folder / TEACHER_NAME)


def damage(folder: Path) -> dict[str, str]:
    """Files that no clip can be read from, with a part of the error that each must give."""
    sf.write(folder / "empty.wav", np.zeros(0), 16_000)
    sf.write(folder / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    (folder / "text.ogg").write_bytes(b"no audio")
    (folder / "nothing.flac").write_bytes(b"")
    return {
        "empty.wav": "no samples",
        "nan.wav": "NaN",
        "text.ogg": "Format not recognised",
        "nothing.flac": "Format not recognised",
        "absent.wav": "no such file",
    }


def clip_at(path: str, **changes: Any) -> Clip:
    values = {"source": "", **row(path, "rain", 1, path), **changes}
    fields = {name: values[name] for name in Clip.__struct_fields__}
    labels = tuple(label for label in values["labels"].split(";") if label)
    return Clip(**{**fields, "labels": labels})
