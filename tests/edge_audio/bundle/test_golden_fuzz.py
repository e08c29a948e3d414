"""Whatever stands in a golden, reading it ends in one that fits or in one clear line, at little
cost."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_audio.backends import installed_backends
from edge_audio.bundle.golden import Golden, load_golden
from edge_audio.bundle.store import load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BundleError
from tests.edge_audio.bundle.hostile_bundles import (
    MB,
    MODEL_FILES,
    assert_one_line,
    damaged,
    fuzz,
)
from tests.support import toy
from tests.support.command_line import error_line, run
from tests.support.limits import peak_below

PARTS = ("samples", "frames", "scores")


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


def test_verify_refuses_a_golden_of_another_model_in_one_line(tmp_path: Path) -> None:
    if not installed_backends() or "micro-int8" not in shipped_bundles():
        pytest.skip("no runtime or no model is installed")
    bundle = load_bundle("micro-int8")
    files = {name: bundle.read(name) for name in MODEL_FILES.values()}
    save_bundle(tmp_path / "b", bundle.manifest, {**files, "golden.npz": GOLDEN})
    done = run("verify", tmp_path / "b", ok=False)
    assert "does not fit its manifest" in error_line(done, 1)
