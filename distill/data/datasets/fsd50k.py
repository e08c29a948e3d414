"""FSD50K: FSD50K.ground_truth/, FSD50K.metadata/ and FSD50K.{dev,eval}_audio/ (Fonseca et al.,
TASLP 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from distill.data.datasets.base import (
    EVALUATION_FOLD,
    TRAIN_FOLD,
    VALIDATION_FOLD,
    Listed,
    find_audio,
    read_table,
    read_text,
)
from distill.data.licences import licence_name, licence_tier
from edge_audio.errors import UsageError

_FOLDS = {"train": TRAIN_FOLD, "val": VALIDATION_FOLD, "eval": EVALUATION_FOLD}
_UNKNOWN_LICENCE = "unknown"


class ClipInfo(msgspec.Struct):
    """What the uploader says of a clip; other fields of the file are left aside."""

    license: str = _UNKNOWN_LICENCE
    uploader: str = ""


def list_fsd50k(folder: Path, names: Mapping[str, str]) -> list[Listed]:
    """Folds train 1, val 4, eval 5, the licence that each clip has in the metadata.

    Each clip is a group named by its Freesound id, as in ESC-50 and UrbanSound8K, so that a
    recording that is in several of them is never heard on both sides of a split. That dev and
    eval have no uploader in common is seen to by the dataset itself.
    """
    truth = folder / "FSD50K.ground_truth"
    vocabulary = _read_vocabulary(truth / "vocabulary.csv", names)
    listed = []
    for part in ("dev", "eval"):
        infos = _read_infos(folder / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json")
        columns = ("fname", "labels", "split") if part == "dev" else ("fname", "labels")
        path = truth / f"{part}.csv"
        for row in read_table(path, columns):
            audio = find_audio(folder / f"FSD50K.{part}_audio", row["fname"])
            info = infos.get(row["fname"], ClipInfo())
            try:
                listed.append(_listed(row, row.get("split", "eval"), audio, info, vocabulary))
            except KeyError as error:
                raise UsageError(f"{path}: {error} is no label or split of FSD50K") from error
    return listed


def _listed(
    row: dict[str, str],
    split: str,
    audio: Path | None,
    info: ClipInfo,
    vocabulary: Mapping[str, str],
) -> Listed:
    licence = licence_name(info.license)
    return Listed(
        path=audio,
        name=row["fname"],
        labels=tuple(vocabulary[label] for label in row["labels"].split(",")),
        fold=_FOLDS[split],
        group=f"fs:{row['fname']}",
        licence=licence,
        tier=licence_tier(licence),
        source_repo="FSD50K",
        attribution=f"{info.uploader} https://freesound.org/s/{row['fname']}".strip(),
    )


def _read_vocabulary(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    """AudioSet's display name of each label, by way of its mid; five labels are no AudioSet
    classes and keep their own names."""
    rows = [line.split(",") for line in read_text(path).splitlines() if line]
    try:
        return {label: names.get(mid, label.replace("_", " ")) for _, label, mid in rows}
    except ValueError as error:
        raise UsageError(f"{path} is no list of index, label, mid: {error}") from error


def _read_infos(path: Path) -> dict[str, ClipInfo]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ClipInfo])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
