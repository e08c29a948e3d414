"""Bundles: what is saved comes back, and what is damaged or hostile is refused by name."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from edge_audio.bundle import golden as golden_module
from edge_audio.bundle import store
from edge_audio.bundle.golden import Golden, load_golden
from edge_audio.bundle.manifest import MAX_MANIFEST_BYTES, SCHEMA_VERSION
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BundleError, EdgeAudioError, UsageError
from edge_audio.support import files
from tests.support import toy
from tests.support.interruptions import interrupted_at, killed_at, steps


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return save_bundle(tmp_path / "toy", toy.MANIFEST, {"CARD.md": b"# Toy\n", "empty": b""})


def edit_manifest(bundle: Bundle, change: Callable[[Any], object]) -> None:
    path = bundle.path / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_saved_bundle_loads_equal(saved: Bundle) -> None:
    loaded = load_bundle(saved.path)
    assert loaded.manifest == saved.manifest
    assert msgspec.structs.replace(loaded.manifest, files={}) == toy.MANIFEST
    assert loaded.read("CARD.md") == b"# Toy\n"
    assert loaded.read("empty") == b""
    assert loaded.contents() == {"CARD.md": b"# Toy\n", "empty": b""}
    assert loaded.file("CARD.md").read_bytes() == b"# Toy\n"


def test_saving_replaces_the_whole_older_bundle_and_leaves_nothing_behind(saved: Bundle) -> None:
    save_bundle(saved.path, toy.MANIFEST, {"other": b"1"})
    assert sorted(path.name for path in saved.path.iterdir()) == ["manifest.json", "other"]
    assert [path.name for path in saved.path.parent.iterdir()] == ["toy"]


@pytest.mark.parametrize("stopped_at", [killed_at, interrupted_at])
@pytest.mark.parametrize("exchange", ["at once", "in two steps"])
def test_saving_that_is_stopped_at_any_step_leaves_the_older_bundle_or_the_new(
    tmp_path: Path,
    exchange: str,
    stopped_at: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if exchange == "in two steps":
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    found = []
    for step, folder in steps(tmp_path):
        path = folder / "toy"
        save_bundle(path, toy.MANIFEST, {"part": b"old", "gone": b""})
        write = partial(save_bundle, path, toy.MANIFEST, {"part": b"new"})
        was_stopped = stopped_at(step, (store.__file__, files.__file__), write)
        bundle = load_bundle(path)
        found.append(bundle.read("part"))
        assert {"manifest.json", *bundle.manifest.files} == {p.name for p in path.iterdir()}
        if not was_stopped:
            break
    assert step > 30
    assert found == sorted(found, reverse=True)  # the old one up to some step
    assert set(found) == {b"old", b"new"}


def test_a_bundle_that_is_being_written_is_not_a_shipped_one(
    saved: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MODELS_DIR", saved.path.parent)
    saved.path.with_name(".toy.01234567.unfinished").mkdir()
    (saved.path.with_name(".toy.01234567.unfinished") / "manifest.json").touch()
    assert shipped_bundles() == ["toy"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeAudioError, match=r"cannot write .*file/toy: "):
        save_bundle(tmp_path / "file" / "toy", toy.MANIFEST, {})


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
@pytest.mark.timeout(10)
def test_what_takes_the_place_of_a_file_while_it_is_opened_is_not_read(
    saved: Bundle, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved.path / "CARD.md"
    outside = saved.path.with_name("outside")
    outside.write_bytes(path.read_bytes())
    look = Path.lstat

    def look_and_swap(self: Path) -> os.stat_result:
        status = look(self)
        if self == path:
            path.unlink()
            {"link": lambda: path.symlink_to(outside), "folder": path.mkdir}.get(
                kind, lambda: os.mkfifo(path)
            )()
        return status

    monkeypatch.setattr(Path, "lstat", look_and_swap)
    with pytest.raises(BundleError, match=r"cannot read .*CARD\.md"):
        saved.read("CARD.md")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc/x", "..", "a\\b", "manifest.json", "", "C:x"]
)
def test_names_that_leave_the_bundle_are_refused_both_ways(saved: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="not allowed"):
        save_bundle(saved.path.parent / "other", toy.MANIFEST, {name: b"x"})
    assert not (saved.path.parent / "other").exists()
    edit_manifest(
        saved, lambda content: content["files"].update({name: {"sha256": "", "n_bytes": 1}})
    )
    with pytest.raises(BundleError, match="not allowed"):
        load_bundle(saved.path)


@pytest.mark.parametrize("content", [b"# Toy!", b"# toy\n", b"", b"# Toy\n\n"])
def test_altered_file_is_named(saved: Bundle, content: bytes) -> None:
    (saved.path / "CARD.md").write_bytes(content)
    with pytest.raises(BundleError, match=r"CARD\.md was altered"):
        saved.file("CARD.md")
    with pytest.raises(BundleError, match=r"CARD\.md was altered"):
        saved.contents()


def test_missing_file_is_named(saved: Bundle) -> None:
    (saved.path / "CARD.md").unlink()
    with pytest.raises(BundleError, match=r"CARD\.md is missing"):
        saved.read("CARD.md")
    with pytest.raises(BundleError, match=r"has no model\.tflite"):
        saved.read("model.tflite")


def test_swapped_in_giant_is_not_read_whole(saved: Bundle) -> None:
    with (saved.path / "CARD.md").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that nobody may load
    with pytest.raises(BundleError, match="altered"):
        saved.read("CARD.md")


def test_directory_in_place_of_a_file_is_one_clear_line(saved: Bundle) -> None:
    (saved.path / "CARD.md").unlink()
    (saved.path / "CARD.md").mkdir()
    with pytest.raises(BundleError, match="cannot read"):
        saved.read("CARD.md")


def test_newer_schema_asks_for_an_update_whatever_else_it_holds(saved: Bundle) -> None:
    newer = {"schema_version": SCHEMA_VERSION + 1, "labels": "are something else now"}
    (saved.path / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(BundleError, match="update edge-audio"):
        load_bundle(saved.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=0), "unknown schema version 0"),
        (lambda m: m.update(schema_version="1"), r"\$\.schema_version"),
        (lambda m: m.pop("labels"), "labels"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.update(labels=["a", "a"]), "labels must be unique"),
        (lambda m: m["labels"].pop(), "scores"),
        (lambda m: m["labels"].__setitem__(0, "Other"), "unknown label 'Band 0'"),
        (lambda m: m["model"].update(frames_per_step="8"), r"\$\.model\.frames_per_step"),
        (lambda m: m["model"].update(frames_per_step=0), "frames"),
        (lambda m: m["model"]["state"][0].update(dtype="object"), r"\$\.model\.state\[0\]\.dtype"),
        (lambda m: m["model"]["state"][1].update(name="fast"), "unique"),
        (lambda m: m["model"]["frontend"].update(hop_samples=0), r"\$\.model\.frontend"),
        (lambda m: m["events"]["thresholds"]["Band 1"].update(on=2), r"0 < off <= on <= 1"),
        (lambda m: m["files"]["CARD.md"].update(n_bytes=1 << 40), "n_bytes must be within"),
        (lambda m: m["files"]["CARD.md"].update(n_bytes=-1), "n_bytes must be within"),
    ],
)
def test_wrong_manifest_says_where_in_one_line(
    saved: Bundle, change: Callable[[Any], object], message: str
) -> None:
    edit_manifest(saved, change)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(saved.path)
    assert "\n" not in str(caught.value)
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"schema_version":1,"x":' + b"[" * 100_000]
)
def test_rubbish_manifest_is_one_clear_line(saved: Bundle, raw: bytes) -> None:
    (saved.path / "manifest.json").write_bytes(raw)
    with pytest.raises(BundleError, match="damaged") as caught:
        load_bundle(saved.path)
    assert "\n" not in str(caught.value)


def test_huge_manifest_is_refused(saved: Bundle) -> None:
    with (saved.path / "manifest.json").open("wb") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match="larger than"):
        load_bundle(saved.path)


@pytest.mark.parametrize("name", ["no-such-model", "no/such/folder"])
def test_unknown_model_lists_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match="give a bundle directory or a shipped model"):
        load_bundle(name)


def test_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        load_bundle(tmp_path)


def test_golden_comes_back_equal_and_with_equal_bytes(tmp_path: Path) -> None:
    golden = toy.golden(16_000)
    loaded = load_golden(
        save_bundle(tmp_path / "b", toy.MANIFEST, {"golden.npz": golden.to_bytes()})
    )
    for name in ("samples", "frames", "scores"):
        found, expected = getattr(loaded, name), getattr(golden, name)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert loaded.to_bytes() == golden.to_bytes()


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **cast("dict[str, Any]", arrays))
    return file.getvalue()


GOOD: dict[str, np.ndarray] = {
    "samples": np.zeros(9, np.int16),
    "frames": np.zeros((2, 3), np.float32),
    "scores": np.zeros((1, 4), np.float32),
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK not really",
        archive(samples=GOOD["samples"]),
        archive(**{**GOOD, "samples": np.zeros(9, np.float32)}),
        archive(**{**GOOD, "frames": np.zeros(3, np.float32)}),
        archive(**{**GOOD, "scores": np.array([[object()]], dtype=object)}),
        archive(**GOOD)[:-40],
    ],
)
def test_damaged_golden_is_refused_and_never_unpickled(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"golden\.npz"):
        Golden.from_bytes(content)


def test_golden_that_unpacks_to_a_giant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_module, "MAX_FILE_BYTES", 1 << 20)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("samples.npy", bytes(2 << 20))
    assert len(file.getvalue()) < 1 << 14
    with pytest.raises(BundleError, match="unpacks to more"):
        Golden.from_bytes(file.getvalue())


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_bundles_are_whole_and_small(name: str) -> None:
    bundle = load_bundle(name)
    assert bundle.manifest.name == name
    models = {"model.pte"} if name.endswith("-executorch") else {"model.tflite", "model.onnx"}
    for part in (*models, "golden.npz", "CARD.md"):
        assert bundle.file(part).is_file()
    assert set(bundle.manifest.files) | {"manifest.json"} == {p.name for p in bundle.path.iterdir()}
    assert sum(entry.n_bytes for entry in bundle.manifest.files.values()) < 4 << 20


def test_what_is_no_name_of_a_model_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match="model is None: give the name"):
        load_bundle(None)  # type: ignore[arg-type]
