"""Files that change or are odd while a run reads its settings again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND
from tests.support.command_line import run as command
from tests.support.peers import eventually, free_port
from tests.support.reloading import Run, json_log, logged, running

DEMO = 'format = "none"\n[[source]]\nurl = "demo"\n'


def assert_it_listens(log: Path) -> None:
    n_before = len(logged(log))
    eventually(lambda: len(logged(log)) > n_before + 5)


@pytest.mark.parametrize("settings", [{}, {"level_every_s": 0.5}])
def test_a_log_that_others_rotated_goes_on_in_a_new_file(
    tmp_path: Path, settings: dict[str, float]
) -> None:
    log, old = tmp_path / "log.jsonl", tmp_path / "log.jsonl-1"
    with running(tmp_path, DEMO + json_log(log)) as run:
        eventually(lambda: len(logged(log)) > 5)
        log.rename(old)
        run.reload(DEMO + json_log(log, **settings))
        assert_it_listens(log)
        size = old.stat().st_size
        log.unlink()
        run.reload(DEMO + json_log(log, **settings))
        assert_it_listens(log)
        run.stop()
    assert old.stat().st_size == size


def test_a_reload_that_fails_leaves_no_empty_file_behind(tmp_path: Path) -> None:
    log, other, dead = tmp_path / "log.jsonl", tmp_path / "other", tmp_path / "dead"
    hook = f"[webhook]\nurl = 'http://127.0.0.1:{free_port()}/'\n"
    kept = DEMO + json_log(log)
    with running(tmp_path, kept + hook) as run, socket.create_server(("127.0.0.1", 0)) as taken:
        eventually(lambda: len(logged(log)) > 5)
        port = f"[metrics]\nport = {taken.getsockname()[1]}\n"
        letters = f"dead_letter = {json.dumps(str(dead))}\n"
        failed = DEMO + json_log(other) + hook + letters + port
        run.reload(failed, "settings stay as they were")
        moved = tmp_path / "moved"
        log.rename(moved)
        run.reload(kept + hook + port, "settings stay as they were")
        assert not log.exists()
        n_before = len(logged(moved))
        eventually(lambda: len(logged(moved)) > n_before)
        run.reload(kept + port, "settings stay as they were")
        assert not {path.name for path in tmp_path.iterdir()} & {"other", "dead", "log.jsonl"}
        run.stop()


@pytest.mark.parametrize("content", ["", " \n\t\n"])
def test_settings_without_a_word_change_nothing(tmp_path: Path, content: str) -> None:
    log = tmp_path / "log.jsonl"
    with running(tmp_path, DEMO + json_log(log)) as run:
        eventually(lambda: len(logged(log)) > 5)
        assert "home.toml is empty" in run.reload(content, "settings stay as they were")
        assert_it_listens(log)
        run.stop()


def test_settings_from_a_pipe_stay_as_they_were(tmp_path: Path) -> None:
    log, said, settings = tmp_path / "log.jsonl", tmp_path / "stderr", tmp_path / "settings"
    settings.write_text(DEMO + json_log(log))
    command = f'exec "$@" listen --config <(cat {settings})'
    with said.open("w") as stderr:
        process = subprocess.Popen(["bash", "-c", command, "bash", *COMMAND], stderr=stderr)
    try:
        eventually(lambda: len(logged(log)) > 5)
        run = Run(process, tmp_path / "unread", said)  # type: ignore[arg-type]
        assert "it is a pipe" in run.reload("", "settings stay as they were")
        assert_it_listens(log)
        run.stop()
    finally:
        process.kill()
        process.wait()


def test_pipes_in_the_place_of_files_are_named_and_not_waited_for(tmp_path: Path) -> None:
    log, pipe = tmp_path / "log.jsonl", tmp_path / "pipe"
    os.mkfifo(pipe)
    kept = DEMO + json_log(log)
    web = "[webhook]\nurl = 'https://127.0.0.1:9/'\n"
    broker = "[mqtt]\nhost = '127.0.0.1'\n"
    with running(tmp_path, kept) as run:
        eventually(lambda: len(logged(log)) > 5)
        for text in (
            f"{kept}{broker}username = 'u'\npassword_file = '{pipe}'\n",
            f"{kept}{broker}tls = true\nca_file = '{pipe}'\n",
            f"{kept}{web}bearer_file = '{pipe}'\n",
            f"{kept}{web}ca_file = '{pipe}'\n",
            f"{kept}{web}dead_letter = '{pipe}'\n",
            DEMO + json_log(pipe),
        ):
            said = run.reload(text, "settings stay as they were")
            assert f"{pipe}: it is a pipe" in said
            assert_it_listens(log)
        run.stop()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--webhook", "http://[::1"), "--webhook url is no address: Invalid IPv6 URL"),
        (("--metrics", "٩٤٠٠"), "--metrics '٩٤٠٠' names no port"),
        (("--json", ""), "--json has no value"),
        (("--clips", ""), "--clips has no value"),
        (("--source", "serial:/dev/x@٩٦٠٠", "--check"), "no serial port '/dev/x@٩٦٠٠'"),  # no rate
    ],
)
def test_what_is_wrong_with_a_flag_names_it(flags: tuple[str, ...], reason: str) -> None:
    done = command(
        *(("listen", "--source", "demo") if "--check" not in flags else ("listen",)),
        *flags,
        ok=False,
    )
    assert reason in done.stdout + done.stderr
