"""Audio inside tar files: `shards/shard-00000.tar/ab12.flac` is member `ab12.flac` of that tar.

The headers of a tar are walked once; its members are then read where they lie. Nothing is ever
unpacked to disk, and a tar that no honest shard of clips looks like is refused as a whole. (wids,
which once came with webdataset for this, is not in its version 1.0, and took tars as they were.)
"""

from __future__ import annotations

import tarfile
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from edge_audio.errors import SourceError
from edge_audio.support.paths import for_soundfile

TAR_SUFFIX = ".tar"
MAX_MEMBER_BYTES = 256 * 2**20
"""45 minutes of 16-bit stereo at 22 kHz: far above any clip, far below what exhausts memory."""


class Member(NamedTuple):
    """Where a member's bytes lie in its tar."""

    offset: int
    n_bytes: int


def locate(path: Path) -> tuple[Path, str] | None:
    """(tar, member name) of a path that leads into a tar file, None for any other path."""
    for parent in path.parents:
        if parent.suffix == TAR_SUFFIX and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def container_of(path: str) -> str:
    """The file that holds a clip, to be read front to back: the tar that the clip's path leads
    into, else the path itself."""
    stem, _, member = path.partition(f"{TAR_SUFFIX}/")
    return f"{stem}{TAR_SUFFIX}" if member else path


def open_audio(path: Path) -> Path | bytes | BytesIO:
    """What soundfile may open: the path itself, or the bytes of a member of a tar.

    Raises SourceError for a tar that cannot be read or lacks the member, and for a folder, a pipe
    or a device.
    """
    if locate(path) is not None:
        return BytesIO(read_bytes(path))
    _check_regular(path)
    return for_soundfile(path)


def read_bytes(path: Path) -> bytes:
    """The whole content of a file or member of a tar; SourceError if it cannot be read."""
    place = locate(path)
    try:
        if place is None:
            _check_regular(path)
            return path.read_bytes()
        return _read_member(*place)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error}") from error


def _check_regular(path: Path) -> None:
    """Raises SourceError for what is there and is not a file: a pipe would be waited for."""
    if path.exists() and not path.is_file():
        raise SourceError(f"cannot read {path}: it is not a file")


def _read_member(tar: Path, name: str) -> bytes:
    try:
        member = tar_members(tar)[name]
    except KeyError as error:
        raise SourceError(f"{tar} has no member {name}: fetch it again") from error
    with tar.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.n_bytes)


def exists(path: Path) -> bool:
    """Whether a file or member of a tar is there; SourceError for a tar that cannot be read."""
    place = locate(path)
    return path.is_file() if place is None else place[1] in tar_members(place[0])


def tar_members(path: Path) -> dict[str, Member]:
    """All files of an uncompressed tar by name, in its order.

    Raises SourceError for what is no such tar or was cut off, and for what has no place in a
    shard of clips: links, devices, sparse files, absolute names, `..`, one name twice, members
    above MAX_MEMBER_BYTES.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    return _members(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _members(path: Path, _mtime_ns: int, n_bytes: int) -> dict[str, Member]:
    members: dict[str, Member] = {}
    end = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.offset < end:  # a negative size would lead back, for ever
                    raise SourceError(f"{path}: {info.name!r} overlaps the member before it")
                _require_plain(path, info)
                end = info.offset_data + info.size
                if end > n_bytes:
                    raise SourceError(f"{path} was cut off within {info.name!r}: fetch it again")
                if info.name in members:
                    raise SourceError(f"{path} holds {info.name!r} twice")
                if info.isreg():
                    members[info.name] = Member(info.offset_data, info.size)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise SourceError(f"{path} is no uncompressed tar, or damaged: {error}") from error
    return members


def _require_plain(path: Path, info: tarfile.TarInfo) -> None:
    name = PurePosixPath(info.name)
    if not (info.isreg() or info.isdir()) or info.issparse():
        raise SourceError(f"{path}: {info.name!r} is neither a plain file nor a folder")
    if name.is_absolute() or ".." in name.parts:
        raise SourceError(f"{path}: {info.name!r} leads out of the tar")
    if not 0 <= info.size <= MAX_MEMBER_BYTES:
        raise SourceError(f"{path}: {info.name!r} claims to hold {info.size} bytes")
