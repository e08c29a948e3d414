"""UrbanSound8K: metadata/UrbanSound8K.csv and audio/foldN/*.wav (Salamon et al., ACM Multimedia
2014)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from distill.data.datasets.base import Listed, find_audio, read_table
from distill.data.licences import licence_tier
from edge_audio.errors import UsageError

LABELS = {
    "air_conditioner": ("Air conditioning",),
    "car_horn": ("Vehicle horn, car horn, honking",),
    "children_playing": ("Children playing",),
    "dog_bark": ("Dog", "Bark"),
    "drilling": ("Drill", "Power tool"),
    "engine_idling": ("Engine", "Idling"),
    "gun_shot": ("Gunshot, gunfire",),
    "jackhammer": ("Jackhammer",),
    "siren": ("Siren",),
    "street_music": ("Music",),
}
_COLUMNS = ("slice_file_name", "fsID", "fold", "class")
_LICENCE = "CC BY-NC 3.0"


def list_urbansound8k(folder: Path, _names: Mapping[str, str]) -> list[Listed]:
    """Official folds 1 to 10; slices of one Freesound recording are a group."""
    path = folder / "metadata" / "UrbanSound8K.csv"
    rows = read_table(path, _COLUMNS)
    try:
        return [_listed(folder, row) for row in rows]
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path}: {error} is no class or fold of UrbanSound8K") from error


def _listed(folder: Path, row: dict[str, str]) -> Listed:
    fold = int(row["fold"])
    stem = Path(row["slice_file_name"]).stem
    return Listed(
        path=find_audio(folder / "audio" / f"fold{fold}", stem),
        name=row["slice_file_name"],
        labels=LABELS[row["class"]],
        fold=fold,
        group=f"fs:{row['fsID']}",
        licence=_LICENCE,
        tier=licence_tier(_LICENCE),
        source_repo="UrbanSound8K",
        attribution=f"UrbanSound8K, J. Salamon et al.; Freesound clip {row['fsID']}",
    )
