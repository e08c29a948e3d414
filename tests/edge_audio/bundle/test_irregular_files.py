"""What stands in place of a bundle's file, be it a link, a pipe, a device or what may not be read,
is not opened, and named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import BundleError, UsageError
from tests.edge_audio.bundle.hostile_bundles import assert_one_line, only_opens_in
from tests.support import toy


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return toy.save_toy(tmp_path / "toy", tflite=b"T" * 64, onnx=b"O" * 64)


def put(path: Path, kind: str, outside: Path) -> None:
    """Something else than a regular file, though a link may lead to the right content."""
    if path.exists():
        path.replace(outside)
    device = Path("/dev/zero")
    targets = {"outside": outside, "loop": path, "nowhere": path / "x", "device": device}
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(targets[kind])


KINDS = ["folder", "pipe", "outside", "loop", "nowhere", "device"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_of_the_bundle_is_not_opened(
    saved: Bundle, tmp_path: Path, kind: str
) -> None:
    put(saved.path / "CARD.md", kind, tmp_path / "original")
    expected = "not a file" if kind in ("folder", "pipe") else "a link"
    with only_opens_in(saved.path), pytest.raises(BundleError, match=expected) as caught:
        saved.read("CARD.md")
    assert_one_line(caught.value, saved.path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
def test_manifest_that_is_no_file_is_not_opened(saved: Bundle, tmp_path: Path, kind: str) -> None:
    put(saved.path / "manifest.json", kind, tmp_path / "original")
    with only_opens_in(saved.path), pytest.raises(BundleError) as caught:
        load_bundle(saved.path)
    assert_one_line(caught.value, saved.path)


@contextmanager
def without_root() -> Iterator[None]:
    """File permissions do not bind root."""
    user = os.geteuid()
    os.seteuid(65_534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_may_not_be_read_is_named(
    saved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (saved.path / "CARD.md").chmod(0)
    with without_root():
        bundle = load_bundle(Path("toy"))
        with pytest.raises(BundleError, match=r"cannot read toy/CARD\.md: Permission denied"):
            bundle.read("CARD.md")
    saved.path.chmod(0)
    with without_root(), pytest.raises(UsageError, match="cannot open model 'toy': Permission"):
        load_bundle("toy")
    saved.path.chmod(0o755)
