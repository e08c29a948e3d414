"""`edge-audio calibrate`: thresholds of a bundle chosen anew, and nothing else changed."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from distill.calibration import thresholds
from distill.calibration.adjudication import LEVELS
from distill.mixing.soundscapes import SoundscapeConfig
from edge_audio.bundle import store
from edge_audio.bundle.spec import SENSITIVITIES
from edge_audio.bundle.store import MODELS_DIR, Bundle, load_bundle, save_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.tagging.verify import verify_bundle
from quantize.cli import calibrate
from quantize.publish import thresholds as publish_thresholds
from quantize.publish.card import CARD_NAME
from quantize.publish.thresholds import recalibrate
from tests.distill.workshop import make_data, save_rain_detector
from tests.support.command_line import error_line, run, run_here

SCENES = SoundscapeConfig(
    n_scenes=4,
    scene_s=15.0,
    n_events=3,
    n_negatives=2,
    negative_s=30.0,
    n_negative_sounds=3,
    background_dbfs=(-70.0, -60.0),
    snr_db=(25.0, 35.0),
)


@pytest.fixture
def rain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle that knows rain alone, and held-out clips of rain and others."""
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    make_data(tmp_path / "data", n_per_fold=4)
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    small = partial(
        thresholds.CalibrationConfig,
        n_folds=3,
        min_positives=2,
        min_recall=0.0,
        scenes=SCENES,
    )
    monkeypatch.setattr(thresholds, "CalibrationConfig", small)
    monkeypatch.setenv("EDGE_AUDIO_PEERS", str(tmp_path / "no-peers"))
    bundle = save_rain_detector(tmp_path)
    card = {CARD_NAME: b"an older card"}
    return save_bundle(bundle.path, bundle.manifest, bundle.contents() | card)


def test_thresholds_card_and_provenance_are_new_and_models_as_before(
    rain: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(rain.path, twin)
    done = CliRunner().invoke(calibrate, [str(rain.path), str(twin), "--alarms-per-hour", "50"])
    assert done.exit_code == 0, done.output
    assert f"{rain.path}: " in done.output
    now, other = load_bundle(str(rain.path)), load_bundle(str(twin))
    events = now.manifest.events
    assert events.thresholds, "rain is heard"
    assert events != rain.manifest.events
    assert other.manifest.events == events
    assert now.manifest.provenance["calibration"]["max_alarms_per_hour"] == 50.0
    assert "thresholds for 50 false alarms per hour and label" in now.read(CARD_NAME).decode()
    assert set(events.sensitivities) == {"quiet", "eager"}
    assert "nobody judges" in done.output + capfd.readouterr().err
    facts = now.manifest.provenance["single_clips"]
    assert facts["clips"] > 0
    assert facts["normal"]["labels"].keys() == events.thresholds.keys()
    for sensitivity in SENSITIVITIES:
        assert (
            f"{sensitivity}: a right event in {100 * facts[sensitivity]['right']:.1f} %, a wrong"
            in done.output
        )
    assert "a wrong event in 10 % of single clips" in now.read(CARD_NAME).decode()
    assert now.manifest.provenance["adjudication"] == {}
    for name, entry in rain.manifest.files.items():
        if name != CARD_NAME:
            assert now.manifest.files[name] == entry
    assert verify_bundle(now, "litert").ok


def test_bundles_of_two_students_or_of_one_folder_name_are_refused(
    rain: Bundle, tmp_path: Path
) -> None:
    config = thresholds.CalibrationConfig()
    with pytest.raises(UsageError, match="micro-int8 is not of the student that tiny-int8 is of"):
        recalibrate([load_bundle("tiny-int8"), load_bundle("micro-int8")], config, [], tmp_path)
    shutil.copytree(rain.path, tmp_path / "twin" / rain.path.name)
    twin = load_bundle(str(tmp_path / "twin" / rain.path.name))
    with pytest.raises(UsageError, match="folders of one name"):
        recalibrate([rain, twin], config, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_metrics_take_the_place_of_those_on_the_same_clips(rain: Bundle) -> None:
    before = rain.manifest.provenance["metrics"]
    (bundle,) = recalibrate([rain], thresholds.CalibrationConfig(), [])
    assert bundle.manifest.provenance["metrics"] == before != []
    again = {"measured on": before[0]["measured on"], "hit@1": "all"}
    (bundle,) = recalibrate([bundle], thresholds.CalibrationConfig(), [again])
    assert bundle.manifest.provenance["metrics"] == [again, *before[1:]]
    assert "| hit@1 | all |" in bundle.read(CARD_NAME).decode()


def test_a_bundle_without_figures_gets_the_new_ones(rain: Bundle) -> None:
    facts = {"recipe": rain.manifest.provenance["recipe"]}
    manifest = msgspec.structs.replace(rain.manifest, provenance=facts)
    bare = save_bundle(rain.path, manifest, rain.contents())
    (bundle,) = recalibrate([bare], thresholds.CalibrationConfig(), [])
    assert bundle.manifest.provenance["metrics"] == []
    quote = {"measured on": "rain", "hit@1": "all"}
    (bundle,) = recalibrate([bundle], thresholds.CalibrationConfig(), [quote])
    assert bundle.manifest.provenance["metrics"] == [quote]
    card = bundle.read(CARD_NAME).decode()
    assert "| parameters | - |" in card
    assert "| hit@1 | all |" in card


class Confirming:
    """A witness that hears everything, everywhere."""

    labels: tuple[str, ...] = ("Rain", "Siren", "Clock")

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        return np.full(3, 0.5, np.float32)


def test_witnesses_are_heard_and_what_they_say_is_published(
    rain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(publish_thresholds, "open_witnesses", lambda: [Confirming()])
    folder = tmp_path / "moments"
    arguments = [str(rain.path), "--alarms-per-hour", "50", "--adjudicated", str(folder)]
    done = CliRunner().invoke(calibrate, arguments)
    assert done.exit_code == 0, done.output
    assert "unexpected starts" in done.output
    facts = load_bundle(rain.path).manifest.provenance["adjudication"]
    assert facts["level"] in LEVELS
    assert {"quiet", "normal", "eager", "labels", "by_chance"} < facts.keys()
    for sensitivity in SENSITIVITIES:
        assert facts[sensitivity]["confirmed"] <= facts[sensitivity]["starts"]
    assert folder.is_dir()


def test_out_leaves_the_bundle_as_it_is(rain: Bundle, tmp_path: Path) -> None:
    arguments = [str(rain.path), "--out", str(tmp_path / "mine"), "--alarms-per-hour", "50"]
    done = CliRunner().invoke(calibrate, arguments)
    assert done.exit_code == 0, done.output
    assert load_bundle(rain.path).manifest == rain.manifest
    new = load_bundle(tmp_path / "mine" / rain.path.name)
    assert new.manifest.events != rain.manifest.events
    assert f"{new.path}: " in done.output


@pytest.mark.parametrize("named", ["tiny-int8", MODELS_DIR / "tiny-int8"])
def test_a_bundle_that_comes_with_the_package_is_not_changed(named: str | Path) -> None:
    """Asked for by mistake, it would change the installation."""
    line = error_line(run_here("calibrate", named, ok=False), 2)
    assert "--out FOLDER" in line
    assert "--in-place" in line


def test_a_bundle_of_the_package_is_changed_where_that_is_asked_for(
    rain: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MODELS_DIR", rain.path.parent)
    done = CliRunner().invoke(calibrate, [rain.path.name])
    assert isinstance(done.exception, UsageError)
    done = CliRunner().invoke(calibrate, [rain.path.name, "--in-place"])
    assert done.exit_code == 0, done.output
    assert "calibration" in load_bundle(rain.path).manifest.provenance


def test_what_cannot_be_calibrated_is_refused(rain: Bundle, tmp_path: Path) -> None:
    assert "no-such-bundle" in error_line(run("calibrate", "no-such-bundle", ok=False), 2)
    facts = {k: v for k, v in rain.manifest.provenance.items() if k != "recipe"}
    manifest = msgspec.structs.replace(rain.manifest, provenance=facts)
    save_bundle(tmp_path / "orphan", manifest, rain.contents())
    with pytest.raises(EdgeAudioError, match="does not say what it was trained on"):
        CliRunner().invoke(calibrate, [str(tmp_path / "orphan")], catch_exceptions=False)


def test_help_says_what_is_rewritten() -> None:
    assert "rewrites manifest and card" in " ".join(run("calibrate", "--help").stdout.split())
