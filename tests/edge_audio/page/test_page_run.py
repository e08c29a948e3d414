"""The page of a real run: what is changed there holds at once, and not a frame is lost."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import psutil

from edge_audio.listening.settings_file import load_config
from tests.support.command_line import error_line, listening, run
from tests.support.open_page import Answer, Browser, Events
from tests.support.peers import eventually, free_port
from tests.support.reloading import json_log, logged, running

SETTINGS = """\
format = "none"
[[source]]
url = "demo"   # a scene
[events]
thresholds = {Dog = 0.02} # everything
[page]
port = %d
"""


def opened(port: int, process: subprocess.Popen[str]) -> Browser:
    browser = Browser(port)

    def answers() -> bool:
        assert process.poll() is None
        try:
            return browser.get("status").status == 200
        except OSError:
            return False

    eventually(answers)
    browser.take_token()
    return browser


def change(browser: Browser, label: str, **wanted: object) -> Answer:
    return browser.ask("PUT", f"labels/{label}", wanted)


def test_changes_go_into_the_file_and_hold_at_once_without_a_lost_frame(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    text = SETTINGS % port + json_log(log)
    with running(tmp_path, text) as started:
        browser = opened(port, started.process)
        assert browser.get("labels/Dog").json["threshold"] == 0.02
        assert change(browser, "dog", threshold=0.99).status == 204
        assert browser.get("labels/Dog").json["threshold"] == 0.99
        path = tmp_path / "home.toml"
        assert "thresholds = {Dog = 0.99} # everything" in path.read_text()
        assert "# a scene" in path.read_text()
        assert change(browser, "Cap%20gun", is_on=True).status == 204
        assert browser.get("labels/Cap gun".replace(" ", "%20")).json["is_on"]

        live = Events(browser)
        assert browser.ask("POST", "run", {"is_paused": True, "sensitivity": "eager"}).status == 204
        status = next(x for kind, x in live if kind == "status" and x["is_paused"])
        assert status["sensitivity"] == "eager"
        live.close()
        assert change(browser, "Dog", threshold=0.98).status == 204
        assert browser.get("status").json["sensitivity"] == "eager"  # another change keeps it

        path.write_text("[events\n")
        answer = change(browser, "Dog", threshold=0.5)
        assert answer.status == 409
        assert "home.toml" in answer.error
        path.write_text(text)
        every = [x.laddr.port for x in psutil.Process(started.process.pid).net_connections("inet")]
        assert set(every) == {port}
        said = started.stop()
    assert "nothing lost" in said
    steps = [x["time_s"] for x in logged(log) if x["kind"] == "scores"]
    gaps = {round(b - a, 3) for a, b in pairwise(steps)}
    assert gaps == {0.08}
    assert "Dog: threshold 0.99 (by 127.0.0.1)" in said
    assert f"open http://127.0.0.1:{port}/" in said


def test_without_a_file_changes_hold_for_this_run(tmp_path: Path) -> None:
    port = free_port()
    flags = ("--source", "demo", "--format", "none", "--page", port, "--threshold", "Dog=0.02")
    with listening(*flags) as process:
        browser = opened(port, process)
        assert change(browser, "Dog", threshold=0.9).status == 204
        assert browser.get("labels/Dog").json["threshold"] == 0.9
        answer = change(browser, "Unicorn", threshold=0.9)
        assert answer.status == 404
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "nothing lost" in process.stderr.read()


def test_flags_that_make_no_page_say_why(tmp_path: Path) -> None:
    told = error_line(run("listen", "--source", "demo", "--page", "0.0.0.0:8470", ok=False), 2)
    assert "needs a password" in told
    assert re.search(r"edge-audio password", told)
    (tmp_path / "home.toml").write_text("[page]\nport = 8470\n")
    assert load_config(tmp_path / "home.toml").page is not None
    assert "names no port" in error_line(run("listen", "--page", "localhost", ok=False), 2)
