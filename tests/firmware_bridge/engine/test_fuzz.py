"""The C engine under sanitizers: any bytes as an image, any calls on a stream, and real sounds.

A few seconds each; firmware_bridge/engine/fuzz says how to search for longer.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge_audio.engine.image import StateType
from firmware_bridge.toolchains import ENGINE_DIR, engine_sources
from tests.firmware_bridge.engine_images import with_quiet_steps
from tests.firmware_bridge.engine_library import FLAGS, zoo_image
from tests.firmware_bridge.firmware_runs import Make, heard, host_program, run_program

FUZZ_DIR = ENGINE_DIR / "fuzz"
FUZZ_S = 3
HANG_S = 120  # reached only by what never ends
SANITIZERS = ("-g", "-O1", "-fno-sanitize-recover=all")
FAMILIES = ("ssm-lti", "ssm-selective", "mlstm", "mlstm-sigmoid", "slstm", "conv", "mixed")
STATES: tuple[StateType, ...] = ("float", "int16")
MISSING = "needs clang with libFuzzer: apt-get install clang libclang-rt-dev"

Fuzzer = Callable[[str, Sequence[str]], Path]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    """(target, flags) -> its program."""
    folder = tmp_path_factory.mktemp("fuzz")

    def build(target: str, flags: Sequence[str]) -> Path:
        if shutil.which("clang") is None:
            pytest.skip(MISSING)
        program = folder / target
        if program.exists():
            return program
        sources = map(str, [FUZZ_DIR / f"{target}.c", *engine_sources()])
        sanitize = "-fsanitize=fuzzer,address,undefined"
        command = ["clang", *FLAGS, *SANITIZERS, sanitize, *flags, *sources, "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "libclang_rt" in done.stderr:
            pytest.skip(MISSING)
        assert done.returncode == 0, done.stderr[:2000]
        return program

    return build


def fuzz(program: Path, corpus: Path, *options: str, **environment: str) -> int:
    """How many inputs were tried in FUZZ_S, none of which may fail."""
    command = [str(program), "-seed=1", f"-max_total_time={FUZZ_S}", "-print_final_stats=1"]
    done = subprocess.run(
        [*command, *options, str(corpus)],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        cwd=corpus.parent,  # where it leaves the input that fails
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [line.split()[-1] for line in done.stderr.splitlines() if "executed_units" in line]
    return int(counts[0])


def test_any_bytes_as_an_image_do_no_harm(fuzzer: Fuzzer, tmp_path: Path) -> None:
    program = fuzzer("fuzz_open", ["-DEA_FUZZING"])
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for family in FAMILIES:
        for state in STATES:
            image = with_quiet_steps(zoo_image(family, state), 2)  # more is skipped there
            (corpus / f"{family}-{state}").write_bytes(image)
    assert fuzz(program, corpus, "-max_len=16384") > 100


@pytest.mark.parametrize("state", STATES)
def test_any_calls_on_a_stream_keep_its_promises(
    fuzzer: Fuzzer, tmp_path: Path, state: StateType
) -> None:
    """The same scores however it is fed, and events in order; fuzz_push.c checks that itself."""
    program = fuzzer("fuzz_push", [])
    image = tmp_path / "image"
    # Few steps of silence: each run starts two streams anew, and calls are what is tried.
    image.write_bytes(with_quiet_steps(zoo_image("mixed", state), 2))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "noise").write_bytes(
        bytes((0x14, 0x10, 0, 0, 0x25, 9, 9, 1, 0x34, 8, 0, 2, 1, 0, 0, 1))
    )
    assert fuzz(program, corpus, "-max_len=64", EA_FUZZ_IMAGE=str(image)) > 50


@pytest.mark.parametrize("family", FAMILIES)
def test_any_calls_on_a_block_stream_give_the_bits_of_single_steps(
    fuzzer: Fuzzer, tmp_path: Path, family: str
) -> None:
    """Whatever the samples are, with packed weights and without; fuzz_blocks.c checks that."""
    host = [str(path) for path in sorted((ENGINE_DIR / "host").glob("*.c"))]
    program = fuzzer("fuzz_blocks", ["-DEA_HOST", "-march=native", *host])
    image = tmp_path / "image"
    image.write_bytes(with_quiet_steps(zoo_image(family, "float"), 2))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "noise").write_bytes(bytes((3, 16, 0, 1, 4, 9, 9, 0, 5, 30, 0, 2, 2, 0, 0, 7)))
    assert fuzz(program, corpus, "-max_len=32", EA_FUZZ_IMAGE=str(image)) > 20


@pytest.mark.parametrize(
    ("model", "state"),
    [("micro-int8", "int16"), ("micro-int8", "float"), ("tiny-xlstm-int8", "float")],
)
def test_real_sounds_run_clean_under_the_sanitizers_of_gcc(
    make: Make, pcm: Path, model: str, state: StateType
) -> None:
    folder = make(model, "cmake", state).path
    flags = (*SANITIZERS, "-fsanitize=address,undefined")
    program = host_program(folder, f"sanitized-{model}-{state}", "gcc", flags)
    found = heard(run_program([program, pcm]))
    assert found.n_steps > 60 / 0.08
    assert len(found.events) >= 10
