"""A folder that is built again keeps what its user changed, and nothing else of what was there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_audio.errors import EdgeAudioError, UsageError
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.folder.codegen import Firmware
from firmware_bridge.folder.edits import RECORD_NAME, read_record, write_record
from firmware_bridge.target_table import TARGETS
from tests.firmware_bridge.firmware_runs import (
    LABELS,
    Make,
    open_sensitive,
    require_command,
    run_program,
)
from tests.support.command_line import run

MINE = "/* for my board */\n"
Again = Callable[[], Firmware]


@pytest.fixture
def folder(make: Make, tmp_path: Path) -> Path:
    """A CMake folder to be changed."""
    return copied(make, "cmake", tmp_path)


def copied(make: Make, target: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(make("micro-int8", target).path, tmp_path / target))


def again(folder: Path) -> Firmware:
    """Built for fewer labels, so that some of what is generated is new."""
    bundle = open_sensitive("micro-int8")
    return build_firmware(bundle, TARGETS[folder.name], folder, LABELS[:2])


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def change(path: Path) -> bytes:
    path.write_bytes(MINE.encode() + path.read_bytes())
    return path.read_bytes()


def test_files_that_a_board_is_adapted_in_are_kept(folder: Path) -> None:
    main, lists = change(folder / "port" / "main.c"), change(folder / "CMakeLists.txt")
    made = again(folder)
    assert (folder / "port" / "main.c").read_bytes() == main
    assert (folder / "CMakeLists.txt").read_bytes() == lists
    assert "#define EA_LABELS 2\n" in (folder / "src" / "edge_audio_image.h").read_text()
    assert made.edits.kept == ("CMakeLists.txt", "port/main.c")
    assert not list(folder.rglob("*.new"))
    assert again(folder).edits.kept == made.edits.kept  # and once more


def test_own_files_are_kept_but_not_what_a_build_left(folder: Path) -> None:
    (folder / "port" / "uart.c").write_text(MINE)
    (folder / "app").mkdir()
    (folder / "app" / "app.c").write_text(MINE)
    (folder / "latest").symlink_to("app/app.c")
    (folder / "build").mkdir()
    (folder / "build" / "x.o").write_text("")
    made = again(folder)
    assert made.edits.added == ("app/app.c", "latest", "port/uart.c")
    assert (folder / "port" / "uart.c").read_text() == MINE
    assert (folder / "latest").is_symlink()
    assert not (folder / "build").exists()


def test_a_new_version_of_a_changed_file_lies_beside_it_until_it_was_taken(folder: Path) -> None:
    generated = (folder / "port" / "main.c").read_bytes()
    record = read_record(folder)
    assert record is not None
    write_record(folder, {**record, "port/main.c": "0" * 64})  # of an older version
    mine = change(folder / "port" / "main.c")
    assert again(folder).edits.renewed == ("port/main.c",)
    assert (folder / "port" / "main.c").read_bytes() == mine
    assert (folder / "port" / "main.c.new").read_bytes() == generated
    assert again(folder).edits.renewed == ()
    assert not (folder / "port" / "main.c.new").exists()


def test_what_has_to_fit_the_model_is_replaced_and_the_change_put_aside(folder: Path) -> None:
    config, readme = folder / "src" / "edge_audio_config.h", folder / "README.md"
    mine, read = change(config), change(readme)
    made = again(folder)
    assert made.edits.set_aside == ("README.md", "src/edge_audio_config.h")
    assert MINE not in config.read_text()
    assert Path(f"{config}.old").read_bytes() == mine
    assert Path(f"{readme}.old").read_bytes() == read


def test_what_was_put_aside_before_is_not_lost(folder: Path) -> None:
    config = folder / "src" / "edge_audio_config.h"
    edits = []
    for _ in range(3):
        edits.append(change(config))
        assert again(folder).edits.set_aside == ("src/edge_audio_config.h",)
    names = ("old", "old.2", "old.3")
    assert [Path(f"{config}.{name}").read_bytes() for name in names] == edits


def test_a_new_version_takes_no_name_of_a_users_file(folder: Path) -> None:
    generated = (folder / "port" / "main.c").read_bytes()
    record = read_record(folder)
    assert record is not None
    write_record(folder, {**record, "port/main.c": "0" * 64})  # of an older version
    change(folder / "port" / "main.c")
    (folder / "port" / "main.c.new").write_text(MINE)
    assert again(folder).edits.added == ("port/main.c.new",)
    assert (folder / "port" / "main.c.new").read_text() == MINE
    assert (folder / "port" / "main.c.new.2").read_bytes() == generated


def test_a_file_in_the_place_of_a_generated_folder_is_put_aside(folder: Path) -> None:
    shutil.rmtree(folder / "test")
    (folder / "test").write_text(MINE)
    assert again(folder).edits.set_aside == ("test",)
    assert (folder / "test.old").read_text() == MINE


def test_a_link_to_the_folder_stays(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "links" / "cmake"
    link.parent.mkdir()
    link.symlink_to(folder)
    mine = change(folder / "port" / "main.c")
    made = again(link)
    assert made.path == link
    assert link.readlink() == folder
    assert "#define EA_LABELS 2\n" in (folder / "src" / "edge_audio_image.h").read_text()
    assert (folder / "port" / "main.c").read_bytes() == mine
    assert [path.name for path in link.parent.iterdir()] == ["cmake"]


def test_a_linked_port_is_refused_by_its_name(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "port", tmp_path / "board")
    (folder / "port").symlink_to("../board")
    before = files(folder)
    with pytest.raises(UsageError, match=r"cmake/port is a link"):
        again(folder)
    assert (folder / "port").is_symlink()
    assert files(folder) == before


def test_an_unchanged_folder_becomes_what_a_new_one_would_be(folder: Path, tmp_path: Path) -> None:
    record = read_record(folder)
    assert record is not None
    (folder / "src" / "mixer_of_old.c").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    write_record(folder, {**record, "src/mixer_of_old.c": empty})
    again(folder)
    new = tmp_path / "new" / "cmake"
    again(new)
    assert files(folder) == files(new)
    assert run_program(
        ["sh", "-c", f"cd {folder} && {require_command('sha256sum', 'coreutils')} -c {RECORD_NAME}"]
    )


def test_a_folder_of_an_older_version_loses_nothing_of_its_port(folder: Path) -> None:
    (folder / RECORD_NAME).unlink()
    mine = change(folder / "port" / "main.c")
    (folder / "port" / "uart.c").write_text(MINE)
    (folder / "src" / "mixer_of_old.c").write_text("")
    made = again(folder)
    assert made.edits.set_aside == ("port/main.c",)
    assert (folder / "port" / "main.c.old").read_bytes() == mine
    assert made.edits.added == ("port/uart.c",)
    assert not (folder / "src" / "mixer_of_old.c").exists()


def test_programs_are_built_from_what_was_kept(make: Make, tmp_path: Path) -> None:
    folder = copied(make, "cortex-m4", tmp_path)
    main = folder / "port" / "main.c"
    main.write_text(main.read_text().replace("cannot open the recording", "no microphone here"))
    mine = main.read_bytes()
    (folder / "edge_audio.elf").write_bytes(b"built by make")
    again(folder)
    assert b"no microphone here" in (folder / "edge_audio.elf").read_bytes()
    assert not list(folder.rglob("*.old"))
    main.write_bytes(mine + b"#error\n")
    before = files(folder)
    with pytest.raises(EdgeAudioError, match=r"port/main\.c"):
        again(folder)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["cortex-m4"]


def test_the_command_says_what_became_of_the_changes(folder: Path) -> None:
    change(folder / "port" / "main.c")
    change(folder / "src" / "stream.c")
    (folder / "notes.txt").write_text(MINE)
    text = run("firmware", "build", "micro-int8", "--target", "cmake", "--out", folder).stdout
    assert "kept as you changed them: port/main.c\n" in text
    assert "replaced; what you had changed lies beside them as NAME.old: src/stream.c\n" in text
    assert "your own files, kept: notes.txt\n" in text
