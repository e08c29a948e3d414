"""Each kind of input is heard or refused as docs/inputs.md says."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.audio_file import AudioFile
from edge_audio.sources.base import Block
from edge_audio.sources.pcm import StdinPcm
from edge_audio.sources.piped_wav import wav_form
from tests.support import inputs
from tests.support.command_line import records, run
from tests.support.inputs import CUT, HEARD, INPUTS, MEDIA, Input
from tests.support.paths import REPOSITORY

EDGES_S = 0.12  # what encoders put before and after, and what is lost of a frame
# Their index is at their end, or their size at their beginning
NOT_PIPED = (
    *("a.mov", "b.mov", "a.m4a", "b.m4a", "a.mp4", "a.3gp"),
    *("b.rf64", "b.w64", "b.aiff", "b.au", "a.caf", "b.caf"),
)
# Of what was joined some are heard to the end of the first; ffmpeg looks for tags behind WavPack
PIPED = [x for x in INPUTS if x.outcome == HEARD and "joined" not in x.what and x.name != "a.wv"]
FILES = [one for one in INPUTS if one.outcome != "refused, exit 1"]


@pytest.fixture(params=INPUTS, ids=lambda one: one.what)
def given(request: pytest.FixtureRequest) -> Input:
    one: Input = request.param
    return one


def put(folder: Path, one: Input) -> Path:
    if one.by == MEDIA or one.name.endswith((".mp3", ".mp2")):
        pytest.importorskip("av", reason="makes the input")
    path = folder / one.name
    path.write_bytes(one.make())
    return path


def hear(path: Path) -> tuple[list[Block], str]:
    """What was heard, and what was wrong."""
    blocks: list[Block] = []
    try:
        with AudioFile(path, block_ms=100.0) as source:
            blocks.extend(source.blocks())
    except SourceError as error:
        return blocks, str(error)
    return blocks, ""


def test_an_input_is_heard_as_the_page_says(given: Input, tmp_path: Path) -> None:
    blocks, problem = hear(put(tmp_path, given))
    assert bool(problem) == (given.outcome != HEARD), problem
    assert given.says in problem
    if given.outcome not in (HEARD, CUT):
        assert not blocks
        return
    samples = np.concatenate([block.samples for block in blocks])
    assert len(samples) / 16_000 == pytest.approx(given.seconds, abs=EDGES_S)
    ends = np.cumsum([len(block.samples) for block in blocks])
    assert [block.time_s for block in blocks] == pytest.approx([0, *ends[:-1] / 16_000])
    middle = samples[4_000 : 4_000 + 8_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 500
    level = np.sqrt(2 * np.mean(middle**2))
    assert level == pytest.approx(0.5, rel=given.level_tolerance)


def piped(data: bytes) -> tuple[list[Block], str]:
    """What was heard of it on standard input, and what was wrong."""
    blocks: list[Block] = []
    try:
        with StdinPcm(io.BytesIO(data)) as source:
            blocks.extend(source.blocks())
    except SourceError as error:
        return blocks, str(error)
    return blocks, ""


@pytest.mark.parametrize("one", PIPED, ids=lambda one: one.what)
def test_a_file_on_standard_input_is_heard_as_such(one: Input, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="decodes most of them")
    blocks, problem = piped(put(tmp_path, one).read_bytes())
    if one.name in NOT_PIPED:
        assert "give its path: some kinds cannot be read from a pipe" in problem
        assert not blocks
        return
    assert not problem
    samples = np.concatenate([block.samples for block in blocks])
    assert len(samples) / 16_000 == pytest.approx(one.seconds, abs=EDGES_S)
    middle = samples[4_000 : 4_000 + 8_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 500


@pytest.mark.parametrize("name", ["a.wav", "a.aac", "a.webm"])
def test_a_file_that_was_cut_says_so_on_standard_input(name: str, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="makes the input")
    (one,) = (x for x in INPUTS if x.name == name)
    blocks, problem = piped(inputs.cut(one.make()))
    assert sum(len(block.samples) for block in blocks) / 16_000 == pytest.approx(1.8, abs=EDGES_S)
    assert "truncated" in problem


@pytest.mark.parametrize("one", FILES, ids=lambda one: one.what)
def test_without_the_extra_a_file_on_standard_input_is_no_bare_samples(
    one: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = put(tmp_path, one).read_bytes()
    monkeypatch.setattr("edge_audio.sources.pcm.has_media", lambda: False)
    if wav_form(data):  # needs no decoder
        assert piped(data)[0]
        return
    with pytest.raises(UsageError, match=r"not raw PCM; pip install 'edge-audio\[media\]'"):
        piped(data)


def test_floats_beyond_full_scale_in_a_pipe_are_scaled(tmp_path: Path) -> None:
    tone = inputs.tone()[:, 0]
    for loud, level in ((tone * 30_000.0, 0.9155), (tone, 0.5)):
        file = io.BytesIO()
        soundfile.write(file, loud, 16_000, format="WAV", subtype="FLOAT")
        heard = np.concatenate([block.samples for block in piped(file.getvalue())[0]])
        assert np.abs(heard[1_600:]).max() == pytest.approx(level, rel=0.01)


def test_tag_keeps_what_listen_prints_of_a_file_that_was_cut(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(bursts_wav.read_bytes()[:-9_000])
    listened = run("listen", *model, "--source", path, "--format", "jsonl", ok=False)
    tagged = run("tag", *model, path, "--format", "jsonl", ok=False)
    assert (listened.returncode, tagged.returncode) == (1, 1)
    starts = [(e["label"], e["time_s"]) for e in records(listened.stdout) if e["kind"] == "start"]
    (found,) = records(tagged.stdout)
    assert starts
    assert sorted((e["label"], e["start_s"]) for e in found["events"]) == sorted(starts)
    assert found["duration_s"] == pytest.approx(4.7, abs=0.1)
    for said in (listened.stderr, tagged.stderr, found["error"]):
        assert "truncated: it ends after 4.7 s" in said


def test_tables_hold_what_was_heard_of_a_file_that_was_cut(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(bursts_wav.read_bytes()[:-9_000])
    done = run("tag", *model, path, "--out", tmp_path / "out.csv", "--jobs", 1, ok=False)
    assert done.returncode == 1
    (row,) = csv.DictReader((tmp_path / "out-files.csv").read_text().splitlines())
    assert float(row["duration_s"]) == pytest.approx(4.7, abs=0.1)
    assert "truncated" in row["error"]
    n_events = len((tmp_path / "out.csv").read_text().splitlines()) - 1
    assert int(row["n_events"]) == n_events > 0


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.wma", "a.amr", "noise.ts"])
def test_without_the_extra_a_message_names_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = {"a.mp4": b"\0\0\0\x20ftypisom", "a.webm": b"\x1a\x45\xdf\xa3", "a.amr": b"#!AMR\n"}
    heads["a.wma"] = bytes.fromhex("3026b2758e66cf11")
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / name).write_bytes(heads.get(name, b"") + bytes(range(256)) * 8)
    blocks, problem = hear(tmp_path / name)
    assert not blocks
    assert "pip install 'edge-audio[media]'" in problem


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name, data in (("a.wav", inputs.mp3()), ("b.mp3", inputs.encoded("ipod", "aac"))):
        (tmp_path / name).write_bytes(data)
        blocks, problem = hear(tmp_path / name)
        assert not problem
        assert sum(len(block.samples) for block in blocks) > 40_000


def test_a_size_beyond_all_disks_hides_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    damaged = inputs.stated(inputs.encoded("asf", "wmav2"), 46, "<Q", 2**50)
    (tmp_path / "a.wma").write_bytes(damaged)
    blocks, problem = hear(tmp_path / "a.wma")
    assert not problem
    assert sum(len(block.samples) for block in blocks) > 40_000
    assert capfd.readouterr().err == ""


def test_a_list_of_other_files_opens_none_of_them(tmp_path: Path) -> None:
    """Demuxers that follow names are not among those that are looked for."""
    pytest.importorskip("av")
    (tmp_path / "secret.wav").write_bytes(inputs.written("WAV"))
    secret = tmp_path / "secret.wav"
    lists = {
        "a.ts": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        assert hear(tmp_path / name)[0] == []


def test_floats_beyond_full_scale_are_scaled_unless_they_are_clicks(tmp_path: Path) -> None:
    tone = inputs.tone()[:, 0]
    for loud, level in ((tone * 30_000.0, 0.9155), (tone * 3.0, 0.75), (tone, 0.5)):
        soundfile.write(tmp_path / "loud.wav", loud, 16_000, "FLOAT")
        blocks, problem = hear(tmp_path / "loud.wav")
        assert not problem
        heard = np.concatenate([block.samples for block in blocks])
        assert np.abs(heard).max() == pytest.approx(level, rel=0.01)
    tone[::30_000] = 1e30
    soundfile.write(tmp_path / "clicks.wav", tone, 16_000, "FLOAT")
    heard = np.concatenate([block.samples for block in hear(tmp_path / "clicks.wav")[0]])
    np.testing.assert_array_equal(heard, np.clip(tone, -1.0, 1.0))


def test_a_folder_says_what_it_leaves_out(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    (tmp_path / "named.wav").mkdir()
    for name in ("a.wav", "named.wav/b.wav", "._a.wav", "empty.wav", "talk.m4a"):
        (tmp_path / name).write_bytes(bursts_wav.read_bytes() if name[0] in "an" else b"")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
    done = run("tag", *model, tmp_path, "--format", "jsonl", ok=False)
    assert done.returncode == 1
    assert [Path(one["path"]).name for one in records(done.stdout)] == ["a.wav", "b.wav"]
    said = done.stderr
    assert "named.wav is a folder" in said
    assert "1 files in" in said
    assert "pipe.wav is a pipe or device" in said or not hasattr(os, "mkfifo")
    assert "empty.wav is empty" in said
    assert "talk.m4a is empty" in said
    assert len(said.splitlines()) == 5


@pytest.mark.parametrize("place", ["flag", "settings", "pipe"])
def test_a_channel_is_chosen(
    place: str, model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    samples = soundfile.read(bursts_wav, dtype="int16")[0]
    silent = np.zeros_like(samples)
    soundfile.write(tmp_path / "right.wav", np.stack([silent, samples], 1), 16_000)
    (tmp_path / "right.raw").write_bytes(np.stack([silent, samples], 1).astype("<i2").tobytes())

    def heard(channel: str) -> list[dict[str, Any]]:
        source: tuple[object, ...] = ("--source", tmp_path / "right.wav", "--channel", channel)
        if place == "settings":
            lines = ["[[source]]", f"url = '{tmp_path}/right.wav'", f"channel = '{channel}'"]
            (tmp_path / "a.toml").write_text("\n".join(lines))
            source = ("--config", tmp_path / "a.toml")
        if place == "pipe":
            source = ("--source", "-", "--channels", 2, "--channel", channel)
        stdin = (tmp_path / "right.raw").read_bytes()
        done = run("listen", *model, *source, "--format", "jsonl", stdin=stdin)
        return records(done.stdout)

    alone = run("listen", *model, "--source", bursts_wav, "--format", "jsonl").stdout
    expected = [(one["label"], one["time_s"]) for one in records(alone)]
    assert expected
    assert [(one["label"], one["time_s"]) for one in heard("right")] == expected
    assert heard("left") == []


def test_tag_hears_the_channel_that_is_chosen(
    model: Sequence[object], bursts_wav: Path, tmp_path: Path
) -> None:
    samples = soundfile.read(bursts_wav, dtype="int16")[0]
    path = tmp_path / "right.wav"
    soundfile.write(path, np.stack([np.zeros_like(samples), samples], 1), 16_000)

    def tag(channel: str) -> tuple[int, list[dict[str, Any]], str]:
        command = ("tag", *model, path, "--channel", channel, "--format", "jsonl")
        done = run(*command, ok=False)
        return done.returncode, records(done.stdout), done.stderr

    (alone,) = records(run("tag", *model, bursts_wav, "--format", "jsonl").stdout)
    assert alone["events"]
    assert tag("right")[1][0]["events"] == alone["events"]
    assert tag("left")[1][0]["events"] == []
    code, found, said = tag("3")
    assert (code, found) == (1, [])
    assert f"{path} has no channel 3: it has 2" in said
    code, found, said = tag("middle")
    assert (code, found) == (2, [])
    assert "'middle' is none of mix, loudest, left, right" in said


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"), AudioFile(tmp_path):
        pass
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        with pytest.raises(UsageError, match="is a pipe"), AudioFile(tmp_path / "pipe.wav"):
            pass


def test_the_page_is_written_from_these_inputs(tmp_path: Path) -> None:
    program, page = REPOSITORY / "docs" / "inputs.py", tmp_path / "inputs.md"
    subprocess.run([sys.executable, program, page], check=True, cwd=tmp_path)
    committed = (REPOSITORY / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == committed, "python docs/inputs.py writes it anew"
