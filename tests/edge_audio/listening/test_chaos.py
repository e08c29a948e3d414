"""Listening goes on through what befalls a machine that nobody looks after."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
import time
from pathlib import Path

import soundfile

from edge_audio.sources.demo import DemoScene
from tests.support.command_line import listening
from tests.support.peers import eventually, files_below, free_port, peer_of
from tests.support.shipped import clearest
from tests.support.virtual_sound_card import VirtualSoundCard

RATE_HZ = 16_000


def heard_s(log: Path) -> float:
    """How much audio the latest record of a log speaks of."""
    lines = log.read_text().splitlines() if log.exists() else []
    return float(json.loads(lines[-1])["time_s"]) if lines else 0.0


def settings(folder: Path, *extra: str) -> Path:
    """A log with a record for every 0.2 s of the microphone, and more."""
    path = folder / "home.toml"
    log = json.dumps(str(folder / "log.jsonl"))
    path.write_text("\n".join(['format = "none"', *extra, f"[json]\npath = {log}", "top = 1"]))
    return path


def stop(process: subprocess.Popen[str]) -> str:
    """Ends it as systemd does; what it said."""
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stderr


def test_a_process_that_is_stopped_for_seconds_goes_on(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    environment = virtual_sound_card.environment
    with listening("--config", settings(tmp_path), env=environment) as process:
        eventually(lambda: heard_s(log) > 1.0)
        process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        before_s = heard_s(log)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: heard_s(log) > before_s + 2.0)
        stop(process)
    times_s = [json.loads(line)["time_s"] for line in log.read_text().splitlines()]
    assert times_s == sorted(times_s)


def test_two_processes_share_one_microphone(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    environment = virtual_sound_card.environment
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    first, second = (("--config", settings(folder)) for folder in folders)
    with listening(*first, env=environment) as a, listening(*second, env=environment) as b:
        eventually(lambda: min(heard_s(folder / "log.jsonl") for folder in folders) > 2.0)
        stop(a)
        before_s = heard_s(folders[1] / "log.jsonl")
        eventually(lambda: heard_s(folders[1] / "log.jsonl") > before_s + 1.0)
        stop(b)


def test_several_microphones_are_heard_by_one_process(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    sources = '[[source]]\nname = "hall"\n', '[[source]]\nname = "yard"\ndevice = "room"\n'
    path = settings(tmp_path, *sources)
    with listening("--config", path, env=virtual_sound_card.environment) as process:
        eventually(lambda: heard_s(log) > 2.0)
        stderr = stop(process)
    streams = {json.loads(line)["stream"] for line in log.read_text().splitlines()}
    assert streams == {"hall", "yard"}
    assert "hall: " in stderr
    assert "yard: " in stderr


def test_a_kill_while_recording_leaves_readable_files(tmp_path: Path) -> None:
    log, clips = tmp_path / "log.jsonl", tmp_path / "clips"
    extra = (
        clearest(8.0).settings,
        '[[source]]\nurl = "demo"',
        f"[clips]\nfolder = {json.dumps(str(clips))}\nrecord = true",
    )
    path = settings(tmp_path, *extra)
    with listening("--config", path) as process:
        eventually(lambda: files_below(clips, ".part") and heard_s(log) > 5.5)
        process.kill()
        process.wait()
    assert not list(clips.rglob("*.flac"))  # it was on its way
    with listening("--config", path, "--duration", 1) as process:
        process.communicate(timeout=60)
    (clip,) = clips.rglob("*.flac")
    samples, rate_hz = soundfile.read(clip)
    assert len(samples) > rate_hz
    assert [json.loads(line) for line in log.read_text().splitlines()]


def test_dead_destinations_do_not_hold_up_the_microphone(
    virtual_sound_card: VirtualSoundCard, tmp_path: Path
) -> None:
    """A web server that takes connections and never answers, and a broker that is not there."""
    log, port, is_over = tmp_path / "log.jsonl", free_port(), threading.Event()
    with peer_of(lambda _: is_over.wait()) as web_port:
        extra = (
            clearest(8.0).settings,
            f'[webhook]\nurl = "http://127.0.0.1:{web_port}/"',
            f"[mqtt]\nport = {free_port()}",
            f"[metrics]\nport = {port}",
        )
        path = settings(tmp_path, *extra)
        with listening("--config", path, env=virtual_sound_card.environment) as process:
            eventually(lambda: heard_s(log) > 1.0)
            virtual_sound_card.play(DemoScene(RATE_HZ).first(8.0), RATE_HZ).wait()
            eventually(lambda: '"kind": "end"' in log.read_text())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
            stderr = stop(process)
        is_over.set()
    assert 'edge_audio_lost_seconds_total{stream="mic"} 0.0' in page
    assert " nothing lost" in stderr
    assert 'edge_audio_destination_problem{destination="mqtt localhost"} 1.0' in page
