"""What a user changed in a generated folder, so that building it again loses nothing.

GENERATED.sha256 names each file that was generated with its hash, as `sha256sum -c` reads it. What
differs from it was changed by the user:

- In EDITABLE, which users are told to adapt to their board, it is kept. Where the generator has
  something new to say, its version is put beside it as NAME.new.
- Elsewhere it gives way to what fits the model, and is put beside it as NAME.old.
- Files that were not generated are kept.

Where the user has a NAME.new or NAME.old already, as from an earlier time, it stays, and the next
one is NAME.new.2 or NAME.old.2, and so on.

A folder without that list is from before it was written: of its files in EDITABLE nobody knows
who changed them, and those that differ become NAME.old.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from edge_audio.errors import UsageError

RECORD_NAME = "GENERATED.sha256"
EDITABLE = ("port/*", "examples/*", "Makefile", "CMakeLists.txt")
IGNORED = ("build/*", RECORD_NAME)  # what a build system leaves, and the list itself
WITHOUT_RECORD_IGNORED = ("src/*", "test/*")  # of no use in any other model


class Edits(NamedTuple):
    """Paths within the folder. kept: the user's version is in place. renewed: those of them with
    a new version beside. set_aside: the user's version is now NAME.old. added: own files."""

    kept: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


NO_EDITS = Edits()


def hashes(folder: Path) -> dict[str, str]:
    """Path within the folder -> SHA-256 of each file, or where a link leads."""
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_record(folder: Path, generated: Mapping[str, str]) -> None:
    """Notes {path: SHA-256} of what was generated into the folder, to tell edits from it later."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted(generated.items()))
    (folder / RECORD_NAME).write_text("".join(lines), encoding="utf-8", newline="\n")


def read_record(folder: Path) -> dict[str, str] | None:
    """What `write_record` wrote; None where there is no such file."""
    try:
        lines = (folder / RECORD_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {path: digest for digest, path in pairs}


def check_links(old: Path, generated: Collection[str]) -> None:
    """Raises UsageError where a folder that is generated into is a link in the folder `old`:
    whose files it leads to, and which of them are to be replaced, nobody knows."""
    parents = {parent for path in generated for parent in Path(path).parents}
    for parent in sorted(parents - {Path()}):
        if (old / parent).is_symlink():
            raise UsageError(
                f"{old / parent} is a link, which a new build would replace: make it a folder with "
                "copies of your files in it, or name another folder to write"
            )


def keep_edits(old: Path, new: Path, generated: Mapping[str, str]) -> Edits:
    """Before programs are built: puts what the user changed in EDITABLE of the folder `old` into
    the folder `new`, whose files have the hashes `generated`."""
    record = read_record(old)
    if record is None:
        return NO_EDITS
    found = hashes(old)
    edited = [
        path
        for path, digest in found.items()
        if path in generated and digest not in (generated[path], record.get(path))
        if _matches(path, EDITABLE)
    ]
    renewed = [path for path in edited if generated[path] != record.get(path)]
    own = {path for path, digest in found.items() if digest != record.get(path)}
    for path in renewed:
        (new / path).rename(new / _free(f"{path}.new", new, own))
    for path in edited:
        (new / path).unlink(missing_ok=True)
        _copy(old / path, new / path)
    return Edits(kept=tuple(edited), renewed=tuple(renewed))


def keep_others(
    old: Path, new: Path, generated: Mapping[str, str], programs: Collection[str], edits: Edits
) -> Edits:
    """After programs were built: puts all else that the user changed or added in `old` into `new`.

    generated: hashes of all generated files, with the programs, which replace what was built.
    """
    record = read_record(old)
    ignored = IGNORED if record is not None else (*IGNORED, *WITHOUT_RECORD_IGNORED)
    set_aside, added = [], []
    for path, digest in hashes(old).items():
        is_as_generated = digest in (generated.get(path), (record or {}).get(path))
        if is_as_generated or path in edits.kept or path in programs or _matches(path, ignored):
            continue
        if os.path.lexists(new / path):  # as a file, or as a folder where the user has a file
            if record is not None or _matches(path, EDITABLE):
                set_aside.append(path)
        else:
            _copy(old / path, new / path)
            added.append(path)
    for path in set_aside:  # last: what was set aside before is an own file by now
        _copy(old / path, new / _free(f"{path}.old", new))
    return edits._replace(set_aside=tuple(set_aside), added=tuple(added))


def _free(name: str, folder: Path, taken: Collection[str] = ()) -> str:
    """The name, or NAME.2 and so on, that is neither in the folder nor taken."""
    names = itertools.chain([name], (f"{name}.{n}" for n in itertools.count(2)))
    return next(x for x in names if x not in taken and not os.path.lexists(folder / x))


def _matches(path: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
