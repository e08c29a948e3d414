"""A file as libsndfile is to see it: a part of it, with a header that is true."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class FileView(io.RawIOBase):
    """The bytes start to end of a file, behind a head of our own and with some of them replaced.

    head: bytes that come before the file's. patches: offset in the file -> bytes that stand there.
    Raises OSError if the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        start: int = 0,
        end: int | None = None,
        head: bytes = b"",
        patches: Mapping[int, bytes] | None = None,
    ) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start, self._head, self._patches = start, head, dict(patches or {})
        end = os.fstat(self._file.fileno()).st_size if end is None else end
        self._n_bytes = len(head) + max(0, end - start)
        self._position = 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}
        self._position = max(0, bases[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._bytes(self._position, min(len(buffer), self._n_bytes - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _bytes(self, position: int, n_bytes: int) -> bytes:
        if n_bytes <= 0:
            return b""
        head = self._head[position : position + n_bytes]
        at = self._start + max(0, position - len(self._head))
        self._file.seek(at)
        data = bytearray(self._file.read(n_bytes - len(head)))
        for offset, patch in self._patches.items():
            for i, byte in enumerate(patch, offset - at):
                if 0 <= i < len(data):
                    data[i] = byte
        return head + bytes(data)
