"""`firmware build --sensitivity` and `--threshold`: from which scores on a device reports."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.engine.image import build_image
from edge_audio.errors import UsageError
from firmware_bridge.cli import with_thresholds
from firmware_bridge.folder.build import build_firmware, sensitivities_of
from firmware_bridge.target_table import TARGETS
from tests.firmware_bridge.engine_images import Layout
from tests.support.command_line import error_line, run

SOURCE = "src/edge_audio_image.c"


def threshold(on: float) -> Threshold:
    return Threshold(on=on, off=on / 2.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """micro-int8 with thresholds for three sensitivities."""
    shipped = load_bundle("micro-int8")
    events = EventSpec(
        thresholds={"Dog": threshold(0.5), "Siren": threshold(0.4)},
        sensitivities={"quiet": {"Dog": threshold(0.8)}, "eager": {"Dog": threshold(0.2)}},
    )
    manifest = msgspec.structs.replace(shipped.manifest, name="three", events=events)
    return save_bundle(tmp_path_factory.mktemp("bundles") / "three", manifest, shipped.contents())


def on_of(bundle: Bundle) -> dict[str, float]:
    """Where events start, of the labels that are on in the engine's image."""
    image, labels = build_image(bundle), bundle.manifest.labels
    on = np.frombuffer(image, "<f4", len(labels), Layout(image).starts["thresholds"])
    return {label: round(float(x), 6) for label, x in zip(labels, on, strict=True) if x > 0.0}


@pytest.mark.parametrize(
    ("sensitivity", "given", "expected"),
    [
        (None, (), {"Dog": 0.5, "Siren": 0.4}),
        ("quiet", (), {"Dog": 0.8}),
        ("eager", (), {"Dog": 0.2}),
        ("quiet", ("dog=0.6", "Cat=0.3"), {"Dog": 0.6, "Cat": 0.3}),
        (None, ("0.7", "Siren=0.1"), {"Dog": 0.7, "Siren": 0.1}),
    ],
)
def test_the_image_has_what_was_asked_for(
    bundle: Bundle,
    tmp_path: Path,
    sensitivity: str | None,
    given: tuple[str, ...],
    expected: dict[str, float],
) -> None:
    chosen = with_thresholds(bundle, sensitivity, given, ())  # type: ignore[arg-type]
    assert on_of(chosen) == expected
    options = [f"--sensitivity={sensitivity}"] if sensitivity else []
    options += [f"--threshold={text}" for text in given]
    run("firmware", "build", bundle.path, "--target", "c", *options, "--out", tmp_path / "command")
    made = build_firmware(chosen, TARGETS["c"], tmp_path / "function")
    assert (tmp_path / "command" / SOURCE).read_text() == (made.path / SOURCE).read_text()


def test_a_page_offers_the_sensitivities_unless_one_was_chosen(bundle: Bundle) -> None:
    events = with_thresholds(bundle, None, (), ()).manifest.events
    offered = sensitivities_of(events, ("Dog", "Cat"))
    assert {name: {k: on for k, (on, _) in table.items()} for name, table in offered.items()} == {
        "quiet": {"Dog": 0.8}, "normal": {"Dog": 0.5}, "eager": {"Dog": 0.2},
    }  # fmt: skip
    for sensitivity, given in (("quiet", ()), (None, ("Dog=0.3",))):
        chosen = with_thresholds(bundle, sensitivity, given, ())  # type: ignore[arg-type]
        assert sensitivities_of(chosen.manifest.events, ("Dog",)) == {}


def test_a_threshold_of_a_label_that_is_left_out_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("Dog\n")
    options = ("--target", "c", "--labels", labels, "--out", tmp_path / "out")
    refused = run("firmware", "build", bundle.path, *options, "--threshold=Cat=0.3", ok=False)
    assert "--labels" in error_line(refused, 2)
    with pytest.raises(UsageError, match="unknown label"):
        with_thresholds(bundle, None, ("Dgo=0.3",), ())


@pytest.mark.parametrize(
    ("kept", "options", "expected"),
    [
        (("Dog", "Bark", "Siren"), (), (1, 1)),  # the most specific; one label that has kinds
        (("Dog", "Bark", "Siren"), ("--related", "first"), (2, 1)),
        (("Dog", "Bark", "Siren"), ("--related", "all"), (0, 0)),
        (("Dog", "Cat", "Siren"), (), (1, 0)),
    ],
)
def test_a_build_has_the_related_labels_that_it_was_asked_for(
    bundle: Bundle,
    tmp_path: Path,
    kept: tuple[str, ...],
    options: tuple[str, ...],
    expected: tuple[int, int],
) -> None:
    """And the code for them only where it has some."""
    related, n_ancestors = expected
    labels, out = tmp_path / "labels.txt", tmp_path / "out"
    labels.write_text("\n".join(kept))
    run(
        "firmware",
        "build",
        bundle.path,
        "--target",
        "c",
        "--labels",
        labels,
        *options,
        "--out",
        out,
    )
    numbers = re.findall(r"\d+", (out / SOURCE).read_text().partition("= {")[2])
    image = bytes(map(int, numbers))
    start = Layout(image).starts["related"]
    words = np.frombuffer(image, "<u4", 3, start).tolist()
    assert (words[0], words[2]) == (related, n_ancestors)
    config = (out / "src" / "edge_audio_config.h").read_text()
    assert f"#define EA_FOLD {int(n_ancestors > 0)}\n" in config
