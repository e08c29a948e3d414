"""Many recordings at once, for programs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_audio.archive.job import problem_of
from edge_audio.archive.pool import Work, in_order, in_processes, n_cpus
from edge_audio.errors import UsageError
from edge_audio.events.choice import label_names
from edge_audio.events.policy import ONE_SOUND
from edge_audio.support.arrays import is_count
from edge_audio.support.text import printable
from edge_audio.tagging.settings import TaggerSettings
from edge_audio.tagging.tag import tags_of_file
from edge_audio.tagging.tagger import Tagger
from edge_audio.tagging.tags import Tags

if TYPE_CHECKING:
    from typing_extensions import Unpack


def tag_files(
    paths: Iterable[str | Path],
    n_processes: int | None = None,
    **settings: Unpack[TaggerSettings],
) -> Iterator[Tags]:
    """Tags recordings, and yields what was heard in each, in the order of the paths.

    n_processes: that share the files; None = one for each CPU, 1 = this one alone. A script that
        takes more needs `if __name__ == "__main__":` around what it does.
    settings: as for `tag`.

    A file that cannot be read, or not to its end, does not stop the others: its `Tags.error` says
    why. Raises UsageError, BundleError or BackendError at once where the settings are wrong.
    """
    if n_processes is not None and not is_count(n_processes):
        raise UsageError(f"n_processes is {n_processes!r}: give 1 or more, or None for one per CPU")
    if isinstance(paths, str | os.PathLike):
        raise UsageError(f"paths is one path, {os.fspath(paths)!r}: pass a list, or use tag")
    settings.setdefault("policy", ONE_SOUND)
    settings["only"] = label_names(settings.get("only", ()))
    settings["exclude"] = label_names(settings.get("exclude", ()))
    _opened.tagger, _opened.settings = Tagger.open(**settings), settings
    names = [os.fspath(path) for path in paths]
    return _tagged(settings, names, min(n_processes or n_cpus(), max(1, len(names))))


def _tagged(settings: TaggerSettings, paths: list[str], n_processes: int) -> Iterator[Tags]:
    if n_processes == 1:
        return map(partial(_tags, settings), paths)
    work = Work(_tags, settings, _failed)
    return in_order(paths, in_processes(work, dict.fromkeys(paths), n_processes))


_opened = threading.local()  # a tagger follows one stream: each thread has its own


def _tags(settings: TaggerSettings, path: str) -> Tags:
    if getattr(_opened, "settings", None) != settings:
        _opened.tagger, _opened.settings = Tagger.open(**settings), settings
    tagger: Tagger = _opened.tagger
    try:
        tagger.reset()
        return tags_of_file(path, tagger)
    except Exception as error:  # no decoder says which errors it has; the next file may be fine
        return _failed(path, problem_of(path, error))


def _failed(path: str, problem: str) -> Tags:
    nothing = np.zeros((0, 0), np.float32)
    return Tags(
        source=printable(path), duration_s=0.0, labels=(), scores=nothing, error=printable(problem)
    )
