"""Members of tars are read where they lie, and hostile or damaged tars are refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.tars import MAX_MEMBER_BYTES, container_of, exists, read_bytes, tar_members
from edge_audio.errors import SourceError


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


def add_all(names: Sequence[str], tar: tarfile.TarFile) -> None:
    for name in names:
        add(tar, name)


def make_tar(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, "w") as tar:
        fill(tar)
    return path


def test_members_are_read_where_they_lie(tmp_path: Path) -> None:
    contents = {"a.wav": b"first", "folder/b.wav": b"", "c.json": b"x" * 10_000}

    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "folder", b"", type=tarfile.DIRTYPE)
        for name, content in contents.items():
            add(tar, name, content)

    path = make_tar(tmp_path / "a.tar", fill)
    assert {name: read_bytes(path / name) for name in tar_members(path)} == contents
    assert exists(path / "a.wav")
    assert not exists(path / "b.wav")
    with pytest.raises(SourceError, match=r"no member b\.wav"):
        read_bytes(path / "b.wav")


def test_rewritten_tar_is_read_anew(tmp_path: Path) -> None:
    for content in (b"one", b"another"):
        path = make_tar(tmp_path / "a.tar", lambda tar: add(tar, "a", content))  # noqa: B023
        assert read_bytes(path / "a") == content


def link(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    return lambda tar: add(tar, "a.wav", b"", type=kind, linkname="/etc/passwd")


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (link(tarfile.SYMTYPE), "neither a plain file"),
        (link(tarfile.LNKTYPE), "neither a plain file"),
        (link(tarfile.CHRTYPE), "neither a plain file"),
        (link(tarfile.FIFOTYPE), "neither a plain file"),
        (lambda tar: add(tar, "/etc/passwd"), "leads out"),
        (lambda tar: add(tar, "a/../../b.wav"), "leads out"),
        (partial(add_all, ["a.wav", "a.wav"]), "twice"),
    ],
)
def test_hostile_member_makes_the_tar_refused(
    tmp_path: Path, fill: Callable[[tarfile.TarFile], None], message: str
) -> None:
    path = make_tar(tmp_path / "a.tar", fill)
    with pytest.raises(SourceError, match=message):
        tar_members(path)


@pytest.mark.parametrize("size", [MAX_MEMBER_BYTES + 1, 10**12, -512, -(10**12)])
def test_member_that_claims_an_absurd_size_is_refused(tmp_path: Path, size: int) -> None:
    info = tarfile.TarInfo("a.wav")
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(header + bytes(10_240))
    with pytest.raises(SourceError):
        tar_members(tmp_path / "a.tar")


def test_tar_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", lambda tar: add(tar, "a.wav", bytes(5_000)))
    path.write_bytes(path.read_bytes()[:3_000])
    with pytest.raises(SourceError):
        tar_members(path)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_compressed_tar_is_refused(tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as tar:  # type: ignore[call-overload]
        add(tar, "a.wav")
    with pytest.raises(SourceError, match="no uncompressed tar"):
        tar_members(tmp_path / "a.tar")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=12))
def test_no_damage_gives_anything_but_members_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = make_tar(folder / "a.tar", partial(add_all, ["a", "b", "c"]))
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content)
    try:
        members = tar_members(path)
    except SourceError:
        return
    for member in members.values():
        assert 0 <= member.offset <= member.offset + member.n_bytes <= len(content)


def test_clips_of_one_tar_are_of_one_shard_and_files_of_their_own() -> None:
    assert (
        container_of("a/b.tar/c.wav")
        == container_of("a/b.tar/d/e.wav")
        != container_of("a/c.tar/c.wav")
    )
    assert len({container_of(path) for path in ("a/b.wav", "a/c.wav", "a/b.tar/c.wav")}) == 3
