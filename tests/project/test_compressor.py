"""What benchmarks/experiments/compressor.py makes of layers, configurations and failures."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
from click.testing import CliRunner

from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

EXPERIMENTS = REPOSITORY / "benchmarks" / "experiments"


@pytest.fixture(scope="module")
def compressor() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)  # where it finds the module beside it
        return load_script(EXPERIMENTS / "compressor.py")


@pytest.fixture(scope="module")
def runtimes(compressor: ModuleType) -> ModuleType:
    """The module beside it, which it has imported."""
    return sys.modules["compressor_runtimes"]


def test_layers_that_cost_most_stay_float(compressor: ModuleType) -> None:
    assert compressor.in_sets(["head", "embed", "mix"], 1) == (["head"], ["embed", "mix"])
    assert compressor.in_sets(["head", "embed"], 8) == (["head", "embed"], [])


def test_the_same_failure_is_one_note(runtimes: ModuleType) -> None:
    notes = runtimes.Notes()
    assert [notes.number(line) for line in ("a", "b", "a")] == ["no [1]", "no [2]", "no [1]"]
    assert notes.lines == ["a", "b"]


def test_a_failure_is_its_first_line(runtimes: ModuleType) -> None:
    assert runtimes.first_line(KeyError("getitem")) == "KeyError: 'getitem'"
    assert runtimes.first_line(ValueError("\n  one\ntwo\n")) == "ValueError: one"
    assert runtimes.first_line(ValueError()) == "ValueError: "


def test_a_set_in_a_failure_is_sorted(runtimes: ModuleType) -> None:
    error = RuntimeError("Missing out variants: {'b', 'a'}")
    assert runtimes.first_line(error) == "RuntimeError: Missing out variants: {'a', 'b'}"


def test_of_a_long_explanation_the_cause_is_taken(runtimes: ModuleType) -> None:
    text = "Failed.\n\x1b[96mNext steps\x1b[0m\n<class 'errors.DispatchError'>: No function for x"
    assert runtimes.first_line(RuntimeError(text)) == "RuntimeError: No function for x"


@pytest.mark.skipif(find_spec("neural_compressor") is not None, reason="it is installed")
def test_without_the_package_it_says_what_to_install(compressor: ModuleType) -> None:
    result = CliRunner().invoke(compressor.main)
    assert "pip install 'neural-compressor-pt==3.10.*'" in str(result.exception)


def test_a_configuration_names_its_int8_layers(compressor: ModuleType) -> None:
    pytest.importorskip("neural_compressor")
    local = compressor.layers_config(["head"]).local_config
    assert list(local) == ["step.student.head", "step"]  # in this order: the first one counts
    assert [local[name].w_dtype for name in local] == ["int8", "fp32"]
