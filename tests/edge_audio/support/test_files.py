"""Files and folders are replaced as a whole, whatever ends the writer, and whenever."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from edge_audio.errors import EdgeAudioError
from edge_audio.support import files
from edge_audio.support.files import (
    file_draft,
    folder_draft,
    recover_folder,
    replace_file,
    write_atomically,
)
from tests.support.interruptions import interrupted_at, killed_at, steps

OLD, NEW = b"old" * 5000, b"new" * 7000
STEPS_IN = (files.__file__,)
Write = Callable[[Path], None]


def write_file(path: Path) -> None:
    replace_file(path, NEW)


def write_folder(path: Path) -> None:
    with folder_draft(path) as draft:
        fill(draft, NEW)


def fill(folder: Path, content: bytes) -> None:
    (folder / "inner").mkdir(parents=True)
    for name in ("a", "inner/c"):
        (folder / name).write_bytes(content)


def content_of(path: Path) -> bytes | None:
    """What a reader finds: the content that all files have. None = nothing is there."""
    recover_folder(path)
    if not path.exists():
        return None
    if path.is_file():
        return path.read_bytes()
    (content,) = {(path / name).read_bytes() for name in ("a", "inner/c")}
    assert {file.name for file in path.rglob("*")} == {"a", "inner", "c"}
    return content


@pytest.fixture(params=["at once", "in two steps"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a system that exchanges two names at once."""
    if request.param == "in two steps":
        monkeypatch.setattr(files, "_renameat2", lambda: None)


@pytest.mark.parametrize("stopped_at", [killed_at, interrupted_at])
@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.usefixtures("exchange")
def test_a_writer_that_is_stopped_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, write: Write, stopped_at: Callable[..., bool]
) -> None:
    found = set()
    for step, folder in steps(tmp_path):
        path = folder / "target"
        if write is write_file:
            path.write_bytes(OLD)
        else:
            fill(path, OLD)
        was_stopped = stopped_at(step, STEPS_IN, partial(write, path))
        found.add(content := content_of(path))
        assert content in (OLD, NEW), f"lost at step {step}"
        if not was_stopped:
            assert content == NEW
            break
    assert step > 20
    assert found == {OLD, NEW}


@pytest.mark.parametrize("stopped_at", [killed_at, interrupted_at])
@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_writer_that_is_stopped_where_nothing_was_leaves_nothing_or_the_new(
    tmp_path: Path, write: Write, stopped_at: Callable[..., bool]
) -> None:
    for step, folder in steps(tmp_path):
        path = folder / "target"
        was_stopped = stopped_at(step, STEPS_IN, partial(write, path))
        assert content_of(path) in ((None, NEW) if was_stopped else (NEW,))
        if not was_stopped:
            break


@pytest.mark.parametrize("name", ["replace", "rename", "fsync", "chmod"])
@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.usefixtures("exchange")
def test_a_call_that_fails_leaves_the_old_and_no_rest(
    tmp_path: Path, write: Write, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "target"
    if write is write_file:
        path.write_bytes(OLD)
    else:
        fill(path, OLD)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        try:
            write(path)
        except OSError:
            written = OLD
        else:
            written = NEW  # this way of writing needs no such call
    assert content_of(path) == written
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.usefixtures("exchange")
def test_many_writers_at_once_leave_one_of_their_contents(tmp_path: Path, write: Write) -> None:
    path, errors = tmp_path / "target", []

    def work() -> None:
        try:
            for _ in range(20):
                write(path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert content_of(path) == NEW
    assert os.listdir(tmp_path) == ["target"]


def test_a_reader_beside_a_writer_never_sees_half_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "target"
    write_folder(path)
    done = threading.Event()

    def work() -> None:
        for _ in range(50):
            write_folder(path)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        assert path.is_dir()
    thread.join()


def test_permissions_stay_as_they_were_or_as_they_are_given(tmp_path: Path) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        replace_file(path, b"1")
        assert mode(path) == 0o640
        path.chmod(0o444)
        replace_file(path, b"2")
        assert mode(path) == 0o444
        replace_file(path, b"3", mode=0o600)
        assert mode(path) == 0o600
    finally:
        os.umask(before)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    write_folder(folder)
    assert mode(folder) == 0o700


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    with file_draft(tmp_path / "secret", mode=0o600) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600


def test_a_folder_takes_the_place_of_a_file_and_of_a_link_but_not_of_what_it_leads_to(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "target", tmp_path / "other"
    path.write_bytes(OLD)
    write_folder(path)
    assert content_of(path) == NEW
    fill(other, OLD)
    link = tmp_path / "link"
    link.symlink_to(other)
    write_folder(link)
    assert (content_of(link), content_of(other)) == (NEW, OLD)
    assert sorted(os.listdir(tmp_path)) == ["link", "other", "target"]


def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    for write, name in ((write_file, "f" * 255), (write_folder, "ü" * 127)):
        write(tmp_path / name)
        assert content_of(tmp_path / name) == NEW


@pytest.mark.usefixtures("exchange")
def test_dots_in_a_path_mean_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "here", OLD)
    monkeypatch.chdir(tmp_path / "here")
    write_folder(Path("inner", ".."))
    assert content_of(tmp_path / "here") == NEW


def test_what_killed_writers_left_long_ago_is_deleted_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "target"
    for step in range(30, 60, 10):
        assert killed_at(step, STEPS_IN, partial(write_folder, path))
    (tmp_path / ".target.01234567.old").mkdir()
    foreign = tmp_path / ".target.unfinished"
    foreign.touch()
    replace_file(tmp_path / "early", b"")
    n_before = len(os.listdir(tmp_path))  # their writers may still be alive
    monkeypatch.setattr(files, "_STALE_S", -1.0)
    files._delete_stale_drafts.cache_clear()  # noqa: SLF001 - once a process
    write_folder(path)
    assert n_before > 3
    assert set(os.listdir(tmp_path)) == {"target", "early", foreign.name}


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "stdout"
    link.symlink_to(os.devnull)
    replace_file(link, NEW)
    assert link.is_symlink()


def test_an_error_for_people_says_where_and_why(tmp_path: Path) -> None:
    with pytest.raises(EdgeAudioError, match=r"cannot write .*none/file: No such file.*; name a"):
        write_atomically(tmp_path / "none" / "file", b"")
