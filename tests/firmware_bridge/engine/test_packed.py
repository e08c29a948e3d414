"""Weights that are packed for wide vectors give the bits of those of the image, in every family."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.engine.image import build_image
from edge_audio.engine.variants import VARIANTS, Variant
from firmware_bridge.toolchains import ENGINE_DIR
from tests.firmware_bridge.engine_library import (
    Model,
    Stream,
    aligned,
    compile_library,
    noise,
    open_model,
    zoo_image,
)
from tests.support.student_zoo import ENGINE_FAMILIES

WIDE = [
    (level, variant)
    for level, variant in enumerate(VARIANTS["x86_64"])
    if "-mavx2" in variant.flags
]
SOUNDS = noise(30 * 1280, seed=4)


def pack(model: Model) -> np.ndarray:
    """What has to be kept for as long as the model is used."""
    library = model.library
    library.ea_pack_size.restype = ctypes.c_size_t
    for function in (library.ea_pack, library.ea_pack_size):
        function.argtypes = (ctypes.c_void_p, ctypes.c_void_p)[: 1 + (function is library.ea_pack)]
    n_bytes = library.ea_pack_size(model.address)
    assert n_bytes > 0
    memory = np.full(n_bytes + 64 + 8, 0xA5, np.uint8)
    start = -memory.ctypes.data % 64
    library.ea_pack(model.address, memory.ctypes.data + start)
    assert (memory[start + n_bytes :] == 0xA5).all()
    return memory


def scores_of(model: Model) -> np.ndarray:
    """After every second of sounds."""
    stream, found = Stream(model), []
    for start in range(0, len(SOUNDS), 3 * 1280):
        stream.push(SOUNDS[start : start + 3 * 1280])
        found.append(stream.scores)
    return np.array(found)


@pytest.fixture(scope="module", params=WIDE, ids=[variant.name for _, variant in WIDE])
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The engine for computers with wide vectors; skipped where this one has others."""
    level, variant = request.param
    host = [str(path) for path in sorted((ENGINE_DIR / "host").glob("*.c"))]
    return compiled(tmp_path_factory.mktemp("packed"), level, variant, host)


def compiled(folder: Path, level: int, variant: Variant, host: list[str]) -> ctypes.CDLL:
    try:
        plain = compile_library(folder, ["-DEA_HOST", "-O1", *host])
        if plain.ea_cpu_level() < level:
            pytest.skip(f"this CPU does not run {variant.name}")
        return compile_library(folder, ["-DEA_HOST", *variant.flags, *host])
    except AssertionError as error:  # a compiler for another architecture
        pytest.skip(f"no compiler for {variant.name}: {error}")


@pytest.mark.parametrize("family", [*ENGINE_FAMILIES, "mixed"])
def test_packed_weights_give_the_same_bits(library: ctypes.CDLL, family: str) -> None:
    image = zoo_image(family)
    packed = open_model(library, image)
    kept = pack(packed)
    np.testing.assert_array_equal(scores_of(packed), scores_of(open_model(library, image)))
    assert len(kept)


@pytest.mark.parametrize("name", ["micro-int8", "tiny-int8", "tiny-xlstm-int8"])
def test_packed_weights_of_shipped_models_give_the_same_bits(
    library: ctypes.CDLL, name: str
) -> None:
    image = build_image(load_bundle(name))
    packed = open_model(library, image)
    kept = pack(packed)
    np.testing.assert_array_equal(scores_of(packed), scores_of(open_model(library, image)))
    assert len(kept)


@pytest.mark.parametrize("window_samples", [400, 395])
def test_windows_that_are_loaded_together_give_the_bits_of_each_alone(
    library: ctypes.CDLL, window_samples: int
) -> None:
    bundle = load_bundle("tiny-int8")
    shape = bundle.manifest.model
    front = msgspec.structs.replace(shape.frontend, window_samples=window_samples)
    shape = msgspec.structs.replace(shape, frontend=front)
    manifest = msgspec.structs.replace(bundle.manifest, model=shape)
    model = open_model(library, build_image(replace(bundle, manifest=manifest)))
    library.ea_scratch_size.argtypes = (ctypes.c_void_p,)
    library.ea_scratch_size.restype = ctypes.c_size_t
    pointer = ctypes.c_void_p
    library.ea_log_mel.argtypes = (pointer, pointer, ctypes.c_size_t, pointer, pointer)
    scratch = aligned(library.ea_scratch_size(model.address))
    samples = SOUNDS.astype(np.float32) / np.float32(32_768.0)

    def frames(first: int, n: int) -> np.ndarray:
        found = np.zeros((n, front.n_mels), np.float32)
        heard = samples[first * front.hop_samples :]
        arguments = (heard.ctypes.data, n, found.ctypes.data, scratch.ctypes.data)
        library.ea_log_mel(model.address, *arguments)
        return found

    each = np.concatenate([frames(first, 1) for first in range(19)])
    np.testing.assert_array_equal(frames(0, 19), each)
