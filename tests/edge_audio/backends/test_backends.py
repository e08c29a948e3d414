"""Every runtime computes the same model in the same way."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import threading
from importlib.metadata import metadata
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.backends import (
    BACKEND_NAMES,
    RUNTIMES,
    Runtime,
    backends_for,
    open_backend,
)
from edge_audio.backends.compiler import CPP, C, cached_library, find_compiler, load_library
from edge_audio.backends.litert import require_golden
from edge_audio.bundle.golden import Golden
from edge_audio.bundle.spec import TensorSpec
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BackendError, BundleError, UsageError
from tests.support import toy
from tests.support.contract import check_backend
from tests.support.runtimes import open_or_skip, require_runtimes

SHIPPED = [
    (name, backend)
    for name in shipped_bundles()
    for backend in BACKEND_NAMES
    if RUNTIMES[backend].file in load_bundle(name).manifest.files
]


EXPORTED = [name for name in BACKEND_NAMES if name != "native"]
"""Those that a graph of any kind can be exported for; the engine runs students alone."""


@pytest.fixture(scope="module")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toy.save_toy(tmp_path_factory.mktemp("bundles") / "toy", **toy.exported())


def test_numpy_reference_holds_the_contract() -> None:
    check_backend(toy.NumpyBackend())


@pytest.mark.parametrize("name", EXPORTED)
def test_backend_holds_the_contract_on_a_toy_model(toy_bundle: Bundle, name: str) -> None:
    check_backend(open_or_skip(toy_bundle, name))


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_backend_holds_the_contract_on_shipped_models(model: str, name: str) -> None:
    check_backend(open_or_skip(load_bundle(model), name))


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_steps_equal_the_definition_over_1000_steps(toy_bundle: Bundle, name: str) -> None:
    rng = np.random.default_rng(2)
    frames = rng.normal(-0.5, 1.0, (8_000, 64)).astype(np.float32)
    expected = toy.run_steps(toy.NumpyBackend(), frames)
    found = toy.run_steps(open_or_skip(toy_bundle, name), frames)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", shipped_bundles())
def test_scores_after_an_hour_equal_a_fresh_stream_on_the_last_minute(model: str) -> None:
    bundle = load_bundle(model)
    backend = open_or_skip(bundle, backends_for(bundle)[0])
    rng = np.random.default_rng(5)
    block = rng.normal(-0.6, 0.6, (750, *backend.spec.frames.shape)).astype(np.float32)
    state = backend.initial_state()
    for _ in range(60):  # 750 steps of 80 ms are a minute
        for frames in block:
            scores, state = backend.step(frames, state)
    fresh = backend.initial_state()
    for frames in block:
        fresh_scores, fresh = backend.step(frames, fresh)
    assert all(np.isfinite(array).all() for array in state)
    np.testing.assert_allclose(scores, fresh_scores, atol=0.02)


def test_threads_sharing_a_backend_do_not_mix(toy_bundle: Bundle) -> None:
    backend = open_or_skip(toy_bundle, "litert")
    rng = np.random.default_rng(3)
    streams = rng.normal(-0.5, 1.0, (3, 2_400, 64)).astype(np.float32)
    alone = [toy.run_steps(backend, frames) for frames in streams]
    together: dict[int, np.ndarray] = {}

    def run(i: int) -> None:
        together[i] = toy.run_steps(backend, streams[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(alone):
        np.testing.assert_array_equal(together[i], expected)


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize(
    "wrong",
    [
        TensorSpec(name="slow", shape=(1, 4, 3)),
        TensorSpec(name="slow", shape=(1, 3, 4), dtype="int8"),
        TensorSpec(name="sluggish", shape=(1, 3, 4)),
    ],
)
def test_model_that_does_not_fit_its_manifest_is_refused_by_tensor_name(
    toy_bundle: Bundle, tmp_path: Path, name: str, wrong: TensorSpec
) -> None:
    open_or_skip(toy_bundle, name)
    state = tuple(wrong if tensor.name == "slow" else tensor for tensor in toy.SPEC.state)
    model = msgspec.structs.replace(toy.SPEC, state=state)
    manifest = msgspec.structs.replace(toy.MANIFEST, model=model)
    bundle = toy.save_toy(tmp_path / "wrong", manifest, **toy.exported())
    with pytest.raises(BackendError, match=r"tensor '(slow|sluggish)"):
        open_backend(bundle, name)


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4096)])
def test_rubbish_model_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes) -> None:
    require_runtimes(name)
    bundle = toy.save_toy(tmp_path / "rubbish", tflite=content, onnx=content, pte=content)
    with pytest.raises(BackendError, match="cannot load") as caught:
        open_backend(bundle, name)
    assert "\n" not in str(caught.value)


def test_rubbish_weights_of_the_engine_are_one_clear_line(tmp_path: Path) -> None:
    require_runtimes("native")
    for content in (b"", b"not weights", bytes(4096)):
        bundle = toy.save_toy(tmp_path / "rubbish", native=content)
        with pytest.raises(BundleError, match=r"engine\.bin is damaged") as caught:
            open_backend(bundle, "native")
        assert "\n" not in str(caught.value)


WITHOUT_RUNTIMES = (
    "import sys\n"
    "for module in ('ai_edge_litert', 'executorch', 'tflite_runtime', 'onnxruntime'):\n"
    "    sys.modules[module] = None  # as if it were not installed\n"
)


def test_auto_takes_the_engine_where_no_runtime_is_installed() -> None:
    require_runtimes("native")
    code = f"{WITHOUT_RUNTIMES}from edge_audio import Tagger\nprint(Tagger.open().backend.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "native\n"


def test_a_compiler_that_fails_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_runtimes("native")
    monkeypatch.setattr("edge_audio.backends.engine_library.find_packaged", lambda: None)
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendError, match="false cannot compile the engine: no message"):
        open_backend(load_bundle("tiny-int8"), "native")


def test_a_compiler_may_be_a_command_with_arguments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrapper = tmp_path / "my ccache"
    wrapper.write_text('#!/bin/sh\necho "$1" >> "$0.log"\nexec "$@"\n')
    wrapper.chmod(0o755)
    for language in (C, CPP):
        name = find_compiler(language)
        if name is None:
            pytest.skip(f"needs a {language.name} compiler: apt-get install {language.package}")
        source = tmp_path / "x.c"
        source.write_text("int one(void) { return 1; }\n")
        monkeypatch.setenv(language.variable, f"'{wrapper}' {name[0]} -DX='1 2'")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        arguments = ["-shared", "-fPIC", str(source)]
        path = cached_library(f"{language.variable}.so", language, arguments, "a library")
        assert path == tmp_path / "cache" / "edge-audio" / f"{language.variable}.so"
        assert load_library(path, "").__class__.__name__ == "CDLL"
        assert Path(f"{wrapper}.log").read_text().splitlines()[-1] == name[0]
        assert [entry.name for entry in path.parent.iterdir() if "unfinished" in entry.name] == []


@pytest.mark.parametrize("command", ["gcc 'x", "no-such-compiler -O2"])
def test_a_command_that_is_no_compiler_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("CC", command)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendError, match=r"cannot compile a library: No such file"):
        cached_library("x.so", C, [], "a library")


def test_unknown_backend_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="litert, executorch, onnx, native"):
        open_backend(toy.save_toy(tmp_path / "toy"), "tensorrt")


def test_auto_without_a_model_file_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"edge-audio\[tflite\]"):
        open_backend(toy.save_toy(tmp_path / "toy"))


@pytest.mark.parametrize(
    ("name", "extra"), [("litert", "tflite"), ("executorch", "executorch"), ("onnx", "onnx")]
)
def test_absent_runtime_names_its_extra(tmp_path: Path, name: str, extra: str) -> None:
    bundle = toy.save_toy(tmp_path / "toy", tflite=b"x", onnx=b"x", pte=b"x")
    code = (
        f"{WITHOUT_RUNTIMES}"
        "from edge_audio.backends import installed_backends, open_backend\n"
        "from edge_audio.bundle.store import load_bundle\n"
        "assert {*installed_backends()} <= {'native'}\n"
        f"open_backend(load_bundle({str(bundle.path)!r}), {name!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"BackendError: {_runtime_name(name)} is not installed" in done.stderr
    assert f"pip install 'edge-audio[{extra}]'" in done.stderr


def _runtime_name(name: str) -> str:
    return {"litert": "LiteRT", "executorch": "ExecuTorch", "onnx": "ONNX Runtime"}[name]


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_what_a_record_names_is_there(runtime: Runtime) -> None:
    assert RUNTIMES[runtime.name] is runtime
    assert callable(pkgutil.resolve_name(runtime.opener))
    extras = metadata("edge-audio").get_all("Provides-Extra") or []
    assert not runtime.extra or runtime.extra in extras


def test_runtime_that_fails_the_golden_is_refused(tmp_path: Path) -> None:
    right = toy.golden()
    wrong = Golden(right.samples, right.frames, right.scores[:, ::-1])
    files = {"golden.npz": wrong.to_bytes()}
    bundle = save_bundle(tmp_path / "wrong", toy.MANIFEST, files)
    with pytest.raises(BackendError, match="scores differ"):
        require_golden(bundle, toy.NumpyBackend())
    backend = toy.NumpyBackend()
    assert require_golden(toy.save_toy(tmp_path / "right"), backend) is backend
