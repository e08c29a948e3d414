"""The command line as its users meet it: real processes, their output and exit codes."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pytest
import soundfile
import toy
from virtual_sound_card import VirtualSoundCard

from edge_audio.backends import installed_backends
from edge_audio.bundle import Bundle, Manifest, load_bundle, save_bundle, shipped_bundles
from edge_audio.cli import OWN_COMMANDS
from edge_audio.cli.loop import SILENCE_DBFS, level_dbfs

COMMAND = [sys.executable, "-m", "edge_audio"]
HANG_S = 120  # reached only by what never ends
SAMPLES = toy.noise(80_000)  # 5 s at 16 kHz
Record = dict[str, Any]


def run(
    *arguments: object, stdin: bytes = b"", ok: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs edge-audio to its end; `ok` expects exit code 0."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=HANG_S,
        check=False,
        env={**os.environ, **environment},
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    if ok:
        assert done.returncode == 0, stderr
    return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)


def error_line(done: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """The one line on stderr of a command that must have failed in order."""
    assert done.returncode == exit_code, done.stderr
    assert re.fullmatch(r"edge-audio: error: [^\n]+\n", done.stderr)
    return done.stderr


def records(text: str) -> list[Record]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def listening(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A running `edge-audio listen` with pipes; it is killed if it outlives the test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen([*COMMAND, "listen", *map(str, arguments)], **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("litert_torch", reason="needs the export extra to build the toy model")
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy", **toy.exported())


@pytest.fixture
def model(bundle: Bundle) -> Sequence[object]:
    return ("--model", bundle.path)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "bursts.wav"
    soundfile.write(path, SAMPLES, 16_000, subtype="PCM_16")
    return path


# The group: help, version, errors


def test_help_lists_every_command_with_a_summary() -> None:
    text = run("--help").stdout
    for name in OWN_COMMANDS:
        assert re.search(rf"^  {name} +\w+", text, re.MULTILINE), name
    for entry in entry_points(group="edge_audio.commands"):
        assert re.search(rf"^  {entry.name}\b", text, re.MULTILINE), entry.name


def test_help_imports_neither_runtimes_nor_numpy_nor_siblings_commands() -> None:
    code = """
import sys
from edge_audio.cli import main
sys.argv = ["edge-audio", "--help"]
try:
    main()
except SystemExit:
    names = "numpy torch onnxruntime ai_edge_litert sounddevice rich distill.cli quantize.cli"
    print([name for name in names.split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", OWN_COMMANDS)
def test_each_command_explains_every_option(name: str) -> None:
    command = OWN_COMMANDS[name].load()
    unexplained = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []
    assert command.help.splitlines()[0] in run(name, "--help", COLUMNS="200").stdout


def test_without_a_command_it_shows_the_help() -> None:
    assert run().stdout == run("--help").stdout


def test_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"edge-audio \d+\.\d+\.\d+\n", run("--version").stdout)


def test_numpy_gets_one_thread_unless_the_user_says_otherwise() -> None:
    code = "import edge_audio.cli, os, sys; print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    for extra, threads in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, **extra},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().strip() == threads


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["tag"],
        ["listen", "--format", "xml"],
        ["listen", "--duration", "0"],
        ["listen", "--backend", "abacus"],
        ["inspect"],
    ],
)
def test_wrong_usage_exits_2_with_one_line(arguments: list[str]) -> None:
    assert "--help)" in error_line(run(*arguments, ok=False), 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--source", "missing.wav"], "missing.wav"),
        (["--source", "demo", "--only", "Bnd 1"], "'Band 1'"),
        (["--source", "demo", "--only", "Band 11"], "--threshold"),
        (["--source", "demo", "--threshold", "high"], "LABEL=VALUE"),
        (["--source", "demo", "--threshold", "1.5"], "1.5"),
        (["--source", "demo", "--threshold", "nan"], "nan"),
        (["--source", "demo", "--device", "0"], "--source mic"),
        (["--source", "demo", "--rate", "8000"], "--source -"),
    ],
)
def test_wrong_requests_exit_2_and_say_what_to_change(
    model: Sequence[object], arguments: list[str], expected: str
) -> None:
    assert expected in error_line(run("listen", *model, *arguments, ok=False), 2)


def test_failures_exit_1_with_one_line(model: Sequence[object], tmp_path: Path) -> None:
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF\0\0\0\0WAVE nothing of the kind")
    failing = (
        ("listen", "--model", tmp_path / "none"),
        ("listen", *model, "--source", tmp_path / "corrupt.wav"),
        ("listen", *model, "--source", "-"),  # stdin is empty
        ("inspect", tmp_path),
    )
    for arguments in failing:
        error_line(run(*arguments, ok=False), 1)


def test_debug_shows_where_an_error_arose(tmp_path: Path) -> None:
    done = run("--debug", "inspect", tmp_path, ok=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "load_bundle" in done.stderr


def test_missing_extra_names_the_install_command(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from edge_audio.cli import main
sys.argv = ["edge-audio", "distill", "--recipe", sys.argv[1]]
main()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pip install 'edge-audio[train]'" in error_line(done, 1)


# listen


def test_listen_writes_valid_json_lines_with_scores_for_every_step(
    model: Sequence[object], wav: Path
) -> None:
    done = run("listen", *model, "--source", wav, "--format", "jsonl", "--top", 3)
    found = records(done.stdout)
    steps = [record for record in found if record["kind"] == "scores"]
    events = [record for record in found if record["kind"] != "scores"]
    assert events
    assert {frozenset(record) for record in events} == {
        frozenset({"time_s", "kind", "label", "score"})
    }
    assert len(steps) == 62  # whole steps in 5 s; the last 40 ms were padded without a line
    for record in steps:
        scores = [top["score"] for top in record["top"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    assert [record["time_s"] for record in steps] == sorted(record["time_s"] for record in steps)


def test_every_start_has_its_end(model: Sequence[object], wav: Path) -> None:
    events = records(run("listen", *model, "--source", wav, "--format", "jsonl").stdout)
    for label in {event["label"] for event in events}:
        kinds = [event["kind"] for event in events if event["label"] == label]
        assert kinds == ["start", "end"] * (len(kinds) // 2)


def test_listen_hears_the_same_in_a_file_and_on_a_pipe(model: Sequence[object], wav: Path) -> None:
    from_file = run("listen", *model, "--source", wav, "--format", "jsonl", "--top", 12)
    from_pipe = run(
        *("listen", *model, "--source", "-", "--format", "jsonl", "--top", 12),
        stdin=SAMPLES.tobytes(),
    )
    assert records(from_file.stdout) == records(from_pipe.stdout)


def test_listen_understands_the_format_of_a_pipe(model: Sequence[object], wav: Path) -> None:
    stereo = np.repeat(SAMPLES.astype("<f4") / 32768, 2).tobytes()
    mono = run("listen", *model, "--source", wav, "--format", "jsonl")
    options = ("--rate", 16000, "--sample-format", "f32le", "--channels", 2)
    both = run("listen", *model, "--source", "-", "--format", "jsonl", *options, stdin=stereo)
    assert records(both.stdout) == records(mono.stdout)


def test_listen_gives_the_same_events_on_every_backend(model: Sequence[object], wav: Path) -> None:
    found = [
        [
            (event["kind"], event["label"], event["time_s"])
            for event in records(
                run(*arguments, "--source", wav, "--format", "jsonl", *model).stdout
            )
        ]
        for arguments in (("listen", "--backend", name) for name in installed_backends())
    ]
    assert found[0]
    assert all(events == found[0] for events in found)


def test_listen_without_a_terminal_writes_text(model: Sequence[object], wav: Path) -> None:
    live = run("listen", *model, "--source", wav, FORCE_COLOR="1")
    text = run("listen", *model, "--source", wav, "--format", "text")
    assert live.stdout == text.stdout
    pattern = re.compile(r" *\d+:\d\d\.\d\d  (start|end  )  Band \d  [01]\.\d\d")
    assert text.stdout.splitlines()
    assert all(pattern.fullmatch(line) for line in text.stdout.splitlines())


def test_listen_sums_up_on_stderr(model: Sequence[object], wav: Path) -> None:
    done = run("listen", *model, "--source", wav, "--format", "jsonl")
    n_starts = sum(event["kind"] == "start" for event in records(done.stdout))
    pattern = (
        rf"edge-audio: 5\.0 s of audio, {n_starts} events, load \d+\.\d% of one core, "
        r"0 overflows, 0 samples dropped\n"
    )
    assert re.fullmatch(pattern, done.stderr)


def test_duration_ends_listening_to_the_sample(model: Sequence[object]) -> None:
    options = ("--source", "demo", "--no-realtime", "--format", "jsonl", "--top", 1)
    done = run("listen", *model, *options, "--duration", 2.5)
    assert "2.5 s of audio" in done.stderr
    assert records(done.stdout)[-1]["time_s"] <= 2.5
    longer = run("listen", *model, *options, "--duration", 5)
    assert longer.stdout.startswith(done.stdout[: done.stdout.rindex('{"time_s"') // 2])


def test_realtime_takes_as_long_as_the_audio(model: Sequence[object], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", SAMPLES[:24_000], 16_000)
    start_s = time.monotonic()
    run("listen", *model, "--source", tmp_path / "short.wav", "--realtime")
    assert time.monotonic() - start_s >= 1.5


def heard_labels(model: Sequence[object], wav: Path, *options: object) -> set[str]:
    done = run("listen", *model, "--source", wav, "--format", "jsonl", *options)
    return {event["label"] for event in records(done.stdout)}


def test_only_exclude_and_threshold_choose_what_is_reported(
    model: Sequence[object], wav: Path
) -> None:
    usual = heard_labels(model, wav)
    assert len(usual) > 3
    assert "Band 11" not in usual
    assert heard_labels(model, wav, "--only", "band 2", "--only", "Band 3") == {"Band 2", "Band 3"}
    assert heard_labels(model, wav, "--exclude", "Band 2") == usual - {"Band 2"}
    assert heard_labels(model, wav, "--threshold", "Band 11=0.2") == usual | {"Band 11"}
    assert heard_labels(model, wav, "--only", "Band 11", "--threshold", "0.2") == {"Band 11"}
    assert heard_labels(model, wav, "--threshold", "1.0") == set()
    own = ("--threshold", "1.0", "--threshold", "Band 4=0.5", "--only", "band 4")
    assert heard_labels(model, wav, *own) == {"Band 4"}


def test_only_holds_for_the_top_labels_too(model: Sequence[object], wav: Path) -> None:
    options = ("--format", "jsonl", "--top", 5, "--only", "Band 2", "--only", "Band 7")
    done = run("listen", *model, "--source", wav, *options)
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
    assert re.fullmatch(r"edge-audio: [\d.]+ s of audio, [^\n]+ dropped\n", stderr)


def test_a_signal_ends_waiting_for_a_silent_pipe(model: Sequence[object]) -> None:
    options = ("--source", "-", "--format", "jsonl", "--top", 1)
    with listening(*model, *options, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.buffer.write(SAMPLES[:16_000].tobytes())
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
        screen += read_terminal(master, until="samples dropped\r\n")
    os.close(master)
    frame = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    for part in ("edge-audio toy on demo", "dBFS", "load", "overflows", "events", "quiet room"):
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


# tag


def test_tag_finds_the_events_that_listen_reports(model: Sequence[object], wav: Path) -> None:
    events = records(run("listen", *model, "--source", wav, "--format", "jsonl").stdout)
    (tags,) = records(run("tag", *model, "--format", "jsonl", wav).stdout)
    for kind in ("start", "end"):
        listened = sorted((e["time_s"], e["label"]) for e in events if e["kind"] == kind)
        tagged = sorted((e[f"{kind}_s"], e["label"]) for e in tags["events"])
        assert tagged == listened
    assert tags["duration_s"] == 5.0
    assert tags["path"] == str(wav)


def test_tag_ranks_labels_by_their_highest_score(model: Sequence[object], wav: Path) -> None:
    listened = run("listen", *model, "--source", wav, "--format", "jsonl", "--top", 12)
    highest: dict[str, float] = {}
    for record in records(listened.stdout):
        for entry in record.get("top", ()):
            highest[entry["label"]] = max(highest.get(entry["label"], 0.0), entry["score"])
    (tags,) = records(run("tag", *model, "--format", "jsonl", "--top", 12, wav).stdout)
    assert {entry["label"]: entry["score"] for entry in tags["top"]} == highest
    scores = [entry["score"] for entry in tags["top"]]
    assert scores == sorted(scores, reverse=True)


def test_tag_formats_agree_on_the_events(model: Sequence[object], wav: Path) -> None:
    (tags,) = records(run("tag", *model, "--format", "jsonl", wav).stdout)
    expected = [(e["start_s"], e["end_s"], e["label"]) for e in tags["events"]]
    assert expected
    rows = list(csv.DictReader(run("tag", *model, "--format", "csv", wav).stdout.splitlines()))
    assert list(rows[0]) == ["path", "start_s", "end_s", "label", "score"]
    assert [(float(r["start_s"]), float(r["end_s"]), r["label"]) for r in rows] == expected
    track = run("tag", *model, "--format", "audacity", wav).stdout.splitlines()
    fields = [line.split("\t") for line in track]
    assert [(float(start), float(end), label) for start, end, label in fields] == expected
    text = run("tag", *model, wav).stdout
    assert all(label in text for _, _, label in expected)


def test_tag_reports_bad_files_and_goes_on_with_the_rest(
    model: Sequence[object], wav: Path, tmp_path: Path
) -> None:
    corrupt, missing, empty = (tmp_path / f"{name}.wav" for name in ("corrupt", "missing", "empty"))
    corrupt.write_bytes(b"not audio")
    soundfile.write(empty, np.zeros(0, np.float32), 16_000)
    done = run("tag", *model, "--format", "jsonl", corrupt, wav, missing, empty, wav, ok=False)
    assert done.returncode == 1
    first, second = records(done.stdout)
    assert first == second
    lines = done.stderr.splitlines()
    assert [path.name in line for path, line in zip((corrupt, missing, empty), lines, strict=True)]
    assert all(line.startswith("edge-audio: error: ") for line in lines)


def test_tag_starts_every_file_afresh_and_walks_folders(
    model: Sequence[object], wav: Path, tmp_path: Path
) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("b.wav", "a.wav", "deeper/c.WAV"):
        shutil.copy(wav, tmp_path / name)
    (tmp_path / "notes.txt").write_text("not audio")
    found = records(run("tag", *model, "--format", "jsonl", tmp_path).stdout)
    names = [str(Path(tags.pop("path")).relative_to(tmp_path)) for tags in found]
    assert names == ["a.wav", "b.wav", "deeper/c.WAV"]
    assert found[0] == found[1] == found[2]


def test_tag_refuses_a_label_track_of_several_files(model: Sequence[object], wav: Path) -> None:
    error_line(run("tag", *model, "--format", "audacity", wav, wav, ok=False), 2)


# models, inspect, verify, devices


def test_models_lists_what_is_shipped() -> None:
    done = run("models", ok=False)
    if not shipped_bundles():
        assert "ships no model" in error_line(done, 1)
    for name in shipped_bundles():
        (line,) = [line for line in done.stdout.splitlines() if line.split()[0] == name]
        thresholds = load_bundle(name).manifest.events.thresholds
        assert f"{len(thresholds)} of 527" in line


def test_inspect_shows_every_tensor_label_and_file(bundle: Bundle) -> None:
    text = run("inspect", bundle.path).stdout
    manifest = bundle.manifest
    names = [tensor.name for tensor in (manifest.model.frames, *manifest.model.state)]
    for name in [*names, *manifest.labels, *manifest.files]:
        assert re.search(rf"\b{re.escape(name)}\b", text), name
    assert "state in all 608 bytes" in text  # 12 + 12 + 64 + 64 float32


def test_inspect_json_is_the_manifest(bundle: Bundle) -> None:
    text = run("inspect", bundle.path, "--json").stdout
    assert msgspec.json.decode(text, type=Manifest) == bundle.manifest


def test_verify_passes_on_every_installed_backend(bundle: Bundle) -> None:
    lines = run("verify", bundle.path).stdout.splitlines()
    for name in installed_backends():
        assert any(line.split()[0] == name and line.split()[-1] == "ok" for line in lines)


def test_verify_fails_where_the_replay_differs(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    golden = toy.golden()
    other = type(golden)(golden.samples, golden.frames, golden.scores * np.float32(0.9))
    save_bundle(tmp_path / "other", bundle.manifest, {**files, "golden.npz": other.to_bytes()})
    done = run("verify", tmp_path / "other", ok=False)
    assert done.returncode == 1
    assert "scores" in done.stdout
    assert "Traceback" not in done.stderr


def test_verify_names_an_altered_file(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "altered")
    path = tmp_path / "altered" / "CARD.md"
    path.write_bytes(b"x" * path.stat().st_size)
    assert "CARD.md" in error_line(run("verify", tmp_path / "altered", ok=False), 1)


def test_devices_lists_the_microphone_of_a_sound_card(
    virtual_sound_card: VirtualSoundCard,
) -> None:
    done = run("devices", **virtual_sound_card.environment)
    assert re.search(r"^ *\d+ +room ", done.stdout, re.MULTILINE)
    assert done.stderr == ""
