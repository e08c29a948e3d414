"""Shards of targets on disk: a .npy file with one record per mixture, so that a batch reads the
records of its own mixtures and nothing else, and a cache may be larger than memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import EdgeAudioError
from edge_audio.support.files import file_draft

Arrays = dict[str, NDArray[Any]]


def write_shard(path: Path, arrays: Arrays) -> None:
    """Writes arrays [N, ...] as N records, whole or not at all; EdgeAudioError if it cannot."""
    fields = [(name, values.dtype, values.shape[1:]) for name, values in arrays.items()]
    records = np.empty(len(next(iter(arrays.values()))), np.dtype(fields))
    for name, values in arrays.items():
        records[name] = values
    try:
        with file_draft(path) as draft, draft.open("wb") as file:
            np.save(file, records)
    except OSError as error:
        raise EdgeAudioError(f"cannot write {path}: {error}; free some space, run again") from error


class Layout(NamedTuple):
    """How a shard lies in its file: n_records of `record`, from byte `offset` on."""

    record: np.dtype[Any]
    offset: int
    n_records: int

    @classmethod
    def of(cls, path: Path) -> Layout:
        """The layout of a shard; EdgeAudioError if it is none, or not whole."""
        try:
            records = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise EdgeAudioError(f"{path} is not a whole shard: remove it, run again") from error
        return cls(records.dtype, records.offset, len(records))

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.offset + self.n_records * self.record.itemsize

    def spans(self, fields: Collection[str]) -> list[tuple[int, int]]:
        """Bytes from, to of a record that hold `fields`; neighbours are one span."""
        spans: list[tuple[int, int]] = []
        described: Any = self.record.fields
        for name, (kind, start) in described.items():
            if name not in fields:
                continue
            stop = start + kind.itemsize
            follows = spans and spans[-1][1] == start
            spans.append((spans.pop()[0], stop) if follows else (start, stop))
        return spans


class Shards:
    """Shards of one layout, read as one long array of records.

    Raises EdgeAudioError, naming it, if one of them has another size than the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths, self._layout = paths, Layout.of(paths[0])
        for path in paths:
            if path.stat().st_size != self._layout.n_bytes:
                raise EdgeAudioError(f"{path} is not a whole shard: remove it, run again")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the arrays that were written."""
        return self._layout.record.names or ()

    def read(self, indices: NDArray[np.int64], fields: Collection[str]) -> Arrays:
        """Of the records `indices`, the arrays [N, ...] called `fields`."""
        layout = self._layout
        records = np.empty(len(indices), layout.record)
        rows = records.view(np.uint8).reshape(len(indices), layout.record.itemsize)
        spans = layout.spans(fields)
        for row, index in zip(rows, indices, strict=True):
            number, position = divmod(int(index), layout.n_records)
            with self._paths[number].open("rb", buffering=0) as file:
                for start, stop in spans:
                    file.seek(layout.offset + position * layout.record.itemsize + start)
                    file.readinto(row[start:stop].data)
        return {name: records[name] for name in self.fields if name in fields}
