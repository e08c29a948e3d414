"""Builds with smaller limits, fewer mixers or one type of state refuse the models that do not fit,
and hear the same of the others."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from edge_audio.engine.image import StateType
from tests.firmware_bridge.engine_images import KINDS, Layout, status, with_word
from tests.firmware_bridge.engine_library import (
    OK,
    STEP,
    TOO_LARGE,
    compile_library,
    noise,
    open_model,
    whole_scores,
    zoo_image,
)

Compile = Callable[..., ctypes.CDLL]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """(flags) -> the engine, compiled quickly."""
    folder = tmp_path_factory.mktemp("engine")
    return lambda *flags: compile_library(folder, ["-O0", *flags])


@pytest.fixture(scope="module")
def library(compiled: Compile) -> ctypes.CDLL:
    return compiled("-O1")


@pytest.mark.parametrize("word", [1, 3, 6, 8, 9, 10])
def test_sizes_beyond_any_build_are_too_large(library: ctypes.CDLL, word: int) -> None:
    """Window, transform, labels, convolutions, blocks, embedding."""
    image = zoo_image("mixed")
    at = Layout(image).starts["sizes"] + 4 * word
    assert status(library, with_word(image, at, 16_384)) == TOO_LARGE


LIMITS = {
    "EA_MAX_CONVS": (3, 4),  # too few for the student, just enough
    "EA_MAX_BLOCKS": (5, 6),
    "EA_MAX_MAP_CHANNELS": (4, 8),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_model_beyond_the_limits_of_a_build_is_too_large(compiled: Compile, limit: str) -> None:
    least, enough = LIMITS[limit]
    assert status(compiled(f"-D{limit}={least}"), zoo_image("mixed")) == TOO_LARGE
    assert status(compiled(f"-D{limit}={enough}"), zoo_image("mixed")) == OK


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_build_without_a_mixer_refuses_those_models(compiled: Compile, kind: int) -> None:
    """The one build has all other mixers, the other this one alone."""
    without, alone = (
        compiled(f"-DEA_MIXERS={0x3F ^ 1 << kind}"),
        compiled(f"-DEA_MIXERS={1 << kind}"),
    )
    for other, family in enumerate(KINDS):
        is_same = other == kind
        assert status(without, zoo_image(family)) == (TOO_LARGE if is_same else OK)
        assert status(alone, zoo_image(family)) == (OK if is_same else TOO_LARGE)
    assert status(without, zoo_image("mixed")) == TOO_LARGE


@pytest.mark.parametrize(("states", "left_out"), [(1, "int16"), (2, "float")])
def test_a_build_without_a_state_type_refuses_those_models(
    compiled: Compile, states: int, left_out: str
) -> None:
    library = compiled(f"-DEA_STATES={states}")
    both: tuple[StateType, ...] = ("float", "int16")
    for state in both:
        image = zoo_image("mixed", state)
        assert status(library, image) == (TOO_LARGE if state == left_out else OK)


def test_a_build_with_less_hears_the_same(compiled: Compile, library: ctypes.CDLL) -> None:
    image = zoo_image("ssm-lti", "int16")
    small = compiled("-DEA_MIXERS=1", "-DEA_STATES=2", "-DEA_MAX_CONVS=4", "-DEA_MAX_BLOCKS=2")
    assert small.ea_model_size() < library.ea_model_size()
    found, expected = (
        whole_scores(open_model(each, image), noise(20 * STEP)) for each in (small, library)
    )
    np.testing.assert_array_equal(found, expected)
