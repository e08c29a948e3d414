"""Whatever stands in a manifest, opening its bundle ends in one that works or in one clear line.

Random damage and hostile values go through the loader.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.bundle.store import MODELS_DIR, load_bundle, shipped_bundles
from edge_audio.errors import UsageError
from tests.edge_audio.bundle.hostile_bundles import (
    RAW,
    VALID,
    assert_consistent,
    check,
    damaged,
    dumped,
    fuzz,
    nested,
    only_opens_in,
)
from tests.support import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose manifest is overwritten again and again."""
    return toy.save_toy(tmp_path_factory.mktemp("fuzz") / "toy", tflite=b"T", onnx=b"O").path


def test_the_manifest_that_is_damaged_below_is_valid(folder: Path) -> None:
    assert check(folder, RAW)


@fuzz(150)
@given(raw=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_manifest(folder: Path, raw: bytes) -> None:
    assert not check(folder, raw)


@fuzz(400)
@given(raw=damaged(RAW))
def test_damaged_bytes_of_a_manifest_open_or_are_refused(folder: Path, raw: bytes) -> None:
    check(folder, raw)


@fuzz(100)
@given(end=st.integers(0, len(RAW) - 1))
def test_cut_manifest_is_refused(folder: Path, end: int) -> None:
    assert not check(folder, RAW[:end])


HOSTILE_NAMES = [
    *("", " ", ".", "..", "../x", "/etc/passwd", "a/../../x", "a\\b", "..\\x", "C:x", "a\0b"),
    *("x" * 5_000, "a\nb", "\r", "\x1b[31mred", "\x9b31m", "\ud800", "\u2028", "/dev/zero"),
    *("manifest.json", "CARD.md", "scores", "fast_next", "Band 3", "é"),
]
HOSTILE = [
    *(None, True, False, -1, 0, 1, 2, 9, 255, 2**31, 2**40, 2**63, 10**400, -(10**400)),
    *(0.0, -0.0, -1.5, 1e-300, 1e-9, 0.5, 1e300, math.nan, math.inf, -math.inf),
    *([], {}, [[]], {"": ""}, [2**40], [2**20, 2**20], [1, -1], [1, 0], [1] * 40, [1, 2, 3]),
    *(nested(20), nested(500), {"on": 1}, "float64", "int8", "int16", "object"),
    *HOSTILE_NAMES,
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=8), t, max_size=3)
)
values = st.sampled_from(HOSTILE).map(copy.deepcopy) | trees  # edits go on in them


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value below the root."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield (*path, key)
        yield from _paths(tree[key], (*path, key))


PATHS = sorted(_paths(VALID), key=len)


def change(tree: Any, path: tuple[Any, ...], kind: str, value: Any) -> None:
    """Replaces, scales, deletes, renames or adds to what is at the path, if it is still there."""
    for key in path[:-1]:
        tree = tree[key]
    key = path[-1]
    old = tree[key]
    if kind == "replace":
        tree[key] = value
    elif kind == "scale" and type(old) in (int, float) and isinstance(value, int | float):
        tree[key] = old * value if math.isfinite(value) and abs(value) < 1e9 else value
    elif kind == "delete":
        del tree[key]
    elif kind == "rename" and isinstance(tree, dict):
        tree[value if isinstance(value, str) else str(value)[:50]] = tree.pop(key)
    elif kind == "add" and isinstance(old, list):
        old.append(value if value is not None or not old else old[-1])


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    manifest = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(PATHS))
        kind = draw(st.sampled_from(["replace", "scale", "delete", "rename", "add"]))
        try:
            change(manifest, path, kind, draw(values))
        except (KeyError, IndexError, TypeError, OverflowError):  # it is not there, or too large
            continue
    return json.dumps(manifest).encode()


@fuzz(1_000)
@given(raw=edited())
def test_hostile_values_in_a_manifest_open_or_are_refused(folder: Path, raw: bytes) -> None:
    check(folder, raw)


def _value(path: tuple[Any, ...]) -> Any:
    value = VALID
    for key in path:
        value = value[key]
    return value


OTHER_BANDS = set(toy.LABELS[1:])  # all as good as the first
NUMBERS = [p for p in PATHS if type(_value(p)) in (int, float) and not OTHER_BANDS & set(p)]
EXTREMES = [-1, 0, 1e-300, 0.3, 1, 7, 2**13, 10**6, 2**40, 10**400, 1e300, math.nan, math.inf]


@pytest.mark.parametrize("path", NUMBERS, ids=lambda path: "-".join(map(str, path)))
def test_any_number_in_place_of_another_opens_or_is_refused(
    folder: Path, path: tuple[Any, ...]
) -> None:
    opened = []
    for value in EXTREMES:
        manifest = copy.deepcopy(VALID)
        change(manifest, path, "replace", value)
        opened.append(check(folder, json.dumps(manifest).encode()))
    assert not all(opened)


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name not in ("CARD.md", "é")])
def test_hostile_file_names_open_nothing(folder: Path, name: str) -> None:
    entry = {"sha256": "0" * 64, "n_bytes": 5}
    opens = check(folder, dumped(lambda m: m["files"].update({name: entry})))
    assert opens == (name in ("scores", "fast_next", "Band 3"))


@fuzz(60)
@given(path=st.sampled_from([path for path in PATHS if isinstance(path[-1], str)]), value=values)
def test_a_key_given_twice_opens_or_is_refused(
    folder: Path, path: tuple[Any, ...], value: Any
) -> None:
    key = json.dumps(path[-1])
    twice = f"{key}: {json.dumps(value)}, {key}: ".encode()
    check(folder, RAW.replace(f"{key}: ".encode(), twice))


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_bundles_are_consistent(name: str) -> None:
    with only_opens_in(MODELS_DIR / name):
        bundle = load_bundle(name)
    assert_consistent(bundle)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3_000, "a\0b", "a\nb", "\x1b[31m"])
def test_impossible_model_names_are_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_bundle(name)
    assert str(caught.value).isprintable()
