"""`edge-audio learn` and `sounds`, as users call them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

from edge_audio.bundle.store import Bundle
from edge_audio.cli.learn_live import go_through, record_takes
from edge_audio.errors import SourceError, UsageError
from edge_audio.sounds.file import read_sounds
from edge_audio.support.arrays import FloatArray
from tests.support.command_line import error_line, reports, run
from tests.support.taught import RATE_HZ, beeps, bundle_with_negatives, write_beeps


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_with_negatives(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def house(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of sounds that has learned the oven."""
    folder = tmp_path_factory.mktemp("house")
    path = folder / "house.sounds"
    done = run("learn", "Oven", *write_beeps(folder), "--sounds", path, *model(bundle))
    assert "3 of 3 takes are found by what the others taught" in done.stderr
    assert done.stdout.startswith(f"{path}: Oven, 3 takes\n")
    hint = shlex.join(["--sounds", str(path), *map(str, model(bundle))])
    assert f"listen for it: edge-audio listen {hint}\n" in done.stdout
    return path


def model(bundle: Bundle) -> list[object]:
    return ["--model", bundle.path, "--backend", "native"]


def test_listen_and_tag_report_what_was_learned(
    bundle: Bundle, house: Path, tmp_path: Path
) -> None:
    heard = tmp_path / "evening.wav"
    soundfile.write(heard, np.concatenate([np.zeros(RATE_HZ), beeps(7)]), RATE_HZ)
    done = run(
        *("listen", "--source", heard, "--sounds", house, "--only", "oven", "--format", "jsonl"),
        *model(bundle),
    )
    events = [x for x in reports(done.stdout) if x.get("type", x.get("kind")) in ("start", "end")]
    assert events
    assert {x["label"] for x in events} == {"Oven"}
    assert "Oven" in run("tag", heard, "--sounds", house, *model(bundle)).stdout
    tried = run("sounds", "test", heard, "--sounds", house, *model(bundle)).stdout
    assert "  Oven  highest 0." in tried


def test_false_alarms_of_a_log_raise_the_threshold_of_what_was_learned(
    bundle: Bundle, house: Path, tmp_path: Path
) -> None:
    heard, log, kept = tmp_path / "evening.wav", tmp_path / "log.jsonl", house.read_bytes()
    soundfile.write(heard, np.concatenate([np.zeros(RATE_HZ), beeps(7)]), RATE_HZ)
    run("listen", "--source", heard, "--sounds", house, "--json", log, *model(bundle))
    refused = run("learn", "Oven", "--negatives", log, "--sounds", house, *model(bundle), ok=False)
    assert "is a log, without sound: edge-audio tune" in error_line(refused, 2)
    done = run("tune", log, "--all-false", "--sounds", house, *model(bundle))
    assert "left aside" not in done.stderr
    raised = re.search(r'^"Oven" = (.+)$', done.stdout, re.MULTILINE)
    assert raised is not None, done.stdout
    assert float(raised[1]) > 0.5
    alone = run("tune", log, "--all-false", *model(bundle))
    assert "Oven" not in alone.stdout
    assert "events of Oven are left aside: the model has no such label" in alone.stderr
    assert house.read_bytes() == kept


def test_sounds_are_listed_renamed_exported_imported_and_removed(
    house: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / "copy.sounds", tmp_path / "other.sounds"
    path.write_bytes(house.read_bytes())
    assert "Oven" in run("sounds", "list", "--sounds", path).stdout
    run("sounds", "rename", "oven", "Stove", "--sounds", path)
    run("sounds", "export", "Stove", "--out", other, "--sounds", path)
    run("sounds", "import", house, "--sounds", path)
    assert [x.name for x in read_sounds(path).sounds] == ["Stove", "Oven"]
    assert [x.name for x in read_sounds(other).sounds] == ["Stove"]
    again = run("sounds", "import", house, "--sounds", path, ok=False)
    assert "has a sound 'Oven' already" in error_line(again, 2)
    run("sounds", "remove", "Stove", "--sounds", path)
    assert [x.name for x in read_sounds(path).sounds] == ["Oven"]
    known = run("sounds", "rename", "Oven", " dog", "--sounds", path, ok=False)
    assert "'dog' is a label of the model: choose another name" in error_line(known, 2)
    itself = run("sounds", "export", "Oven", "--out", path, "--sounds", path, ok=False)
    assert "is the file itself" in error_line(itself, 2)
    assert [x.name for x in read_sounds(path).sounds] == ["Oven"]


def test_nothing_to_learn_from_is_wrong_usage(bundle: Bundle, tmp_path: Path) -> None:
    done = run("learn", "Oven", "--sounds", tmp_path / "h.sounds", *model(bundle), ok=False)
    assert "no recordings of 'Oven'" in error_line(done, 2)


def test_a_sound_is_told_more_without_new_takes(
    bundle: Bundle, house: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy.sounds"
    path.write_bytes(house.read_bytes())
    near = write_beeps(tmp_path, 1, "near", pitch_hz=1_900.0)
    run(
        "learn", "oven", "--not", *near, "--parent", "Beep, bleep", "--sounds", path, *model(bundle)
    )
    (sound,) = read_sounds(path).sounds
    assert (len(sound.takes), len(sound.others), sound.parent) == (3, 1, "Beep, bleep")


def answers(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    waiting = iter(given)
    monkeypatch.setattr(click, "prompt", lambda *_, **__: next(waiting))


def test_the_microphone_keeps_what_the_user_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([beeps(0), np.zeros(RATE_HZ, np.float32), beeps(1), beeps(2)])
    played: list[int] = []
    answers(monkeypatch, "", "y", "", "", "n", "", "y", "q")
    kept = record_takes(
        None, 2.0, RATE_HZ, lambda *_: next(made), lambda samples, _: played.append(len(samples))
    )
    assert [one.name for one in kept] == ["take 1", "take 2"]
    np.testing.assert_array_equal(kept[1].samples, beeps(2))
    assert len(played) == 3
    made = iter([beeps(0)])

    def breaks(*_: object) -> FloatArray:
        if (samples := next(made, None)) is None:
            raise SourceError("it was unplugged")
        return samples

    answers(monkeypatch, "", "y", "")
    kept = record_takes(None, 2.0, RATE_HZ, breaks, lambda *_: None)
    assert [one.name for one in kept] == ["take 1"]
    answers(monkeypatch, "")
    with pytest.raises(SourceError, match="unplugged"):
        record_takes(None, 2.0, RATE_HZ, breaks, lambda *_: None)
    answers(monkeypatch, "q")
    with pytest.raises(UsageError, match="no take was kept"):
        record_takes(None, 2.0, RATE_HZ)


def test_clips_are_gone_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for seed in range(4):
        soundfile.write(tmp_path / f"00000{seed}-Beep.flac", beeps(seed), RATE_HZ)
    answers(monkeypatch, "y", "n", "p", "s", "q")
    was_it, was_not = go_through(tmp_path, RATE_HZ, lambda *_: None)
    assert (len(was_it), len(was_not)) == (1, 1)
    answers(monkeypatch, "n", "q")
    assert [len(clips) for clips in go_through(tmp_path, RATE_HZ, lambda *_: None)] == [0, 1]
    answers(monkeypatch, "q")
    with pytest.raises(UsageError, match="no clip was it"):
        go_through(tmp_path, RATE_HZ, lambda *_: None)


def test_answers_that_end_early_are_kept_and_clips_that_have_gone_are_left_out(
    bundle: Bundle, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "000000-Beep.flac", beeps(0), RATE_HZ)
    soundfile.write(tmp_path / "000001-Beep.flac", beeps(1), RATE_HZ)
    (tmp_path / "000002-Beep.flac").symlink_to("nowhere.flac")
    sounds = tmp_path / "house.sounds"
    run("learn", "Beep", "--from", tmp_path, "--sounds", sounds, *model(bundle), stdin=b"y\n")
    (sound,) = read_sounds(sounds).sounds
    assert len(sound.takes) == 1
