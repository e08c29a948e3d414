"""engine.bin as a file: it shares the bytes of model.tflite, and damage to it is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import ENGINE_FILE, SHARED_FILE, Weights, build_image
from edge_audio.errors import BundleError
from quantize.build import share_weights
from tests.quantize.native_export import MIXED, Save, content_of, save_family


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """(family, files) -> a bundle whose labels are L0, L1, ..."""
    return lambda family, files=None: save_family(tmp_path / "zoo", family, files)


def a_model_of(weights: Weights) -> bytes:
    """Bytes that hold the larger pieces among others, in another order."""
    pieces = [piece for piece in weights.pieces if isinstance(piece, bytes)]
    return b"TFL3" + b"between".join(sorted(piece for piece in pieces if len(piece) > 100))


def test_sharing_and_back_is_the_identity() -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    model = a_model_of(weights)
    shared = weights.with_references(model)
    assert shared.has_references
    assert not weights.has_references
    assert len(shared.to_bytes()) < 0.5 * len(weights.to_bytes())
    assert shared.arrays(model) == weights.arrays(b"")
    assert Weights.from_bytes(shared.to_bytes()) == shared
    assert shared.with_references(model) == shared
    assert weights.with_references(b"") == weights


def test_a_shipped_bundle_keeps_its_matrices_once() -> None:
    bundle = load_bundle("micro-int8")
    model = bundle.read(SHARED_FILE)
    weights = Weights.from_bytes(bundle.read(ENGINE_FILE))
    shared = sum(piece[1] for piece in weights.pieces if isinstance(piece, tuple))
    assert shared > 0.5 * len(weights.arrays(model))
    files = {ENGINE_FILE: unshared(weights, model).to_bytes(), SHARED_FILE: model}
    share_weights(files)
    assert files[ENGINE_FILE] == bundle.read(ENGINE_FILE)


def unshared(weights: Weights, model: bytes) -> Weights:
    """The same with bytes in place of references."""
    pieces = (
        piece if isinstance(piece, bytes) else model[piece[0] : piece[0] + piece[1]]
        for piece in weights.pieces
    )
    return msgspec.structs.replace(weights, pieces=tuple(pieces))


def test_references_beyond_the_model_file_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    model = a_model_of(weights)
    shared = weights.with_references(model).to_bytes()
    bundle = save(MIXED, {ENGINE_FILE: shared, SHARED_FILE: model[:-200]})
    with pytest.raises(BundleError, match=r"engine.bin refers beyond model.tflite: restore"):
        build_image(bundle)
    for start, n_bytes in ((-1, 4), (0, -4), (4, -2), (len(model), 1), (2**62, 2**62)):
        wrong = msgspec.structs.replace(weights, pieces=((start, n_bytes),))
        with pytest.raises(BundleError, match="refers beyond"):
            wrong.arrays(model)


def test_references_without_the_model_file_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    shared = weights.with_references(a_model_of(weights)).to_bytes()
    with pytest.raises(BundleError, match=r"has no model.tflite: export it again"):
        build_image(save(MIXED, {ENGINE_FILE: shared}))


_WRONG_FIELDS = (
    ("channels", "16"),
    ("channels", -8),
    ("n_blocks", 1 << 33),
    ("pieces", [1]),
    ("bound", None),
    ("more", 1),
)


def test_a_damaged_file_is_refused() -> None:
    content = content_of(MIXED)
    damaged = (b"", b"\xc1", content[:-1], content[: len(content) // 2], content + b"\0", b"[1, 2]")
    for other in damaged:
        with pytest.raises(BundleError, match=r"engine.bin is damaged: .*; restore the original"):
            Weights.from_bytes(other)
    fields = msgspec.msgpack.decode(content)
    for name, value in _WRONG_FIELDS:
        with pytest.raises(BundleError, match="is damaged"):
            Weights.from_bytes(msgspec.msgpack.encode({**fields, name: value}))


def test_another_version_is_refused() -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    newer = msgspec.structs.replace(weights, version=2)
    with pytest.raises(BundleError, match=r"is of version 2, this is 1: export the bundle again"):
        Weights.from_bytes(newer.to_bytes())


def test_too_few_weights_for_the_manifest_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    less = msgspec.structs.replace(weights, pieces=weights.pieces[-1:])
    with pytest.raises(BundleError, match="does not fit its manifest: restore"):
        build_image(save(MIXED, {ENGINE_FILE: less.to_bytes()}))


def test_random_damage_is_an_error_or_another_image(save: Save) -> None:
    """Where the bytes still decode, nothing but BundleError comes of them."""
    content = content_of("ssm-lti")
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        at = generator.integers(0, min(len(content), 160 if generator.random() < 0.7 else 10**9))
        damaged[at] = generator.integers(0, 256)
        try:
            build_image(save("ssm-lti", {ENGINE_FILE: bytes(damaged)}))
        except BundleError:
            n_refused += 1
    assert 30 < n_refused < 300


def test_a_bundle_without_it_says_so(save: Save) -> None:
    bundle = save(MIXED, {"CARD.md": b"# Zoo"})
    with pytest.raises(BundleError, match=r"has no engine.bin: export it again with that part"):
        build_image(bundle)
