"""WebDataset shards of a clip list: tars of `KEY.EXT` (audio) and `KEY.json` (its row).

A folder of shards is a data folder like any other: its `manifest.csv` lists the clips in the
order in which the tars hold them, with paths such as `shard-00000.tar/1f0c.flac`. Audio is copied
byte for byte. The clips are shuffled once as they are written, so that neighbours in a shard have
nothing to do with each other and any stretch of it is a fair sample of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from distill.data.clip_list import (
    CLIP_LIST_NAME,
    clip_list_at,
    clip_list_rows,
    write_clip_list,
)
from distill.data.tars import TAR_SUFFIX, read_bytes, tar_members
from edge_audio.errors import EdgeAudioError, SourceError, UsageError
from edge_audio.support.files import file_draft

Row = dict[str, str]


class ShardWriter:
    """Writes the clips of a clip list to `out_folder`, `clips_per_shard` to a tar.

    Iterating writes one shard after the other and, at the end, their clip list. A shard that an
    interrupted run left with the very same rows is kept.
    """

    def __init__(self, data: Path, out_folder: Path, clips_per_shard: int, seed: int = 0) -> None:
        """data: the clip list or its folder. Raises UsageError if `out_folder` already is a data
        folder or holds other shards."""
        self._clip_list, self.out_folder = clip_list_at(data), out_folder
        rows = list(clip_list_rows(self._clip_list))
        order = np.random.default_rng(seed).permutation(len(rows))
        shuffled = [rows[index] for index in order]
        self._shards: dict[Path, list[Row]] = {}
        for number, start in enumerate(range(0, len(rows), clips_per_shard)):
            path = out_folder / f"shard-{number:05d}{TAR_SUFFIX}"
            self._shards[path] = shuffled[start : start + clips_per_shard]
        foreign = set(out_folder.glob(f"*{TAR_SUFFIX}")) - self._shards.keys()
        if foreign or (out_folder / CLIP_LIST_NAME).exists():
            raise UsageError(f"{out_folder} already holds data: name another folder or empty it")

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Path]:
        """Yields the path of each finished shard. Raises SourceError for audio that cannot be
        read, and EdgeAudioError if the disk is full."""
        self.out_folder.mkdir(parents=True, exist_ok=True)
        listed: list[Row] = []
        for path, rows in self._shards.items():
            named = {_key(row): row for row in rows}
            if len(named) < len(rows):
                raise UsageError(f"{self._clip_list} holds a row twice")
            if not _holds(path, named):
                self._write(path, named)
            listed += [{**row, "path": _member(path, key, row)} for key, row in named.items()]
            yield path
        write_clip_list(self.out_folder, listed)

    def _write(self, path: Path, named: dict[str, Row]) -> None:
        from webdataset import TarWriter  # loads torch

        try:
            with (
                file_draft(path) as draft,
                draft.open("wb") as file,
                TarWriter(file, user="", group="", mtime=0, encoder=False) as tar,
            ):
                for key, row in named.items():
                    audio = read_bytes(self._clip_list.parent / row["path"])
                    tar.write({"__key__": key, _suffix(row): audio, "json": _encode(row)})
        except OSError as error:
            raise EdgeAudioError(
                f"cannot write {path}: {error}; finished shards are kept, run again"
            ) from error


def _encode(row: Row) -> bytes:
    return msgspec.json.encode(row)


def _key(row: Row) -> str:
    """Stands for the whole row: a shard with the same keys holds the same rows."""
    return hashlib.sha256(_encode(row)).hexdigest()[:16]


def _suffix(row: Row) -> str:
    return Path(row["path"]).suffix[1:].lower()


def _member(shard: Path, key: str, row: Row) -> str:
    return f"{shard.name}/{key}.{_suffix(row)}"


def _holds(path: Path, named: dict[str, Row]) -> bool:
    if not path.exists():
        return False
    try:
        names = set(tar_members(path))
    except SourceError:
        return False
    return names == {
        f"{key}.{suffix}" for key, row in named.items() for suffix in (_suffix(row), "json")
    }
