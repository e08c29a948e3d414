"""Thresholds from recordings and logs: what was a false alarm is not heard again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.tune import show
from edge_audio.errors import UsageError
from edge_audio.sources.demo import DemoScene
from edge_audio.tagging.tagger import Tagger
from edge_audio.tuning import recordings
from edge_audio.tuning.choice import choose
from edge_audio.tuning.evidence import POINTS, Evidence
from edge_audio.tuning.recordings import Recording, read_recordings
from tests.support.command_line import error_line, records, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RATE_HZ = 16_000


def threshold(on: float) -> Threshold:
    return Threshold(on=on, off=on / 2)


SPEC = EventSpec(thresholds={"Dog": threshold(0.3), "Siren": threshold(0.6)})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the demo scene: surf, a clock and an alarm are heard in it."""
    path = tmp_path_factory.mktemp("demo") / "demo.wav"
    soundfile.write(path, DemoScene(RATE_HZ).first(60.0), RATE_HZ, "PCM_16")
    return path


def heard(path: Path, *arguments: object) -> list[dict[str, object]]:
    """Starts of all labels, those of one sound beside each other, as `tune` counts them."""
    options = ("--related", "all", "--format", "jsonl")
    done = run("listen", "--source", path, *options, *arguments)
    return [record for record in records(done.stdout) if record["kind"] == "start"]


def manifest(folder: Path, *rows: tuple[Path, str]) -> Path:
    path = folder / "recordings.csv"
    path.write_text("path,labels\n" + "".join(f'{name},"{labels}"\n' for name, labels in rows))
    return path


def test_recordings_of_nothing_silence_what_they_set_off(demo: Path, tmp_path: Path) -> None:
    before = heard(demo)
    assert before
    out = tmp_path / "thresholds.toml"
    done = run("tune", manifest(tmp_path, (demo, "")), "--out", out)
    assert "none was allowed" in " ".join(done.stderr.split())
    assert heard(demo, "--config", out) == []
    chosen = tomllib.loads(out.read_text())["events"]
    changed = {*chosen["thresholds"], *chosen.get("exclude", ())}
    assert changed == {str(record["label"]) for record in before}  # and no label that was quiet


def test_labels_of_a_recording_stay_found(demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "thresholds.toml"
    listed = {str(record["label"]) for record in heard(demo)}
    run("tune", manifest(tmp_path, (demo, ";".join(listed).lower())), "--out", out)
    assert listed <= {str(record["label"]) for record in heard(demo, "--config", out)}


def test_a_label_is_not_made_more_sensitive_by_recordings_of_it_alone(
    demo: Path, tmp_path: Path
) -> None:
    """Without audio that lacks it, any threshold kept the budget, down to the lowest of all."""
    done = run("tune", manifest(tmp_path, (demo, "Doorbell;Dog")))
    assert not tomllib.loads(done.stdout)["events"]["thresholds"].keys() & {"Doorbell", "Dog"}
    assert "not made more sensitive: Dog, Doorbell" in " ".join(done.stderr.split())


@pytest.mark.parametrize(("rate", "hours"), [(0.1, "20"), (1.0, "2"), (5.0, "0.4"), (0.0, "")])
def test_how_much_audio_is_lacking_is_said(
    rate: float, hours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = Evidence(["Dog"], SPEC)
    evidence.n_right[:] = 1
    show(choose(evidence, rate), rate)
    told = " ".join(capsys.readouterr().err.split())
    assert f"allowed from {hours} h of audio on" in told or (not hours and "no amount" in told)
    assert "not made more sensitive: Dog." in told


@pytest.mark.parametrize(("hours", "on"), [(1.9, 0.3), (2.0, POINTS[0])])
def test_how_much_audio_without_a_label_lets_it_be_more_sensitive(hours: float, on: float) -> None:
    evidence = Evidence(["Dog", "Cat"], SPEC)
    evidence.hours[:], evidence.n_right[:] = hours, 1
    dog, cat = choose(evidence, 1.0)
    assert dog.on == on
    assert cat.on == (None if hours < 2.0 else POINTS[0])  # off before


def test_log_of_an_empty_house_silences_what_it_reports(demo: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "thresholds.toml"
    before = heard(demo, "--json", log)
    assert before
    run("tune", log, "--all-false", "--out", out)
    assert heard(demo, "--config", out) == []


def test_reviewed_events_decide_and_others_are_left_aside(demo: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    heard(demo, "--json", log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    wrong = next(line for line in lines if line["kind"] == "start")
    wrong["correct"] = False
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{torn\n")
    done = run("tune", log)
    assert "1 damaged lines" in done.stderr
    chosen = tomllib.loads(done.stdout)["events"]["thresholds"]
    plain = run("inspect", "tiny-int8", "--json").stdout
    in_use = {k: v["on"] for k, v in json.loads(plain)["events"]["thresholds"].items()}
    changed = {label for label, on in chosen.items() if on != pytest.approx(in_use[label])}
    assert changed == set(chosen) == {wrong["label"]}
    assert chosen[wrong["label"]] > in_use[wrong["label"]]


@given(st.lists(st.integers(0, 3), min_size=len(POINTS) + 1, max_size=len(POINTS) + 1))
def test_all_thresholds_from_the_chosen_one_on_keep_the_budget(alarms: list[int]) -> None:
    evidence = Evidence(["Dog"], SPEC)
    evidence.alarms[0], evidence.hours[0], evidence.n_right[0] = alarms, 20.0, 3
    (choice,) = choose(evidence, 0.1)  # one alarm of the two that 20 hours allow
    thresholds = evidence.thresholds[0]
    on = np.inf if choice.on is None else choice.on
    assert (evidence.alarms[0][thresholds >= on] <= 1).all()
    lower = thresholds[thresholds < on]
    if len(lower):
        assert evidence.alarms[0][thresholds == lower.max()].max() > 1


def test_one_alarm_less_than_the_budget_is_allowed() -> None:
    """The rule of `edge-audio calibrate`, see docs/events.md."""
    evidence = Evidence(["Dog", "Siren"], SPEC)
    evidence.hours[:], evidence.n_right[:] = 30.0, 1
    evidence.alarms[:, :] = np.where(evidence.thresholds < 0.8, [[2], [3]], 0)
    dog, siren = choose(evidence, 0.1)
    assert dog.on == POINTS[0]
    assert siren.on is not None
    assert siren.on >= 0.8


def test_nothing_recorded_of_a_label_leaves_it_as_it_is_or_less_sensitive() -> None:
    evidence = Evidence(["Dog", "Siren", "Cat"], SPEC)
    evidence.hours[:] = 100.0
    evidence.alarms[0, evidence.thresholds[0] <= 0.5] = 50
    dog, siren, cat = choose(evidence, 0.1)
    assert dog.on is not None
    assert 0.5 < dog.on < 0.6
    assert (siren.on_before, siren.on) == (0.6, 0.6)
    assert (cat.on_before, cat.on) == (None, None)  # off before and after


def test_what_ones_own_sound_rings_beside_itself_silences_no_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Growling in a recording of Bark may well be there; a siren is not."""
    evidence = Evidence(["Bark", "Growling", "Dog", "Siren"], SPEC)
    rung = np.ones(evidence.thresholds.shape, np.int64)
    monkeypatch.setattr(recordings, "_count_starts", lambda *_: rung)
    tagger = cast("Tagger", SimpleNamespace(bundle=toy_like(), time_s=3600.0))
    recordings.try_recordings(evidence, tagger, [Recording(Path("a.wav"), frozenset({"Bark"}))])
    assert evidence.n_right.tolist() == [1, 0, 0, 0]
    assert evidence.hours.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert evidence.alarms.max(1).tolist() == [0, 0, 0, 1]


def toy_like() -> SimpleNamespace:
    """A bundle as far as its step is concerned."""
    return SimpleNamespace(manifest=SimpleNamespace(model=SimpleNamespace(step_s=0.08)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a line"),
        ("file,labels\na.wav,Dog\n", "needs a line"),
        ("path,labels\n,Dog\n", "line 2: there is no path"),
        ("path,labels\na.wav,Dig\n", "line 2: unknown label 'Dig'"),
        ("path,labels\na.wav,Dog\nb.wav\n", "recordings.csv, line 3: 1 columns.* 2: path,labels"),
        ("path,labels\n\na.wav,Dog,Siren\n", "line 3: 3 columns"),
        ('path,labels\na.wav,"Dog\nb.wav,Siren\n', "line 3: unexpected end"),
        ('path,labels\na.wav,"Dog"s\n', "line 2: "),
        ("path,labels,path\na.wav,Dog,b.wav\n", "line 1: a column is named twice"),
        ("path,labels\na.wav,Dog\na.wav,\n", "line 3: a.wav is listed in line 2"),
    ],
)
def test_manifest_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recordings.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recordings(path, ["Dog", "Siren"])


def test_mistakes_on_the_command_line_are_named(tmp_path: Path) -> None:
    missing = manifest(tmp_path, (tmp_path / "none.wav", "Dog"))
    assert "none.wav" in error_line(run("tune", missing, ok=False), 2)
    assert "--all-false belongs to logs" in error_line(
        run("tune", missing, "--all-false", ok=False), 2
    )
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "no records" in error_line(run("tune", empty, ok=False), 2)
