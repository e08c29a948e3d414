"""WebDataset shards: *.tar with KEY.EXT (audio) and KEY.json beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from distill.data.datasets.base import AUDIO_SUFFIXES, TRAIN_FOLD, Listed
from distill.data.tars import TAR_SUFFIX, read_bytes, tar_members
from edge_audio.errors import UsageError


class Record(msgspec.Struct):
    """What KEY.json must or may say; labels: names in a list, or with `;` between them."""

    labels: list[str] | str
    fold: int = TRAIN_FOLD
    group: str = ""
    tier: str = "C"
    licence: str = "unknown"
    source_repo: str = ""
    attribution: str = ""
    esc10_class: str = ""
    esc50_class: str = ""


def list_webdataset(folder: Path, _names: Mapping[str, str]) -> list[Listed]:
    """The clips of all tars in `folder`, in their order; without a group each is its own.

    Raises UsageError for audio without a valid JSON, SourceError for tars that are none.
    """
    tars = sorted(folder.glob(f"*{TAR_SUFFIX}"))
    if not tars:
        raise UsageError(f"no *{TAR_SUFFIX} in {folder}")
    return [clip for tar in tars for clip in _list_tar(tar)]


def _list_tar(tar: Path) -> Iterator[Listed]:
    members = tar_members(tar)
    for name in members:
        if Path(name).suffix.lower() not in AUDIO_SUFFIXES:
            continue
        record = _read_record(tar / f"{_key(name)}.json")
        labels = record.labels.split(";") if isinstance(record.labels, str) else record.labels
        yield Listed(
            path=tar / name,
            name=f"{tar.name}/{name}",
            labels=tuple(label for label in labels if label),
            fold=record.fold,
            group=record.group or f"{tar.stem}:{_key(name)}",
            licence=record.licence,
            tier=record.tier,
            source_repo=record.source_repo,
            attribution=record.attribution,
            esc10_class=record.esc10_class,
            esc50_class=record.esc50_class,
        )


def _key(name: str) -> str:
    """Up to the first dot behind the last slash, as WebDataset has it."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _read_record(path: Path) -> Record:
    try:
        return msgspec.json.decode(read_bytes(path), type=Record, strict=False)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}") from error
