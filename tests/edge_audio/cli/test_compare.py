"""`edge-audio compare` and `verify --audio`, as their users run them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge_audio.bundle.golden import load_golden
from edge_audio.bundle.spec import Threshold
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.cli.compare import open_trace, plot, telling_labels
from edge_audio.cli.verify import result_beside_the_engine, result_of_floats
from edge_audio.events.detector import Event
from edge_audio.tagging.compare import Difference, ScoreTrace, difference, match
from tests.support import toy
from tests.support.command_line import error_line, run
from tests.support.real_audio import soundscape
from tests.support.runtimes import require_runtimes

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def louder(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy with one threshold changed, so that its events differ."""
    low = Threshold(on=0.2, off=0.1)
    thresholds = {**toy.EVENTS.thresholds, "Band 3": low}
    events = msgspec.structs.replace(toy.EVENTS, thresholds=thresholds)
    manifest = msgspec.structs.replace(toy.MANIFEST, name="louder", events=events)
    folder = tmp_path_factory.mktemp("bundles") / "louder"
    return save_bundle(folder, manifest, toy_bundle.contents()).path


def test_one_model_on_two_runtimes_says_the_same(toy_bundle: Bundle, bursts_wav: Path) -> None:
    require_runtimes("litert", "executorch")
    pair = (f"{toy_bundle.path}:litert", f"{toy_bundle.path}:executorch")
    done = run("compare", *pair, bursts_wav)
    assert "toy, litert against toy, executorch" in done.stdout
    assert ", 0 of one side alone" in done.stdout


def test_other_events_are_listed_drawn_and_exit_with_1(
    toy_bundle: Bundle, louder: Path, bursts_wav: Path, tmp_path: Path
) -> None:
    picture, exact = tmp_path / "scores.png", ("--tolerance-ms", 0)
    done = run("compare", toy_bundle.path, louder, bursts_wav, *exact, "--plot", picture, ok=False)
    assert done.returncode == 1, done.stderr
    listed = [line for line in done.stdout.splitlines() if " only " in line]
    assert listed
    assert all("Band 3" in line for line in listed)
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size > 20_000


def test_the_thresholds_that_are_compared_are_those_of_a_sensitivity(
    toy_bundle: Bundle, bursts_wav: Path, tmp_path: Path
) -> None:
    """Two models that are one but for its eager thresholds."""
    eager = {label: Threshold(on=0.1, off=0.05) for label in toy.EVENTS.thresholds}
    events = msgspec.structs.replace(toy.EVENTS, sensitivities={"eager": eager})
    manifest = msgspec.structs.replace(toy.MANIFEST, name="eager", events=events)
    other = save_bundle(tmp_path / "eager", manifest, toy_bundle.contents()).path
    assert run("compare", toy_bundle.path, other, bursts_wav).returncode == 0
    command = ("compare", toy_bundle.path, other, bursts_wav, "--sensitivity", "eager")
    assert run(*command, ok=False).returncode == 1


@pytest.fixture(scope="module")
def kin(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """`on` of Dog -> the toy with two bands that are called Dog and Bark, of which Bark sounds
    whenever Dog does."""
    names = {"Band 2": "Bark", "Band 3": "Dog"}
    labels = tuple(names.get(label, label) for label in toy.LABELS)
    bundles = {}
    for on in (0.3, 0.5):
        thresholds = {"Bark": Threshold(on=0.1, off=0.05), "Dog": Threshold(on=on, off=0.2)}
        events = msgspec.structs.replace(toy.EVENTS, thresholds=thresholds)
        manifest = msgspec.structs.replace(toy.MANIFEST, labels=labels, events=events)
        folder = tmp_path_factory.mktemp("kin") / "toy"
        bundles[on] = save_bundle(folder, manifest, toy_bundle.contents()).path
    return bundles


@pytest.mark.parametrize("related", ["most-specific", "all"])
def test_events_are_those_that_users_are_told_of_unless_all_are_asked_for(
    kin: dict[float, Path], bursts_wav: Path, related: str
) -> None:
    """Two models that hear Dog at other times, which is folded into a Bark of both."""
    tolerance = ("--tolerance-ms", 0, "--related", related)
    done = run("compare", kin[0.3], kin[0.5], bursts_wav, *tolerance, ok=related != "all")
    listed = [line for line in done.stdout.splitlines() if " only " in line]
    assert all("Dog" in line for line in listed)
    assert bool(listed) is (related == "all")
    assert done.returncode == (related == "all")
    told = [run("tag", bursts_wav, "--model", kin[on], "--related", related) for on in kin]
    n_told = [2 * len(re.findall(r" - +\d+:", one.stdout)) for one in told]
    n_equal = int(re.findall(r"(\d+) equal", done.stdout)[0])
    assert 2 * n_equal + len(listed) == sum(n_told) > 0


def test_verify_compares_events_that_users_are_told_of(
    kin: dict[float, Path], bursts_wav: Path
) -> None:
    require_runtimes("litert", "onnx")
    n_equal = {}
    for related in ("most-specific", "all"):
        done = run("verify", kin[0.3], "--audio", bursts_wav, "--related", related)
        n_equal[related] = int(re.findall(r"onnx against litert +\d+ +\S+ +(\d+)", done.stdout)[0])
    assert 0 < n_equal["most-specific"] < n_equal["all"]
    done = run("verify", kin[0.3], "--related", "all", ok=False)
    assert "--audio" in error_line(done, 2)


def test_a_label_that_not_both_models_know_cannot_be_plotted(
    toy_bundle: Bundle, kin: dict[float, Path], bursts_wav: Path, tmp_path: Path
) -> None:
    plot = ("--plot", tmp_path / "x.png", "--label", "Band 2")
    done = run("compare", toy_bundle.path, kin[0.3], bursts_wav, *plot, ok=False)
    assert "unknown label 'Band 2'" in error_line(done, 2)


def test_labels_are_plotted_as_users_write_them_and_only_with_a_picture(
    toy_bundle: Bundle, bursts_wav: Path, tmp_path: Path
) -> None:
    pair, plot = (toy_bundle.path, toy_bundle.path, bursts_wav), ("--plot", tmp_path / "x.png")
    run("compare", *pair, *plot, "--label", "bAND 3")
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)
    done = run("compare", *pair, "--label", "Band 3", ok=False)
    assert "--plot" in error_line(done, 2)
    done = run("compare", *pair, "--plot", tmp_path / "x.foo", ok=False)
    assert "name it .png" in error_line(done, 2)


def test_labels_with_events_are_drawn_before_those_that_score_more_without() -> None:
    times_s, scores = np.array([0.08, 0.16]), np.array([[0.9, 0.8, 0.2]] * 2, np.float32)
    events = (Event("start", "quiet", 0.08, 0.2), Event("end", "quiet", 0.16, 0.2))
    side = ScoreTrace("one", ("loud", "louder", "quiet"), times_s, scores, events)
    assert telling_labels(side, side, difference(side, side)) == ["quiet", "loud", "louder"]


def test_a_recording_that_is_none_is_one_line(toy_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"no audio")
    done = run("compare", toy_bundle.path, toy_bundle.path, tmp_path / "x.wav", ok=False)
    assert "cannot read" in error_line(done, 1)


def test_verify_runs_a_recording_through_every_runtime(
    toy_bundle: Bundle, bursts_wav: Path
) -> None:
    require_runtimes("litert", "executorch", "onnx")
    done = run("verify", toy_bundle.path, "--audio", bursts_wav)
    assert "executorch against litert" in done.stdout
    assert "onnx against litert" in done.stdout


def test_verify_refuses_a_recording_with_nothing_to_compare(
    toy_bundle: Bundle, bursts_wav: Path
) -> None:
    """One runtime compared with none agreed with all of them."""
    done = run("verify", toy_bundle.path, "--backend", "litert", "--audio", bursts_wav, ok=False)
    assert "leave out --backend" in error_line(done, 2)
    assert not done.stdout


def test_verify_fails_where_runtimes_disagree_on_a_recording(
    toy_bundle: Bundle, bursts_wav: Path, tmp_path: Path
) -> None:
    """A manifest that allows no difference at all: rounding alone must then be reported."""
    require_runtimes("litert", "onnx")
    tolerance = msgspec.structs.replace(toy.MANIFEST.tolerance, scores=1e-12)
    manifest = msgspec.structs.replace(toy.MANIFEST, tolerance=tolerance)
    bundle = save_bundle(tmp_path / "strict", manifest, toy_bundle.contents())
    assert len(load_golden(bundle).scores) > 0
    done = run("verify", bundle.path, "--audio", bursts_wav, ok=False)
    assert done.returncode == 1
    assert "scores differ" in done.stdout


def test_events_that_are_moved_a_little_are_the_same_within_the_tolerance() -> None:
    first = [Event("start", "Dog", 1.0, 0.5), Event("end", "Dog", 2.0, 0.9)]
    second = [Event("start", "Dog", 1.24, 0.5), Event("end", "Dog", 2.4, 0.9)]
    pairs, only_first, only_second = match(first, second, 0.3)
    assert pairs == [(first[0], second[0])]
    assert (only_first, only_second) == ([first[1]], [second[1]])
    assert match(first, second, 0.0)[0] == []
    assert len(match(first, second, 0.4)[0]) == 2


def test_each_event_has_one_partner_and_the_nearest_go_first() -> None:
    first = [Event("start", "Dog", time_s, 0.5) for time_s in (1.0, 1.2)]
    second = [Event("start", "Dog", 1.21, 0.5), Event("start", "Cat", 1.0, 0.5)]
    pairs, only_first, only_second = match(first, second, 0.3)
    assert pairs == [(first[1], second[0])]
    assert (only_first, only_second) == ([first[0]], [second[1]])


def test_a_tolerance_decides_what_compare_reports(
    toy_bundle: Bundle, louder: Path, bursts_wav: Path
) -> None:
    pair = (toy_bundle.path, louder, bursts_wav)
    strict, generous = (
        run("compare", *pair, "--tolerance-ms", ms, ok=False).stdout for ms in (0, 5000)
    )
    assert "moved" not in strict
    n_strict, n_generous = (
        int(re.findall(r"(\d+) of one side alone", text)[0]) for text in (strict, generous)
    )
    assert n_generous < n_strict


def test_the_picture_has_thresholds_and_events(
    toy_bundle: Bundle, louder: Path, bursts_wav: Path, tmp_path: Path
) -> None:
    """An SVG names what it draws: lines of points for thresholds, bars for events."""
    first, second = (open_trace(str(path), bursts_wav) for path in (toy_bundle.path, louder))
    plot(first, second, ["Band 3"], tmp_path / "with.svg")
    bare_first, bare_second = (
        dataclasses.replace(side, events=(), thresholds={}) for side in (first, second)
    )
    plot(bare_first, bare_second, ["Band 3"], tmp_path / "without.svg")
    full, empty = ((tmp_path / name).read_text() for name in ("with.svg", "without.svg"))
    for group in ("line2d", "LineCollection"):
        assert full.count(f'id="{group}') > empty.count(f'id="{group}'), group


def found_beside(step_errors: np.ndarray, n_equal: int, n_alone: int, n_moved: int) -> Difference:
    alone = tuple(Event("start", "Dog", float(i), 0.5) for i in range(n_alone))
    errors = step_errors.astype(np.float32)
    return Difference(errors, 1e-6, n_equal, alone, (), 0.08 * (n_moved > 0), n_moved)


@pytest.mark.parametrize(
    ("n_far", "n_alone", "n_moved", "result"),
    [
        (0, 0, 0, "ok"),
        (10, 2, 4, "ok; events: 4 by a step, 2 of one side alone"),
        (10, 0, 1, "ok; events: 1 by a step"),
        (11, 0, 0, "scores differ, allowed is 0.002 in 99 % of the steps"),
        (0, 3, 0, "3 events differ (edge-audio compare lists them)"),
    ],
)
def test_beside_the_engine_what_its_rounding_needs_is_allowed_and_told(
    n_far: int, n_alone: int, n_moved: int, result: str
) -> None:
    errors = np.full(1_001, 1e-3)
    errors[:n_far] = 0.1  # single steps of exponential gates
    found = found_beside(errors, 100, n_alone, n_moved)
    tolerance = msgspec.structs.replace(toy.MANIFEST.tolerance, scores=5e-4)
    assert result_beside_the_engine(found, tolerance) == result


def test_floats_may_differ_by_the_tolerance_alone() -> None:
    tolerance = msgspec.structs.replace(toy.MANIFEST.tolerance, scores=5e-4)
    assert result_of_floats(found_beside(np.full(9, 4e-4), 5, 0, 0), tolerance) == "ok"
    far = found_beside(np.full(9, 6e-4), 5, 0, 0)
    assert result_of_floats(far, tolerance) == "scores differ, allowed is 0.0005"
    alone = found_beside(np.full(9, 4e-4), 500, 1, 0)
    assert result_of_floats(alone, tolerance).startswith("1 events differ")


@pytest.mark.parametrize("name", ["tiny-int8", "micro-int8"])
def test_runtimes_agree_on_ten_minutes(name: str, data_dir: Path, tmp_path: Path) -> None:
    """Long enough for scores of single steps that are further apart than those of most."""
    path = tmp_path / "street.wav"
    soundfile.write(path, soundscape(data_dir, 600.0), 16_000, subtype="PCM_16")
    run("verify", name, "--audio", path)


def test_runtimes_agree_on_the_recordings_that_the_readme_shows(data_dir: Path) -> None:
    for name in ("5-200334-A", "5-203128-A"):
        run("verify", "tiny-int8", "--audio", data_dir / "audio" / "esc10" / f"{name}.ogg")
