"""Sensitivities: operating points of a manifest, also of an old one, and labels that are off."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_audio import Tagger, UsageError
from edge_audio.bundle.manifest import decode_manifest, encode_manifest
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity, Threshold
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.cli.listen_options import Flags
from edge_audio.cli.options import LabelChoice
from edge_audio.errors import BundleError
from edge_audio.events.choice import select_events
from edge_audio.events.suggestion import (
    SUGGESTED_ON,
    suggested_threshold,
    why_off,
)
from edge_audio.listening.config import Config
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.label_changes import changed_events
from edge_audio.listening.settings_file import load_config
from edge_audio.sinks.base import LabelChange
from tests.support import toy
from tests.support.command_line import error_line, run

LABELS = ("Dog", "Bark", "Growling", "Siren", "Doorbell", "Band 3")


def at(on: float) -> Threshold:
    return Threshold(on=on, off=on / 2)


SPEC = EventSpec(
    thresholds={"Dog": at(0.5), "Siren": at(0.6)},
    sensitivities={
        "quiet": {"Dog": at(0.9)},
        "eager": {"Dog": at(0.2), "Siren": at(0.3), "Bark": at(0.4)},
    },
    off={"Bark": "too many false alarms", "Growling": "few recordings"},
)


def test_each_sensitivity_has_its_own_thresholds_and_normal_is_the_default() -> None:
    assert SPEC.at_sensitivity("quiet").thresholds == {"Dog": at(0.9)}
    assert SPEC.at_sensitivity("normal") == SPEC.at_sensitivity(None) == SPEC
    assert set(SPEC.at_sensitivity("eager").thresholds) == {"Dog", "Siren", "Bark"}


@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_a_manifest_with_one_threshold_a_label_has_it_at_every_sensitivity(
    sensitivity: Sensitivity,
) -> None:
    raw = encode_manifest(toy.MANIFEST)
    old = msgspec.json.decode(raw)
    del old["events"]["sensitivities"], old["events"]["off"]
    manifest = decode_manifest(msgspec.json.encode(old), Path("manifest.json"))
    assert manifest.events.at_sensitivity(sensitivity).thresholds == toy.EVENTS.thresholds


def test_thresholds_that_are_given_go_before_the_sensitivity() -> None:
    chosen = select_events(SPEC, LABELS, threshold={"Siren": 0.7}, sensitivity="quiet").thresholds
    assert {label: t.on for label, t in chosen.items()} == {"Dog": 0.9, "Siren": 0.7}
    chosen = EventsConfig(sensitivity="eager", threshold=0.8).apply(SPEC, LABELS).thresholds
    every = dict.fromkeys(("Dog", "Siren", "Bark"), 0.8)
    assert {label: t.on for label, t in chosen.items()} == every


def test_a_label_that_is_off_takes_what_nearby_labels_suggest() -> None:
    chosen = select_events(SPEC, LABELS, only=["growling"], sensitivity="normal").thresholds
    assert chosen == {"Growling": suggested_threshold(SPEC, "Growling")}
    assert chosen["Growling"].on == 0.5, "that of Dog"
    eager = SPEC.at_sensitivity("eager")
    assert suggested_threshold(eager, "Growling").on == pytest.approx(0.29), "of Dog and Bark"
    assert suggested_threshold(SPEC, "Doorbell").on == 0.6, "that of Siren, an alarm too"
    assert suggested_threshold(SPEC, "Band 3").on == SUGGESTED_ON


@pytest.mark.parametrize(
    ("label", "sensitivity", "on"), [("Bark", "normal", 0.4), ("Siren", "quiet", 0.6)]
)
def test_a_label_that_is_on_at_another_sensitivity_takes_what_was_measured_there(
    label: str, sensitivity: Sensitivity, on: float
) -> None:
    chosen = select_events(SPEC, LABELS, only=[label], sensitivity=sensitivity).thresholds
    assert chosen == {label: at(on)}
    switched = label_changed(label, EventsConfig(sensitivity=sensitivity))
    assert switched.thresholds == {label: on}


def label_changed(label: str, config: EventsConfig) -> EventsConfig:
    """The settings after the label was switched on."""
    return changed_events(config, LabelChange(label=label, is_on=True), [(SPEC, LABELS)])


def test_all_sensitivities_are_there_whatever_was_chosen_before() -> None:
    for before in SENSITIVITIES:
        for after in SENSITIVITIES:
            again = SPEC.at_sensitivity(before).at_sensitivity(after)
            assert again.thresholds == SPEC.at_sensitivity(after).thresholds


def test_the_reason_why_a_label_is_off_is_the_true_one() -> None:
    assert why_off(SPEC, "Bark") == "on at --sensitivity eager"
    assert why_off(SPEC.at_sensitivity("quiet"), "Siren") == "on at --sensitivity normal"
    assert why_off(SPEC, "Growling") == "too few recordings to judge it by"
    assert why_off(SPEC, "Doorbell") == "no recordings to judge it by"
    assert why_off(toy.EVENTS, "Band 11") == "too little evidence to judge it by"


@pytest.mark.parametrize("field", ["sensitivities", "off"])
def test_labels_that_a_model_does_not_have_are_refused_in_every_table(field: str) -> None:
    values = {"sensitivities": {"quiet": {"Dgo": at(0.5)}}, "off": {"Dgo": "few recordings"}}
    manifest = msgspec.json.decode(encode_manifest(toy.MANIFEST))
    manifest["events"][field] = msgspec.to_builtins(values[field])
    with pytest.raises(BundleError, match="unknown label 'Dgo'"):
        decode_manifest(msgspec.json.encode(manifest), Path("manifest.json"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A toy whose quiet thresholds nothing reaches."""
    made = toy.save_toy(tmp_path / "toy")
    quiet = dict.fromkeys(toy.EVENTS.thresholds, Threshold(on=1.0, off=1.0))
    events = msgspec.structs.replace(made.manifest.events, sensitivities={"quiet": quiet})
    manifest = msgspec.structs.replace(made.manifest, events=events)
    return save_bundle(made.path, manifest, made.contents())


def test_a_tagger_reports_by_its_sensitivity(bundle: Bundle) -> None:
    pcm = toy.noise(48_000, seed=1)
    heard = {}
    for sensitivity in SENSITIVITIES:
        tagger = Tagger(bundle, toy.NumpyBackend(), sensitivity=sensitivity)
        heard[sensitivity] = tagger.push(pcm) + tagger.flush()
    assert not heard["quiet"]
    assert heard["normal"] == heard["eager"] != []
    with pytest.raises(UsageError, match="leave out events"):
        Tagger(bundle, toy.NumpyBackend(), EventSpec(), sensitivity="quiet")


def test_programs_that_know_one_sensitivity_get_a_bundle_of_it(bundle: Bundle) -> None:
    quiet = bundle.at_sensitivity("quiet").manifest.events.thresholds
    assert quiet == bundle.manifest.events.sensitivities["quiet"]
    assert bundle.at_sensitivity(None) == bundle == load_bundle(bundle.path)


def test_flags_and_files_name_a_sensitivity(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    path.write_text("[events]\nsensitivity = 'quiet'\n")
    config = load_config(path)
    assert config.events.sensitivity == "quiet"
    values = {"only": (), "exclude": (), "thresholds": (), "sensitivity": "normal"}
    both = Flags(values, frozenset({"sensitivity"})).over(config)
    assert both.events.sensitivity == "normal", "though it is the default"
    assert Flags(values, frozenset()).over(config) == config
    assert LabelChoice((), (), ()).config == EventsConfig() == Config().events
    path.write_text("[events]\nsensitivity = 'loud'\n")
    assert "sensitivity" in error_line(run("listen", "--config", path, "--check", ok=False), 2)


def test_a_smoothing_of_ones_own_is_that_of_both_directions_unless_the_attack_is_given() -> None:
    model = msgspec.structs.replace(SPEC, smoothing_s=0.1, attack_s=0.0)
    assert EventsConfig().apply(model, LABELS).rising_s == 0.0
    assert EventsConfig(smoothing_s=0.3).apply(model, LABELS).rising_s == 0.3
    apart = EventsConfig(smoothing_s=0.3, attack_s=0.05).apply(model, LABELS)
    assert (apart.smoothing_s, apart.rising_s) == (0.3, 0.05)
    with pytest.raises(ValueError, match="attack_s"):
        EventsConfig(attack_s=-1.0)


@pytest.mark.parametrize("spec", [SPEC, EventSpec(thresholds={"Dog": at(0.5)})])
def test_what_is_no_sensitivity_is_refused_and_not_taken_for_normal(spec: EventSpec) -> None:
    """Programs are checked by no command line; of an older model too, which has but one."""
    for name in ("loud", "Eager", ""):
        with pytest.raises(UsageError, match="one of quiet, normal, eager"):
            select_events(spec, LABELS, sensitivity=name)  # type: ignore[arg-type]
