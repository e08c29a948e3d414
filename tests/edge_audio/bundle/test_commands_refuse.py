"""Commands say in one line what is wrong with a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_audio.backends import installed_backends
from edge_audio.bundle.store import Bundle
from tests.edge_audio.bundle.hostile_bundles import MODEL_FILES, edit_on_disk, frontend, shape
from tests.support import toy
from tests.support.command_line import error_line, run


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return toy.save_toy(tmp_path / "toy", tflite=b"T" * 64, onnx=b"O" * 64)


Break = Callable[[Bundle], object]


def cut(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    path.write_bytes(path.read_bytes()[:500])


def edit_card(bundle: Bundle) -> None:
    (bundle.path / "CARD.md").write_bytes(b"# Joy\n")


def edit_model(bundle: Bundle) -> None:
    for file in MODEL_FILES.values():
        (bundle.path / file).write_bytes(b"!" * 64)


def slip(manifest: Any) -> None:
    manifest["files"]["../x"] = manifest["files"]["CARD.md"]


COMMANDS = {
    "inspect": ("inspect",),
    "verify": ("verify",),
    "listen": ("listen", "--source", "demo", "--format", "text", "--model"),
}
BAD: dict[str, tuple[Break, str]] = {
    "cut": (cut, "damaged"),
    "newer": (lambda b: edit_on_disk(b, lambda m: m.update(schema_version=9)), "update edge-audio"),
    "slip": (lambda b: edit_on_disk(b, slip), "'../x' is not allowed"),
    "giant": (lambda b: edit_on_disk(b, shape(0, [1, 2**40])), "at most 4194304 elements"),
    "rate": (lambda b: edit_on_disk(b, frontend(sample_rate_hz=10**400)), "sample_rate_hz"),
}


@pytest.mark.parametrize(
    ("command", "kind"),
    [*(("inspect", kind) for kind in BAD), ("verify", "giant"), ("listen", "cut")],
)
def test_commands_refuse_a_bad_manifest_in_one_line(saved: Bundle, command: str, kind: str) -> None:
    spoil, message = BAD[kind]
    spoil(saved)
    done = run(*COMMANDS[command], saved.path, ok=False)
    assert message in error_line(done, 1)
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    ("command", "spoil", "message"),
    [
        ("verify", edit_card, "CARD.md was altered"),
        ("listen", edit_model, "was altered"),
        ("verify", lambda bundle: None, "cannot load"),  # the toy's models are rubbish
        ("listen", lambda bundle: None, "cannot load"),
    ],
)
def test_commands_refuse_bad_files_in_one_line(
    saved: Bundle, command: str, spoil: Break, message: str
) -> None:
    if not installed_backends():
        pytest.skip("no runtime is installed")
    spoil(saved)
    done = run(*COMMANDS[command], saved.path, ok=False)
    assert message in error_line(done, 1)
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_an_impossible_model_name_as_wrong_usage(command: str) -> None:
    error_line(run(*COMMANDS[command], "x" * 300, ok=False), 2)
