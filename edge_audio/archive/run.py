"""A run over an archive: what waits, what is done, and the tables at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from edge_audio.archive.job import FileTags, Job
from edge_audio.archive.part_file import Found, PartFile
from edge_audio.archive.tables import TABLES, import_pyarrow, table_paths
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.files import file_draft


class Archive:
    """A run that writes OUT, by way of `OUT.part`. Use it in a `with` statement.

    files: what to tag; a path that comes twice is tagged once.
    Raises what `PartFile` does, and UsageError if OUT is there and no run is to be gone on with.
    """

    def __init__(self, out: Path, job: Job, files: Iterable[Found], restart: bool = False) -> None:
        self._out, self._paths = out, table_paths(out)
        if out.suffix == ".parquet":
            import_pyarrow()
        part = out.with_name(f"{out.name}.part")
        there = [path for path in self._paths if path.exists()]
        if there and not (restart or part.exists()):
            raise UsageError(f"{there[0]} is there already: give another --out, or --restart")
        self.part = PartFile(part, job, restart)
        self.files = {file.path: file for file in files}
        waiting = [file for file in self.files.values() if not self.part.holds(file)]
        self.waiting = sorted(waiting, key=lambda file: -file.n_bytes)
        """What has not been tagged yet, largest first, so that no worker is left with a long
        recording while the others have nothing to do."""

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.part.__exit__()

    def add(self, path: str, tags: FileTags) -> None:
        """Keeps what was found in a file."""
        self.part.append(self.files[path], tags)

    def finish(self) -> None:
        """Writes OUT, sorted by path, whole or not at all; then deletes the part file."""
        try:
            self._write_tables()
        except OSError as error:
            raise EdgeAudioError(
                f"cannot write {self._out}: {error.strerror or error}; {self.part.path} has all "
                "results: make room, then give the same command again"
            ) from error
        self.part.finish()

    def _write_tables(self) -> None:
        with contextlib.ExitStack() as stack:
            # Left in reverse: OUT, by which a run is known to be done, gets its place last
            drafts = [stack.enter_context(file_draft(path)) for path in self._paths]
            with contextlib.closing(TABLES[self._out.suffix](drafts)) as table:
                for name in sorted(self.files):
                    if tags := self.part.read(name):
                        table.write(tags)
