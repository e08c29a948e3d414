"""ExecuTorch through our shim: no torch, a compiler once, and clear words where that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from edge_audio.backends import backends_for, installed_backends, open_backend
from edge_audio.bundle.store import load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BackendError
from tests.support import toy
from tests.support.command_line import error_line, run

pytestmark = pytest.mark.skipif(
    "executorch" not in installed_backends(), reason="the executorch runtime is not installed"
)

MODEL = "tiny-int8-executorch"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_listening_on_executorch_loads_no_torch() -> None:
    done = python(
        "import sys; import numpy as np; from edge_audio import Tagger\n"
        f"tagger = Tagger.open({MODEL!r})\n"
        "tagger.push(np.zeros(16_000, np.int16))\n"
        "assert tagger.backend.name == 'executorch' and tagger.n_steps == 12\n"
        "print([name for name in ('torch', 'pandas', 'coremltools') if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_shim_is_compiled_once_and_then_found(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    run("verify", MODEL, env=cache)
    (shim,) = (tmp_path / "edge-audio").iterdir()
    compiled_ns = shim.stat().st_mtime_ns
    run("verify", MODEL, env={**cache, "CXX": "/nonexistent/compiler"})
    assert shim.stat().st_mtime_ns == compiled_ns


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path), "CXX": ""}
    done = run("verify", MODEL, ok=False, env=environment)
    assert "sudo apt-get install g++" in error_line(done, 1)


@pytest.mark.parametrize("compiler", ["false", "/nonexistent/compiler"])
def test_a_compiler_that_fails_is_named(tmp_path: Path, compiler: str) -> None:
    done = run("verify", MODEL, ok=False, env={"XDG_CACHE_HOME": str(tmp_path), "CXX": compiler})
    assert f"{compiler} cannot compile the ExecuTorch shim" in error_line(done, 1)
    assert not list((tmp_path / "edge-audio").iterdir()), "half a shim was left behind"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "edge-audio").write_text("a file where the folder should be")
    done = run("verify", MODEL, ok=False, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert str(tmp_path / "edge-audio") in error_line(done, 1)


def test_a_damaged_shim_is_named(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    run("verify", MODEL, env=cache)
    (shim,) = (tmp_path / "edge-audio").iterdir()
    shim.write_bytes(b"not a library")
    assert str(shim) in error_line(run("verify", MODEL, ok=False, env=cache), 1)


@pytest.mark.parametrize("n_kept", [0, 10, 1_000, 100_000])
def test_a_truncated_program_is_one_line(tmp_path: Path, n_kept: int) -> None:
    bundle = load_bundle(MODEL)
    content = bundle.read("model.pte")[:n_kept]
    files = {"model.pte": content, "golden.npz": bundle.read("golden.npz")}
    save_bundle(tmp_path / "cut", bundle.manifest, files)
    error_line(run("verify", tmp_path / "cut", ok=False), 1)


def test_a_program_of_another_exporter_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the export extra")
    exir = pytest.importorskip("executorch.exir", reason="needs the export extra")
    program = torch.export.export(torch.nn.Identity(), (torch.zeros(1, 8, 64),))
    content = exir.to_edge(program).to_executorch().buffer
    bundle = toy.save_toy(tmp_path / "other", pte=content)
    with pytest.raises(BackendError, match="does not name its tensors"):
        open_backend(bundle, "executorch")


@pytest.mark.parametrize("model", [name for name in shipped_bundles() if "tiny-int8" in name])
def test_steps_allocate_nothing_that_grows(model: str) -> None:
    bundle = load_bundle(model)
    process = psutil.Process()
    for name in backends_for(bundle):
        backend = open_backend(bundle, name)
        frames = np.zeros(backend.spec.frames.shape, np.float32)
        state = backend.initial_state()
        rss = [process.memory_info().rss]
        for _ in range(4):
            for _ in range(8_000):
                state = backend.step(frames, state)[1]
            rss.append(process.memory_info().rss)
        # After a warm-up; what is lost at every step shows in every round, a heap's growth in one.
        grown_kb = min(after - before for before, after in pairwise(rss[1:])) / 1_000
        assert grown_kb < 100, f"{name} grew by {grown_kb:.0f} kB in 8,000 steps"
