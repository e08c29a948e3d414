"""`edge-audio listen` as its users meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import pytest
import soundfile

from edge_audio.backends import backends_for
from edge_audio.bundle.store import load_bundle
from edge_audio.sources.stream import SILENCE_DBFS, level_dbfs
from tests.support.command_line import HANG_S, SAMPLES, listening, records, reports, run
from tests.support.virtual_sound_card import VirtualSoundCard


def test_listen_writes_valid_json_lines_with_scores_for_every_step(
    model: Sequence[object], bursts_wav: Path
) -> None:
    done = run("listen", *model, "--source", bursts_wav, "--format", "jsonl", "--top", 3)
    found = records(done.stdout)
    steps = [record for record in found if record["kind"] == "scores"]
    events = [record for record in found if record["kind"] != "scores"]
    assert events
    assert {frozenset(record) for record in events} == {
        frozenset({"time_s", "stream", "kind", "label", "score"})
    }
    assert len(steps) == 62  # whole steps in 5 s; the last 40 ms were padded without a line
    for record in steps:
        scores = [top["score"] for top in record["top"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    assert [record["time_s"] for record in steps] == sorted(record["time_s"] for record in steps)


def test_every_start_has_its_end(model: Sequence[object], bursts_wav: Path) -> None:
    events = records(run("listen", *model, "--source", bursts_wav, "--format", "jsonl").stdout)
    for label in {event["label"] for event in events}:
        kinds = [event["kind"] for event in events if event["label"] == label]
        assert kinds == ["start", "end"] * (len(kinds) // 2)


def test_listen_hears_the_same_in_a_file_and_on_a_pipe(
    model: Sequence[object], bursts_wav: Path
) -> None:
    from_file = run("listen", *model, "--source", bursts_wav, "--format", "jsonl", "--top", 12)
    from_pipe = run(
        *("listen", *model, "--source", "-", "--format", "jsonl", "--top", 12),
        stdin=SAMPLES.tobytes(),
    )
    assert reports(from_file.stdout) == reports(from_pipe.stdout)


def test_listen_understands_the_format_of_a_pipe(model: Sequence[object], bursts_wav: Path) -> None:
    stereo = np.repeat(SAMPLES.astype("<f4") / 32768, 2).tobytes()
    mono = run("listen", *model, "--source", bursts_wav, "--format", "jsonl")
    options = ("--rate", 16000, "--sample-format", "f32le", "--channels", 2)
    both = run("listen", *model, "--source", "-", "--format", "jsonl", *options, stdin=stereo)
    assert reports(both.stdout) == reports(mono.stdout)


def test_listen_gives_the_same_events_on_every_backend(
    model: Sequence[object], bursts_wav: Path
) -> None:
    runtimes = backends_for(load_bundle(str(model[1])))
    found = [
        [
            (event["kind"], event["label"], event["time_s"])
            for event in records(
                run(*arguments, "--source", bursts_wav, "--format", "jsonl", *model).stdout
            )
        ]
        for arguments in (("listen", "--backend", name) for name in runtimes)
    ]
    assert found[0]
    assert all(events == found[0] for events in found)


def test_listen_without_a_terminal_writes_text(model: Sequence[object], bursts_wav: Path) -> None:
    live = run("listen", *model, "--source", bursts_wav, env={"FORCE_COLOR": "1"})
    text = run("listen", *model, "--source", bursts_wav, "--format", "text")
    assert live.stdout == text.stdout
    pattern = re.compile(r" *\d+:\d\d\.\d\d  (start|end  )  Band \d  [01]\.\d\d")
    assert text.stdout.splitlines()
    assert all(pattern.fullmatch(line) for line in text.stdout.splitlines())


def test_listen_sums_up_on_stderr(model: Sequence[object], bursts_wav: Path) -> None:
    done = run("listen", *model, "--source", bursts_wav, "--format", "jsonl")
    n_starts = sum(event["kind"] == "start" for event in records(done.stdout))
    pattern = (
        rf"edge-audio: 5\.0 s of audio, {n_starts} events, load \d+\.\d% of one core, "
        r"nothing lost\n"
    )
    assert re.fullmatch(pattern, done.stderr)


def test_duration_ends_listening_to_the_sample(model: Sequence[object]) -> None:
    options = ("--source", "demo", "--no-realtime", "--format", "jsonl", "--top", 1)
    done = run("listen", *model, *options, "--duration", 2.5)
    assert "2.5 s of audio" in done.stderr
    assert records(done.stdout)[-1]["time_s"] <= 2.5
    longer = run("listen", *model, *options, "--duration", 5)
    steps, more = ([r for r in records(x.stdout) if "top" in r] for x in (done, longer))
    assert len(steps) == 31  # 2.5 s hold the first window and 31 steps of 80 ms
    assert more[:31] == steps


def test_realtime_takes_as_long_as_the_audio(model: Sequence[object], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", SAMPLES[:24_000], 16_000)
    start_s = time.monotonic()
    run("listen", *model, "--source", tmp_path / "short.wav", "--realtime")
    assert time.monotonic() - start_s >= 1.5


def heard_labels(model: Sequence[object], bursts_wav: Path, *options: object) -> set[str]:
    done = run("listen", *model, "--source", bursts_wav, "--format", "jsonl", *options)
    return {event["label"] for event in records(done.stdout)}


def test_only_exclude_and_threshold_choose_what_is_reported(
    model: Sequence[object], bursts_wav: Path
) -> None:
    usual = heard_labels(model, bursts_wav)
    assert len(usual) > 3
    assert "Band 11" not in usual
    assert heard_labels(model, bursts_wav, "--only", "band 2", "--only", "Band 3") == {
        "Band 2",
        "Band 3",
    }
    assert heard_labels(model, bursts_wav, "--exclude", "Band 2") == usual - {"Band 2"}
    assert heard_labels(model, bursts_wav, "--threshold", "Band 11=0.2") == usual | {"Band 11"}
    assert heard_labels(model, bursts_wav, "--only", "Band 11", "--threshold", "0.2") == {"Band 11"}
    assert heard_labels(model, bursts_wav, "--threshold", "1.0") == set()
    own = ("--threshold", "1.0", "--threshold", "Band 4=0.5", "--only", "band 4")
    assert heard_labels(model, bursts_wav, *own) == {"Band 4"}


def test_only_holds_for_the_top_labels_too(model: Sequence[object], bursts_wav: Path) -> None:
    options = ("--format", "jsonl", "--top", 5, "--only", "Band 2", "--only", "Band 7")
    done = run("listen", *model, "--source", bursts_wav, *options)
    tops = [record["top"] for record in records(done.stdout) if record["kind"] == "scores"]
    assert {frozenset(entry["label"] for entry in top) for top in tops} == {
        frozenset({"Band 2", "Band 7"})
    }


def test_a_reader_that_leaves_ends_listening_quietly(model: Sequence[object]) -> None:
    options = ("--source", "demo", "--no-realtime", "--format", "jsonl", "--top", 1)
    with listening(*model, *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(HANG_S) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_listening_between_lines_with_a_summary(
    model: Sequence[object], kind: signal.Signals
) -> None:
    options = ("--source", "demo", "--no-realtime", "--format", "jsonl", "--top", 12)
    with listening(*model, *options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.send_signal(kind)  # amid a flood of lines
        stdout, stderr = first + process.stdout.read(), process.stderr.read()
        assert process.wait(HANG_S) == 0
    assert stdout.endswith("\n")
    assert records(stdout)
    assert re.fullmatch(r"edge-audio: [\d.]+ s of audio, [^\n]+ nothing lost\n", stderr)


def test_a_signal_ends_waiting_for_a_silent_pipe(model: Sequence[object]) -> None:
    options = ("--source", "-", "--format", "jsonl", "--top", 1)
    with listening(*model, *options, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        cast("TextIO", process.stdin).buffer.write(SAMPLES[:16_000].tobytes())
        process.stdin.flush()
        while json.loads(process.stdout.readline())["time_s"] < 0.95:
            pass  # until all of the second has been heard
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0
        assert process.stderr is not None
        assert "1.0 s of audio" in process.stderr.read()


def test_live_view_draws_labels_level_and_cost_into_a_terminal(model: Sequence[object]) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with listening(
        *model, "--source", "demo", "--top", 4, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        screen = read_terminal(master, until="Band 0")
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0
        screen += read_terminal(master, until="nothing lost\r\n")
    os.close(master)
    frame = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    for part in ("edge-audio toy on demo", "dBFS", "load", "nothing lost", "events", "quiet room"):
        assert part in frame
    assert "\x1b[?25h" in screen  # the cursor is back


def read_terminal(master: int, until: str) -> str:
    text = ""
    deadline_s = time.monotonic() + HANG_S
    while until not in text:
        assert time.monotonic() < deadline_s, text
        if select.select([master], [], [], 1.0)[0]:
            text += os.read(master, 65536).decode(errors="replace")
    return text


def test_listen_hears_the_microphone_and_says_when_it_is_gone(
    model: Sequence[object], virtual_sound_card: VirtualSoundCard
) -> None:
    noise = np.random.default_rng(0).standard_normal(32_000) * 0.3
    options = ("--source", "auto", "--format", "jsonl", "--top", 1)
    with listening(*model, *options, env=virtual_sound_card.environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["kind"] == "scores"  # it listens
        virtual_sound_card.play(noise.astype(np.float32), 16_000)
        while json.loads(process.stdout.readline())["kind"] != "start":
            pass
        virtual_sound_card.kill()
        *_, last = records(process.stdout.read())
        assert process.wait(HANG_S) == 1
        assert last["kind"] == "end"
        assert re.fullmatch(r"edge-audio: error: microphone [^\n]+\n", process.stderr.read())


def test_auto_without_a_microphone_says_so_and_plays_the_demo(model: Sequence[object]) -> None:
    if not run("devices").stdout.startswith("no audio inputs"):
        pytest.skip("this machine has a microphone")
    done = run("listen", *model, "--source", "auto", "--duration", 1, "--no-realtime")
    note, summary = done.stderr.splitlines()
    assert "demo" in note
    assert "1.0 s of audio" in summary


def test_level_is_relative_to_full_scale() -> None:
    assert level_dbfs(np.full(100, 0.1, np.float32)) == pytest.approx(-20.0)
    assert level_dbfs(np.zeros(100, np.float32)) == SILENCE_DBFS
    assert level_dbfs(np.zeros(0, np.float32)) == SILENCE_DBFS
