"""The command group: help, versions, errors; and the commands that hear nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import click
import msgspec
import numpy as np
import pytest

from edge_audio.backends import backends_for
from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.cli import OWN_COMMANDS
from edge_audio.cli.models import reason_off
from edge_audio.labels.ontology import ancestor_labels, descendant_labels
from tests.support import toy
from tests.support.command_line import error_line, run
from tests.support.virtual_sound_card import VirtualSoundCard


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
    names = "numpy torch onnxruntime ai_edge_litert sounddevice rich"
    names += " distill.cli.distill quantize.cli"
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
    assert command.help.splitlines()[0] in run(name, "--help", env={"COLUMNS": "200"}).stdout


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
        (["--source", "demo", "--sensitivity", "loud"], "quiet"),
        (["--source", "demo", "--threshold", "high"], "LABEL=VALUE"),
        (["--source", "demo", "--threshold", "1.5"], "1.5"),
        (["--source", "demo", "--threshold", "nan"], "nan"),
        (["--source", "demo", "--device", "0"], "--source mic"),
        (["--source", "demo", "--rate", "8000"], "--source -"),
        (["--source", "demo", "--model", "none"], "no model 'none'"),
    ],
)
def test_wrong_requests_exit_2_and_say_what_to_change(
    model: Sequence[object], arguments: list[str], expected: str
) -> None:
    assert expected in error_line(run("listen", *model, *arguments, ok=False), 2)


def test_failures_exit_1_with_one_line(model: Sequence[object], tmp_path: Path) -> None:
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF\0\0\0\0WAVE nothing of the kind")
    failing = (
        ("listen", "--model", tmp_path),
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


def test_models_lists_what_is_shipped() -> None:
    done = run("models", ok=False)
    if not shipped_bundles():
        assert "ships no model" in error_line(done, 1)
    for name in shipped_bundles():
        found = [line for line in done.stdout.splitlines() if line.split()[:1] == [name]]
        manifest = load_bundle(name).manifest
        assert found[0].split()[-2] == str(len(manifest.labels))
        assert len(found) == 2


def test_models_says_how_many_labels_are_on_and_why_others_are_off() -> None:
    """At each sensitivity, and by the reasons that `inspect` has by name."""
    done = run("models").stdout
    _, _, table = done.partition("labels on")
    for name in shipped_bundles():
        (line,) = [line for line in table.splitlines() if line.split()[:1] == [name]]
        events = load_bundle(name).manifest.events
        counts = [int(word) for word in line.split()[1:]]
        on = [len(events.at_sensitivity(x).thresholds) for x in ("quiet", "normal", "eager")]
        assert counts[:3] == on
        listed = run("inspect", name, "--labels").stdout
        off = re.findall(r"^labels off by default: .* \((\d+)\)$", listed, re.MULTILINE)
        assert sorted(filter(None, counts[3:])) == sorted(map(int, off))
        assert sum(counts[3:]) == 527 - len(events.thresholds)


def test_inspect_shows_every_tensor_label_and_file(toy_bundle: Bundle) -> None:
    text = run("inspect", toy_bundle.path, "--labels", "--tensors").stdout
    manifest = toy_bundle.manifest
    names = [tensor.name for tensor in (manifest.model.frames, *manifest.model.state)]
    for name in [*names, *manifest.labels, *manifest.files]:
        assert re.search(rf"\b{re.escape(name)}\b", text), name
    assert "state in all 608 bytes" in text  # 12 + 12 + 64 + 64 float32


@pytest.mark.parametrize("name", shipped_bundles())
def test_inspect_fits_a_page(name: str) -> None:
    lines = run("inspect", name).stdout.splitlines()
    assert 10 < len(lines) <= 24
    assert all(len(line) <= 120 for line in lines)
    manifest = load_bundle(name).manifest
    n_on, n_labels = len(manifest.events.thresholds), len(manifest.labels)
    assert any(line.startswith(f"{n_on} of {n_labels} labels are on (quiet ") for line in lines)
    assert any(line.startswith(f"{n_labels - n_on} labels are off: ") for line in lines)


def test_inspect_tells_of_a_label_that_is_on() -> None:
    thresholds = load_bundle("tiny-int8").manifest.events.thresholds
    label = next(x for x in thresholds if ancestor_labels(x) and descendant_labels(x))
    threshold, shown = thresholds[label], run("inspect", "tiny-int8", label.lower()).stdout
    head, starts, ends, evidence, *related = shown.splitlines()
    assert head == f"{label}: on in tiny-int8"
    assert starts.endswith(f" {threshold.on:.2f}")
    assert ends.endswith(f" {threshold.off:.2f}")
    assert f"on {threshold.n_positives} recordings" in evidence
    for kin in (ancestor_labels(label), descendant_labels(label)):
        assert any(other in line for line in related for other in kin)


def test_inspect_tells_why_a_label_is_off_and_what_switches_it_on(toy_bundle: Bundle) -> None:
    manifest = load_bundle("tiny-int8").manifest
    words = (label for label in manifest.labels if label.isalpha())
    label = next(x for x in words if x not in manifest.events.thresholds)
    shown = run("inspect", "tiny-int8", label).stdout
    assert shown.startswith(f"{label}: off in tiny-int8\n")
    assert reason_off(manifest, label) in shown
    assert f"--threshold {label}=0." in shown
    toy = run("inspect", toy_bundle.path, "Band 11").stdout
    assert "too little evidence" in toy
    assert "--threshold 'Band 11=0.5'" in toy
    assert "did you mean" in error_line(run("inspect", "tiny-int8", "Dogg", ok=False), 2)


def test_inspect_gives_the_reason_of_each_label_that_is_off() -> None:
    manifest = load_bundle("tiny-int8").manifest
    found: dict[str, str] = {}
    for line in run("inspect", "tiny-int8", "--labels").stdout.splitlines():
        if line.startswith("labels"):
            title = line
        elif line:
            found[line.strip()] = title
    off = [label for label in manifest.labels if label not in manifest.events.thresholds]
    for label in off:
        assert found[label].startswith(f"labels off by default: {reason_off(manifest, label)} (")


def test_inspect_tells_of_a_label_what_other_sensitivities_bring() -> None:
    events = load_bundle("tiny-int8").manifest.events
    quiet, eager = (events.sensitivities[x] for x in ("quiet", "eager"))
    on = next(x for x in events.thresholds if x in quiet and x in eager)
    off = next(x for x in eager if x not in events.thresholds)
    for label, there in ((on, {"quiet": quiet, "eager": eager}), (off, {"eager": eager})):
        shown = run("inspect", "tiny-int8", label).stdout
        for sensitivity, thresholds in there.items():
            (line,) = [x for x in shown.splitlines() if x.startswith(f"  {sensitivity} ")]
            assert f" {thresholds[label].on:.2f} (" in line
            assert f"on {thresholds[label].n_positives} recordings" in line


def test_inspect_json_is_the_manifest(toy_bundle: Bundle) -> None:
    text = run("inspect", toy_bundle.path, "--json").stdout
    assert msgspec.json.decode(text, type=Manifest) == toy_bundle.manifest
    label = toy_bundle.manifest.labels[0]
    for more in ([label], ["--labels"]):
        assert "one of them" in error_line(
            run("inspect", toy_bundle.path, *more, "--json", ok=False), 2
        )


def test_verify_passes_on_every_installed_backend(toy_bundle: Bundle) -> None:
    lines = run("verify", toy_bundle.path).stdout.splitlines()
    for name in backends_for(toy_bundle):
        assert any(line.split()[0] == name and line.split()[-1] == "ok" for line in lines)


def test_verify_fails_where_the_replay_differs(toy_bundle: Bundle, tmp_path: Path) -> None:
    golden = toy.golden()
    other = type(golden)(golden.samples, golden.frames, golden.scores * np.float32(0.9))
    files = toy_bundle.contents() | {"golden.npz": other.to_bytes()}
    save_bundle(tmp_path / "other", toy_bundle.manifest, files)
    done = run("verify", tmp_path / "other", ok=False)
    assert done.returncode == 1
    assert "scores" in done.stdout
    assert "Traceback" not in done.stderr


def test_verify_names_an_altered_file(toy_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(toy_bundle.path, tmp_path / "altered")
    path = tmp_path / "altered" / "CARD.md"
    path.write_bytes(b"x" * path.stat().st_size)
    assert "CARD.md" in error_line(run("verify", tmp_path / "altered", ok=False), 1)


def test_devices_lists_the_microphone_of_a_sound_card(
    virtual_sound_card: VirtualSoundCard,
) -> None:
    done = run("devices", env=virtual_sound_card.environment)
    assert re.search(r"^ *\d+ +room ", done.stdout, re.MULTILINE)
    assert done.stderr == ""
