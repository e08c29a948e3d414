"""Whatever stands in a bundle, opening it ends in a bundle that works or in one clear line.

Random damage and hostile values go through the loaders; what earlier versions fell for is kept as
single cases. Native runtimes may crash on a damaged model, so they meet one in a process of its
own only.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.backends import State, installed_backends, open_backend
from edge_audio.backends.base import zero_state
from edge_audio.bundle.golden import Golden, load_golden
from edge_audio.bundle.manifest import MAX_MANIFEST_BYTES, SCHEMA_VERSION, Manifest
from edge_audio.bundle.spec import ModelSpec
from edge_audio.bundle.store import MODELS_DIR, Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.cli.models import sections
from edge_audio.errors import BackendError, BundleError, EdgeAudioError, UsageError
from edge_audio.tagging.tagger import Tagger
from tests.support import toy
from tests.support.command_line import error_line, run

MODEL_FILES = {"litert": "model.tflite", "onnx": "model.onnx"}  # of the runtimes tested here
PARTS = ("samples", "frames", "scores")
MB = 1 << 20
Edit = Callable[[Any], object]


def fuzz(max_examples: int) -> settings:
    """The same examples in every run of the same tests."""
    return settings(max_examples=max_examples, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose manifest is overwritten again and again."""
    return toy.save_toy(tmp_path_factory.mktemp("fuzz") / "toy", tflite=b"T", onnx=b"O").path


@pytest.fixture
def saved(tmp_path: Path) -> Bundle:
    return toy.save_toy(tmp_path / "toy", tflite=b"T" * 64, onnx=b"O" * 64)


VALID: Any = json.loads(msgspec.json.encode(toy.MANIFEST))
VALID["labels"], VALID["events"]["thresholds"]["Band 0"]["on"] = list(toy.LABELS), 0.75
VALID["files"] = {name: {"sha256": "0" * 64, "n_bytes": 1} for name in ("model.tflite", "CARD.md")}
VALID["provenance"] = {"seed": 1, "metrics": {"mAP": 0.5}, "commands": ["a", "b\nc"]}
RAW = json.dumps(VALID).encode()


def dumped(edit: Edit) -> bytes:
    """The valid manifest after an edit; NaN, Infinity and lone surrogates are written too."""
    manifest = copy.deepcopy(VALID)
    edit(manifest)
    return json.dumps(manifest).encode()


def edit_on_disk(bundle: Bundle, edit: Edit) -> Bundle:
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))
    return bundle


OPENED: list[str] | None = None  # where the hook below writes, if it should


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(arguments[0], str | bytes):
        OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


@contextmanager
def only_opens_in(folder: Path) -> Iterator[None]:
    """Fails where a file outside the folder is opened within."""
    global OPENED  # noqa: PLW0603
    OPENED = []
    try:
        yield
        outside = {path for path in OPENED if Path(path).resolve().parent != folder.resolve()}
    finally:
        OPENED = None
    assert not outside


@contextmanager
def peak_below(n_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n_bytes


def assert_one_line(error: EdgeAudioError, folder: Path | None = None) -> None:
    text = str(error).replace(str(folder), "")
    assert text.isprintable()  # no line break, no terminal code, no half of a character
    assert 10 < len(text) < 400


class DeafBackend:
    """Fits any manifest and hears nothing."""

    name = "deaf"
    log_mel = None

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def initial_state(self) -> State:
        return zero_state(self.spec)

    def step(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        assert np.isfinite(frames).all()
        assert frames.shape == self.spec.frames.shape
        return np.zeros(self.spec.scores.shape[1], np.float32), state


def assert_consistent(bundle: Bundle) -> None:
    """It can be listened with, shown and written again, at no great cost."""
    manifest = bundle.manifest
    for name in manifest.files:
        assert (bundle.path / name).resolve().parent == bundle.path.resolve()
    assert sum(array.nbytes for array in zero_state(manifest.model)) <= 16 * MB
    tagger = Tagger(bundle, DeafBackend(manifest.model))
    samples = toy.noise(min(3 * manifest.model.step_samples, 40_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tagger.push(samples)
        tagger.flush()
    for title, lines in sections(bundle):
        for line in "\n".join([title, *lines]).replace("\t", " ").split("\n"):
            assert all(ord(char) >= 32 and not 127 <= ord(char) < 160 for char in line)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


def check(folder: Path, raw: bytes) -> bool:
    """Whether a bundle with this manifest opens; if it does not, that is said in one line."""
    (folder / "manifest.json").write_bytes(raw)
    with only_opens_in(folder):
        try:
            bundle = load_bundle(folder)
        except BundleError as error:
            assert_one_line(error, folder)
            return False
        for name in bundle.manifest.files:
            try:
                bundle.read(name)
            except BundleError as error:
                assert_one_line(error, folder)
    assert_consistent(bundle)
    return True


def test_the_manifest_that_is_damaged_below_is_valid(folder: Path) -> None:
    assert check(folder, RAW)


# Bytes.


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """A few bytes overwritten, cut out or put in; sometimes the end is gone."""
    content = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        n_gone = draw(st.integers(0, 3))
        content[start : start + n_gone] = draw(st.binary(max_size=3))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


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


# Values.


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else []


HOSTILE_NAMES = [
    *("", " ", ".", "..", "../x", "/etc/passwd", "a/../../x", "a\\b", "..\\x", "C:x", "a\0b"),
    *("x" * 5_000, "a\nb", "\r", "\x1b[31mred", "\x9b31m", "\ud800", "\u2028", "/dev/zero"),
    *("manifest.json", "CARD.md", "scores", "fast_next", "Band 3", "é"),
]
HOSTILE = [
    *(None, True, False, -1, 0, 1, 2, 9, 255, 2**31, 2**40, 2**63, 10**400, -(10**400)),
    *(0.0, -0.0, -1.5, 1e-300, 1e-9, 0.5, 1e300, math.nan, math.inf, -math.inf),
    *([], {}, [[]], {"": ""}, [2**40], [2**20, 2**20], [1, -1], [1, 0], [1] * 40, [1, 2, 3]),
    *(_nested(20), _nested(500), {"on": 1}, "float64", "int8", "int16", "object"),
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


def shape(n: int, sizes: list[int]) -> Edit:
    return lambda m: m["model"]["state"][n].update(shape=sizes)


def frontend(**changes: float) -> Edit:
    return lambda m: m["model"]["frontend"].update(changes)


def label(text: str) -> Edit:
    return lambda m: m["labels"].__setitem__(11, text)


REFUSED: dict[str, tuple[Edit, str]] = {
    "giant shape": (shape(0, [1, 2**40]), "at most 4194304 elements"),
    "giant in all": (shape(0, [2**22]), "at most 4194304 elements"),
    "empty shape": (shape(0, []), "'fast' must have 1 to 8 sizes"),
    "nine dimensions": (shape(0, [1] * 9), "'fast' must have 1 to 8 sizes"),
    "negative size": (shape(1, [1, -3, -4]), "'slow' must have 1 to 8 sizes"),
    "zero size": (shape(0, [1, 0]), "'fast' must have 1 to 8 sizes"),
    "nameless tensor": (lambda m: m["model"]["state"][0].update(name=""), "tensor name ''"),
    "dtype": (lambda m: m["model"]["state"][0].update(dtype="float64"), "float64"),
    "frames int8": (lambda m: m["model"]["frames"].update(dtype="int8"), "must be float32"),
    "scores int16": (lambda m: m["model"]["scores"].update(dtype="int16"), "must be float32"),
    "two outputs of one name": (
        lambda m: m["model"]["scores"].update(name="fast_next"),
        "'fast_next' is that of a next state too",
    ),
    "rate beyond floats": (frontend(sample_rate_hz=10**400), "sample_rate_hz <= 384000"),
    "rate zero": (frontend(sample_rate_hz=0), "sample_rate_hz"),
    "giant transform": (frontend(fft_size=2**30), "fft_size <= 8192"),
    "odd transform": (frontend(fft_size=500), "power of two"),
    "giant window": (frontend(window_samples=2**40, fft_size=2**40), "fft_size <= 8192"),
    "many bands": (frontend(n_mels=2_000, fft_size=8_192), "at most 256"),
    "no floor": (frontend(log_floor=1e-300), "log_floor"),
    "no scale": (frontend(log_scale=1e-300), "log_scale"),
    "no mean": (frontend(log_mean=-1e300), "log_mean"),
    "no band": (frontend(min_hz=7_999.999_999_9), "min_hz"),
    "latency": (lambda m: m["model"].update(latency_ms=-1), "latency_ms"),
    "tolerance": (lambda m: m["tolerance"].update(scores=-1), "tolerances must be"),
    "duration": (lambda m: m["events"].update(min_off_s=-1), "min_off_s must be"),
    "recall": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(recall=2),
        "recall must be within",
    ),
    "alarms": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(alarms_per_hour=-1),
        "alarms_per_hour must be",
    ),
    "positives": (
        lambda m: m["events"]["thresholds"]["Band 0"].update(n_positives=-1),
        "n_positives",
    ),
    "empty label": (label(" "), "label"),
    "label of two lines": (label("a\nb"), "label 'a b'"),
    "label with terminal code": (label("\x1b[2J"), "label"),
    "endless label": (label("x" * 201), r"label 'xxx.*\.\.\.'"),
    "empty name": (lambda m: m.update(name=""), "name ''"),
    "description": (lambda m: m.update(description="a\x1b[2Jb"), "control codes"),
    "provenance": (lambda m: m.update(provenance={"a": ["\x9b2J"]}), "control codes"),
    "deep provenance": (lambda m: m.update(provenance={"a": _nested(40)}), "nested at most"),
    "newer": (lambda m: m.update(schema_version=SCHEMA_VERSION + 1), "update edge-audio"),
    "much newer": (lambda m: m.update(schema_version=10**400), r"00\.\.\.: update edge-audio"),
    "older": (lambda m: m.update(schema_version=0), "export it again"),
    "long unknown field": (lambda m: m.update({"x" * 9_000: 1}), "unknown field"),
    "coloured unknown field": (lambda m: m.update({"\x1b[31m\n": 1}), "unknown field"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_model_needs_is_refused_in_one_line(saved: Bundle, kind: str) -> None:
    edit, message = REFUSED[kind]
    (saved.path / "manifest.json").write_bytes(dumped(edit))
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(saved.path)
    assert_one_line(caught.value, saved.path)


@pytest.mark.parametrize("filler", [b"[],", b'"",', b'{"a":[]},'])
def test_a_full_size_manifest_takes_little_memory(folder: Path, filler: bytes) -> None:
    head = RAW[: RAW.rindex(b'"provenance"')]
    n_fillers = (MAX_MANIFEST_BYTES - len(head) - 40) // len(filler)
    raw = head + b'"provenance": {"a": [' + filler * n_fillers + b"0]}}"
    assert 0.9 * MAX_MANIFEST_BYTES < len(raw) <= MAX_MANIFEST_BYTES
    with peak_below(64 * MB):
        (folder / "manifest.json").write_bytes(raw)
        load_bundle(folder)


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


# Goldens.


def _archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # about names given twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def npy(descr: str, sizes: str, data: bytes, version: bytes = b"\1\0") -> bytes:
    """An array file whose header says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {sizes}, }}\n".encode("latin1")
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def with_part(part: str, content: bytes) -> bytes:
    return _archive([(f"{x}.npy", content if x == part else SMALL[x]) for x in PARTS])


SMALL = {
    "samples": npy("'<i2'", "(9,)", bytes(18)),
    "frames": npy("'<f4'", "(2, 64)", bytes(512)),
    "scores": npy("'<f4'", "(1, 12)", bytes(48)),
}
GOLDEN = _archive([(f"{part}.npy", SMALL[part]) for part in PARTS])
REAL_GOLDEN = toy.golden(8_000).to_bytes()


def read_golden(content: bytes) -> Golden | None:
    """None where it is refused, in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            golden = Golden.from_bytes(content)
        except BundleError as error:
            assert_one_line(error)
            return None
    dtypes = [getattr(golden, part).dtype for part in PARTS]
    assert dtypes == [np.dtype(np.int16), np.dtype(np.float32), np.dtype(np.float32)]
    assert [getattr(golden, part).ndim for part in PARTS] == [1, 2, 2]
    return golden


def test_the_goldens_that_are_damaged_below_are_valid() -> None:
    assert read_golden(GOLDEN) is not None
    assert read_golden(REAL_GOLDEN) is not None


@fuzz(400)
@given(content=damaged(GOLDEN) | damaged(REAL_GOLDEN) | st.binary(max_size=100))
def test_damaged_goldens_open_or_are_refused(content: bytes) -> None:
    read_golden(content)


@fuzz(80)
@given(end=st.integers(0, len(REAL_GOLDEN) - 1))
def test_cut_goldens_are_refused(end: int) -> None:
    assert read_golden(REAL_GOLDEN[:end]) is None


descrs = st.sampled_from(
    ["'<i2'", "'<f4'", "'>f4'", "'|O'", "'|V9999999999'", "'<U9'", "[('a', '<f4')]", "'x'", "None"]
)
sizes = st.lists(st.sampled_from([-1, 0, 1, 2, 9, 64, 2**40, 2**64]), max_size=4).map(tuple)
headers = st.builds(
    npy,
    descrs,
    sizes.map(str) | st.sampled_from(["(9L,)", "(" * 300, "9", "(1e9,)", "('a',)", "__import__"]),
    st.sampled_from([b"", bytes(18), bytes(512)]),
    st.sampled_from([b"\1\0", b"\2\0", b"\3\0", b"\x09\x09"]),
)
members = st.tuples(
    st.sampled_from([f"{part}.npy" for part in PARTS] + ["../x.npy", "/etc/x", "samples", "a\\b"]),
    headers | st.sampled_from([*SMALL.values(), b"", b"rubbish"]) | damaged(SMALL["frames"]),
)
methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@fuzz(300)
@given(
    part=st.sampled_from(PARTS),
    member=members,
    extra=st.lists(members, max_size=2),
    method=st.sampled_from(methods),
)
def test_hostile_goldens_open_or_are_refused(
    part: str, member: tuple[str, bytes], extra: list[tuple[str, bytes]], method: int
) -> None:
    kept = [(f"{x}.npy", SMALL[x]) for x in PARTS if x != part]
    golden = read_golden(_archive([*kept, member, *extra], method))
    assert golden is None or not extra


def many_members(n_members: int) -> bytes:
    """An archive that lists one member again and again: 65 bytes here, 500 in memory."""
    one = _archive([("samples.npy", b"")])
    start = one.index(b"PK\1\2")
    listing = one[start : one.index(b"PK\5\6")] * n_members
    return (
        one[:start]
        + listing
        + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(listing), start, 0)
    )


PICKLED = io.BytesIO()
np.save(PICKLED, np.array([print]), allow_pickle=True)
HOSTILE_GOLDENS: dict[str, tuple[Callable[[], bytes], str]] = {
    "claims terabytes": (
        lambda: with_part("samples", npy("'<i2'", f"({2**40},)", bytes(18))),
        "cannot reshape",
    ),
    "claims a gigabyte": (
        lambda: with_part("samples", npy("'<i2'", f"({2**29},)", bytes(18))),
        "cannot reshape",
    ),
    "no array": (lambda: with_part("scores", b"rubbish"), "damaged"),
    "pickle": (lambda: with_part("scores", PICKLED.getvalue()), "scores must be float32"),
    "wrong dtype": (lambda: with_part("frames", SMALL["samples"]), "frames must be float32"),
    "big end first": (
        lambda: with_part("samples", npy("'>i2'", "(9,)", bytes(18))),
        "samples must be int16",
    ),
    "header of Python 2": (
        lambda: with_part("samples", npy("'<i2'", "(9L,)", bytes(18))),
        "damaged",
    ),
    "bomb": (lambda: with_part("samples", bytes(64 * MB)), "unpacks to more"),
    "bzip2 bomb": (
        lambda: _archive([(f"{x}.npy", bytes(5 * MB)) for x in PARTS], zipfile.ZIP_BZIP2),
        "not compressed the way",
    ),
    "extra member": (
        lambda: _archive([("../x.npy", b""), *((f"{x}.npy", SMALL[x]) for x in PARTS)]),
        "nothing else",
    ),
    "member twice": (
        lambda: _archive([(f"{x}.npy", SMALL[x]) for x in (*PARTS, "samples")]),
        "nothing else",
    ),
    "many members": (lambda: many_members(100_000), "too many members"),
}


@pytest.mark.parametrize("kind", HOSTILE_GOLDENS)
def test_hostile_golden_is_refused_at_little_cost(kind: str) -> None:
    make, message = HOSTILE_GOLDENS[kind]
    content = make()
    with peak_below(4 * MB), pytest.raises(BundleError, match=message) as caught:
        Golden.from_bytes(content)
    assert_one_line(caught.value)


@pytest.mark.parametrize("part", ["frames", "scores"])
def test_golden_of_another_model_is_refused(tmp_path: Path, part: str) -> None:
    content = with_part(part, npy("'<f4'", "(2, 3)", bytes(24)))
    bundle = save_bundle(tmp_path / "b", toy.MANIFEST, {"golden.npz": content})
    with pytest.raises(BundleError, match=r"golden\.npz does not fit its manifest") as caught:
        load_golden(bundle)
    assert_one_line(caught.value, bundle.path)


# Model files.


@contextmanager
def fake_runtimes() -> Iterator[list[bytes]]:
    """Runtimes that only note what they are given; no native code is run."""
    seen: list[bytes] = []

    def note(*arguments: Any, model_content: bytes | None = None, **_: Any) -> None:
        seen.append(arguments[0] if model_content is None else model_content)
        raise ValueError("fake")

    runtime = MagicMock(Interpreter=note, InferenceSession=note)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("ai_edge_litert", "ai_edge_litert.interpreter", "onnxruntime"):
            patch.setitem(sys.modules, module, runtime)
        yield seen


MODEL = np.random.default_rng(0).bytes(300)


def flipped(bit: int) -> bytes:
    content = bytearray(MODEL)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


@pytest.mark.parametrize("name", MODEL_FILES)
@fuzz(60)
@given(content=damaged(MODEL) | st.integers(0, 8 * len(MODEL) - 1).map(flipped))
def test_changed_model_is_refused_before_the_runtime_sees_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed"
    bundle = save_bundle(path, toy.MANIFEST, {MODEL_FILES[name]: MODEL})
    (path / MODEL_FILES[name]).write_bytes(content)
    expected, message = (BackendError, "fake") if content == MODEL else (BundleError, "altered")
    with fake_runtimes() as seen:
        with pytest.raises(expected, match=message):
            open_backend(bundle, name)
        assert seen == ([MODEL] if content == MODEL else [])


@pytest.mark.parametrize("name", MODEL_FILES)
def test_unchanged_model_does_reach_the_runtime(tmp_path: Path, name: str) -> None:
    bundle = save_bundle(tmp_path / "b", toy.MANIFEST, {MODEL_FILES[name]: MODEL})
    with fake_runtimes() as seen, pytest.raises(BackendError, match="fake"):
        open_backend(bundle, name)
    assert seen == [MODEL]


def part_of_shipped(name: str, file: str, end: int) -> bytes:
    """Its beginning; rubbish too where no model is shipped."""
    path = MODELS_DIR / name / file
    return path.read_bytes()[:end] if path.is_file() else b"?" * end


OPEN_ALL = """
import json, sys
from pathlib import Path
from edge_audio.backends import open_backend
from edge_audio.bundle.store import load_bundle

for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_backend(load_bundle(folder), sys.argv[2])
        result = ("opened", "")
    except Exception as error:
        result = (type(error).__name__, str(error))
    print(json.dumps([folder.name, *result]), flush=True)
"""


@pytest.mark.parametrize("name", MODEL_FILES)
def test_rubbish_with_the_right_hash_ends_in_one_line(tmp_path: Path, name: str) -> None:
    if name not in installed_backends():
        pytest.skip(f"the {name} runtime is not installed")
    rng = np.random.default_rng(1)
    rubbish = {
        "noise": rng.bytes(5_000),
        "tflite-header": b"\x1c\0\0\0TFL3" + rng.bytes(500),
        "tflite-zeros": b"\x1c\0\0\0TFL3" + bytes(500),
        "protobuf": b"\x08\x08\x3a\xff\xff\xff\xff\x0f" + bytes(50),
        "deep-protobuf": b"\x3a\x7e" * 64,
        "json": RAW,
        **{
            f"cut-{end}-{file}": part_of_shipped("micro-int8", file, end)
            for file in MODEL_FILES.values()
            for end in (8, 1_000, 60_000)
        },
    }
    for kind, content in rubbish.items():
        toy.save_toy(tmp_path / kind, tflite=content, onnx=content)
    command = [sys.executable, "-c", OPEN_ALL, str(tmp_path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [kind for kind, *_ in results] == sorted(rubbish)
    for kind, error, message in results:
        assert (kind, error) == (kind, "BackendError")
        assert message.isprintable()


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("other", ["micro-int8", "tiny-xlstm-int8"])
def test_model_of_another_bundle_is_refused_by_tensor_name(
    tmp_path: Path, name: str, other: str
) -> None:
    if name not in installed_backends() or not {"tiny-int8", other} <= {*shipped_bundles()}:
        pytest.skip(f"the {name} runtime or {other} is not installed")
    manifest = load_bundle("tiny-int8").manifest
    swapped = {MODEL_FILES[name]: load_bundle(other).read(MODEL_FILES[name])}
    bundle = save_bundle(tmp_path / "swapped", manifest, swapped)
    with pytest.raises(BackendError, match=r"does not fit its manifest: tensor '\w+' is") as caught:
        open_backend(bundle, name)
    assert_one_line(caught.value)


def test_model_swapped_without_its_hash_is_refused(saved: Bundle, tmp_path: Path) -> None:
    other = toy.save_toy(tmp_path / "other", tflite=b"U" * 64)
    (other.path / "model.tflite").replace(saved.path / "model.tflite")
    with pytest.raises(BundleError, match=r"model\.tflite was altered"):
        open_backend(saved, "litert")


# What stands in place of a file.


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


# The command line.


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


def test_verify_refuses_a_golden_of_another_model_in_one_line(tmp_path: Path) -> None:
    if not installed_backends() or "micro-int8" not in shipped_bundles():
        pytest.skip("no runtime or no model is installed")
    bundle = load_bundle("micro-int8")
    files = {name: bundle.read(name) for name in MODEL_FILES.values()}
    save_bundle(tmp_path / "b", bundle.manifest, {**files, "golden.npz": GOLDEN})
    done = run("verify", tmp_path / "b", ok=False)
    assert "does not fit its manifest" in error_line(done, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_an_impossible_model_name_as_wrong_usage(command: str) -> None:
    error_line(run(*COMMANDS[command], "x" * 300, ok=False), 2)
