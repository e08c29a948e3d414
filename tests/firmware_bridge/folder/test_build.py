"""`edge-audio firmware build`: what each target's folder holds, and that it really builds."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

import firmware_bridge
from edge_audio.engine.image import build_image
from edge_audio.errors import EdgeAudioError
from firmware_bridge.folder.build import build_firmware
from firmware_bridge.folder.size import CallGraph, deepest_stack
from firmware_bridge.target_table import TARGETS
from firmware_bridge.toolchains import TARGETS_DIR, TOOLCHAINS, compile_program
from tests.firmware_bridge.arduino_stubs import ARDUINO_H, PDM_H
from tests.firmware_bridge.firmware_runs import (
    LABELS,
    Make,
    can_run,
    open_sensitive,
    require_command,
    require_compiler,
    run_program,
)
from tests.support.command_line import error_line, run
from tests.support.paths import REPOSITORY

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ARDUINO_CPU = ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb")
ARDUINO_FLAGS = (*ARDUINO_CPU, "-Os", "-std=gnu11")
CORTEX_M = ("cortex-m4", "cortex-m7", "cortex-m55")
IMAGE_PARTS = ("weights", "front-end tables", "labels and thresholds")
LINUX = ("linux-aarch64", "linux-armv7")


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("# what to listen for\n\n" + "\n".join(LABELS) + "\n")
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_writes_a_folder_that_explains_itself(make: Make, name: str) -> None:
    made = make("micro-int8", name)
    assert bool(made.programs) == (TARGETS[name].toolchain is not None)
    assert all(path.stat().st_size > 1000 for path in made.programs)
    readme = (made.path / "README.md").read_text()
    assert f"micro-int8 for {name}" in readme
    assert "@" not in readme
    assert {"LICENSE.md", "MODEL.md", "src"} <= {path.name for path in made.path.iterdir()}
    header = (made.path / "src" / "edge_audio_image.h").read_text()
    assert f"#define EA_IMAGE_BYTES {len(made.image)}\n" in header
    assert f"#define EA_LABELS {len(LABELS)}\n" in header
    assert "EA_LABEL_BABY_CRY_INFANT_CRY = 2," in header


def test_state_is_narrow_on_microcontrollers_unless_told_otherwise(make: Make) -> None:
    states = {name: target.state for name, target in TARGETS.items()}
    assert {name for name, state in states.items() if state == "int16"} == {*CORTEX_M, "arduino"}
    bundle = open_sensitive("micro-int8")
    for name, state in (("cmake", "float"), ("cmake", "int16"), ("arduino", "int16")):
        made = make("micro-int8", name, state)
        assert made.state == state
        assert made.image == build_image(bundle, LABELS, state)


def test_image_is_an_array_of_its_bytes(make: Make) -> None:
    made = make("micro-int8", "cmake")
    text = (made.path / "src" / "edge_audio_image.c").read_text()
    numbers = text[text.index("= {") + 3 : text.rindex("}")].replace("\n", "")
    assert bytes(int(number) for number in numbers.split(",") if number) == made.image


def test_what_a_bundle_says_of_itself_is_neither_compiled_nor_a_property(tmp_path: Path) -> None:
    bundle = open_sensitive("micro-int8")
    manifest = msgspec.structs.replace(
        bundle.manifest, name="a */ int b; /* \\", description="A tagger.\nldflags=-Wl,b\\"
    )
    hostile = dataclasses.replace(bundle, manifest=manifest)
    made = build_firmware(hostile, TARGETS["arduino"], tmp_path / "arduino", LABELS).path
    (header,) = made.rglob("edge_audio_image.h")
    assert header.read_text().startswith("/* a * / int b; / * with ")
    (properties,) = made.rglob("library.properties")
    assert "A tagger. ldflags=-Wl,b Generated" in properties.read_text()


@pytest.mark.parametrize("name", ["cmake", "cortex-m4", "wasm"])
def test_two_builds_have_the_same_bytes(make: Make, tmp_path: Path, name: str) -> None:
    first = make("micro-int8", name)
    bundle = open_sensitive("micro-int8")
    again = build_firmware(bundle, TARGETS[name], tmp_path / "again", LABELS)
    assert files(again.path) == files(first.path)


def test_sources_compile_without_a_warning_and_pass_the_self_test(
    make: Make, tmp_path: Path
) -> None:
    folder = make("micro-int8", "c").path
    compiler = require_command("gcc", "gcc")
    sources = [*folder.glob("src/*.c"), *folder.glob("port/*.c"), *folder.glob("test/*.c")]
    includes = [f"-I{folder / name}" for name in ("src", "port", "test")]
    flags = ["-std=c99", "-O2", "-ffp-contract=off"]
    program = tmp_path / "self_test"
    done = subprocess.run(
        [compiler, *flags, *WARNINGS, *includes, *sources, "-o", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"result":"ok"' in run_program([program])


@pytest.mark.parametrize("name", [*CORTEX_M, *LINUX])
def test_self_test_passes_where_it_was_built_for(make: Make, name: str) -> None:
    made = make("tiny-xlstm-int8", name) if name == "cortex-m4" else make("micro-int8", name)
    toolchain = TOOLCHAINS[name]
    if not can_run(toolchain):
        pytest.skip(toolchain.emulator_missing)
    assert '"result":"ok"' in run_program(toolchain.run_command(made.programs[1]))


def test_self_test_notices_a_model_that_computes_something_else(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(make("micro-int8", "c").path, folder)
    golden = folder / "test" / "edge_audio_golden.c"
    start = golden.read_text().index("ea_golden_scores")
    text = golden.read_text()
    golden.write_text(text[:start] + re.sub(r"0x1\.\w+p-\d+f", "0.5f", text[start:]))
    sources = [*folder.glob("src/*.c"), *folder.glob("port/*.c"), *folder.glob("test/*.c")]
    includes = [folder / name for name in ("src", "port", "test")]
    compile_program(TOOLCHAINS["host"], sources, tmp_path / "self_test", includes)
    done = subprocess.run([tmp_path / "self_test"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '"result":"failed"' in done.stdout


def test_cmake_builds_and_ctest_passes(make: Make, tmp_path: Path) -> None:
    cmake, ctest = (require_command(name, "cmake") for name in ("cmake", "ctest"))
    folder = make("micro-int8", "cmake").path
    for command in (
        [cmake, "-S", folder, "-B", tmp_path],
        [cmake, "--build", tmp_path, "--parallel", "2"],
        [ctest, "--test-dir", tmp_path, "--no-tests=error"],
    ):
        output = run_program(command)
    assert "100% tests passed" in output


@pytest.mark.parametrize("name", ["cortex-m4", "linux-armv7"])
def test_makefile_builds_the_same_programs(make: Make, tmp_path: Path, name: str) -> None:
    command = require_command("make", "make")
    made = make("micro-int8", name)
    folder = tmp_path / "copy"
    shutil.copytree(made.path, folder)
    for program in made.programs:
        (folder / program.name).unlink()
    run_program([command, "-s", "-j2", "-C", folder])
    for program in made.programs:
        assert (folder / program.name).read_bytes() == program.read_bytes()
    if can_run(TOOLCHAINS[name]):
        assert '"result":"ok"' in run_program([command, "-s", "-C", folder, "test"])


def test_arduino_library_compiles_with_its_own_flags_and_contracts_nothing(
    make: Make, tmp_path: Path
) -> None:
    require_compiler("cortex-m4")
    folder = make("micro-int8", "arduino").path
    properties = dict(
        line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines()
    )
    assert {"name", "version", "author", "sentence", "architectures"} <= set(properties)
    assert not (folder / "test").exists()
    for source in sorted((folder / "src").glob("*.c")):
        output = tmp_path / f"{source.stem}.s"
        includes = f"-I{folder / 'src'}"
        flags = [*ARDUINO_FLAGS, includes, "-S", source, "-o", output]
        run_program(["arm-none-eabi-gcc", *flags])
        assert not re.search(r"\bvfn?m[as]\b", output.read_text()), source.name


def test_arduino_sketch_is_correct_cpp(make: Make, tmp_path: Path) -> None:
    compiler = require_command("g++", "g++")
    folder = make("micro-int8", "arduino").path
    (tmp_path / "Arduino.h").write_text(ARDUINO_H)
    (tmp_path / "PDM.h").write_text(PDM_H)
    sketch = folder / "examples" / "Listen" / "Listen.ino"
    flags = ["-std=gnu++17", "-fsyntax-only", *WARNINGS, "-include", "Arduino.h"]
    includes = [f"-I{tmp_path}", f"-I{folder / 'src'}"]
    run_program([compiler, *flags, *includes, "-x", "c++", sketch])


def test_what_the_model_has_no_use_for_costs_no_flash(make: Make, tmp_path: Path) -> None:
    made = make("micro-int8", "cortex-m4")
    assert made.memory is not None
    folder = tmp_path / "copy"
    shutil.copytree(made.path, folder)
    config = folder / "src" / "edge_audio_config.h"
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if "EA_MIXERS" not in line))
    run_program([require_command("make", "make"), "-s", "-C", folder, "edge_audio.elf"])
    sizes = [text_bytes(path / "edge_audio.elf") for path in (made.path, folder)]
    assert sizes[0] + 2000 < sizes[1]
    assert "malloc" not in run_program(["arm-none-eabi-nm", made.programs[0]])


def text_bytes(program: Path) -> int:
    return int(run_program(["arm-none-eabi-size", program]).splitlines()[1].split()[0])


@pytest.mark.parametrize("name", CORTEX_M)
def test_size_report_is_that_of_the_program(make: Make, name: str) -> None:
    made = make("micro-int8", name)
    sizes = run_program(["arm-none-eabi-size", "-A", made.programs[0]])
    sections = {
        line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")
    }
    memory = made.memory
    assert memory is not None
    assert memory.flash_bytes == sum(
        sections.get(part, 0) for part in (".text", ".ARM.exidx", ".data")
    )
    variables = sections[".bss"] + sections.get(".data", 0)
    assert memory.ram_bytes - memory.ram["stack, at most"] == variables
    assert sum(memory.flash[part] for part in IMAGE_PARTS) == len(made.image)
    assert all(n_bytes > 0 for n_bytes in (*memory.flash.values(), *memory.ram.values()))


def test_deepest_stack_adds_up_the_worst_path() -> None:
    frames = {"main": 100, "a": 10, "b": 50, "c": 1}
    calls = {"main": {"a", "b"}, "a": {"c"}, "b": {"c", "library"}}
    assert deepest_stack(CallGraph(frames, calls), "main") == 100 + 50 + 64


@pytest.mark.parametrize("callee", ["main", "__indirect_call"])
def test_deepest_stack_refuses_what_has_no_limit(callee: str) -> None:
    graph = CallGraph({"main": 8, "a": 8}, {"main": {"a"}, "a": {callee}})
    with pytest.raises(EdgeAudioError, match="a calls"):
        deepest_stack(graph, "main")


def test_command_builds_and_reports_sizes(tmp_path: Path, labels_file: Path) -> None:
    require_compiler("cortex-m4")
    out_dir = tmp_path / "out"
    command = ("firmware", "build", "micro-int8", "--target", "cortex-m4")
    options = ("--labels", labels_file, "--out", out_dir)
    text = run(*command, *options, "--flash-kib", 128, "--ram-kib", 32).stdout
    for part in ("weights", "recurrent state", "stack, at most", "edge_audio.elf"):
        assert part in text
    assert re.search(r"flash of 128 KiB: fits +[\d,]+\n", text)
    assert re.search(r"RAM of 32 KiB: fits +[\d,]+\n", text)
    too_small = run(*command, *options, "--ram-kib", 4, ok=False)
    assert too_small.returncode == 1
    assert "RAM of 4 KiB: exceeded" in too_small.stdout


def test_command_lists_targets() -> None:
    text = run("firmware", "targets").stdout
    for name, target in TARGETS.items():
        assert re.search(rf"^{name} +{re.escape(target.description[:20])}", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Dgo\n", "unknown label 'Dgo': did you mean"),
        ("Dog\ndog\n", "names 'Dog' twice"),
        ("# none\n\n", "names no label"),
        ("\udce9", "cannot read labels"),
    ],
)
def test_command_refuses_such_labels(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    options = ("--target", "c", "--labels", path, "--out", tmp_path / "out")
    line = error_line(run("firmware", "build", "micro-int8", *options, ok=False), 2)
    assert reason in line
    assert not (tmp_path / "out").exists()


def test_labels_match_regardless_of_case(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("CAT\ndog\r\n")
    out_dir = tmp_path / "out"
    run("firmware", "build", "micro-int8", "--target", "c", "--labels", path, "--out", out_dir)
    header = (out_dir / "src" / "edge_audio_image.h").read_text()
    assert header.index("EA_LABEL_CAT = 0") < header.index("EA_LABEL_DOG = 1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-model", "--target", "c"),
        ("micro-int8", "--target", "avr"),
        ("micro-int8",),
        ("micro-int8", "--target", "c", "--labels", "no-such-file"),
        ("micro-int8", "--target", "c", "--state", "int4"),
    ],
)
def test_command_refuses_wrong_usage(tmp_path: Path, arguments: Sequence[str]) -> None:
    out = ("--out", tmp_path / "out")
    error_line(run("firmware", "build", *arguments, *out, ok=False), 2)


def test_command_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    options = ("--target", "c", "--out", tmp_path)
    line = error_line(run("firmware", "build", "micro-int8", *options, ok=False), 2)
    assert "has other files in it" in line
    assert (tmp_path / "thesis.txt").exists()


def test_bundle_without_weights_for_the_engine_is_an_error(tmp_path: Path) -> None:
    options = ("--target", "c", "--out", tmp_path / "out")
    line = error_line(run("firmware", "build", "tiny", *options, ok=False), 1)
    assert "engine.bin" in line


def test_a_missing_compiler_is_named_and_the_sources_are_there(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cc", "as", "ld"):
        (tools / name).symlink_to(require_command(name, "gcc"))
    out_dir = tmp_path / "out"
    command = ("firmware", "build", "micro-int8", "--target", "cortex-m4", "--out", out_dir)
    text = run(*command, env={"PATH": str(tools)}).stdout
    assert "not compiled" in text
    assert "apt-get install gcc-arm-none-eabi" in text
    assert (out_dir / "Makefile").is_file()
    assert not (out_dir / "edge_audio.elf").exists()


def test_compile_errors_say_what_the_compiler_said(tmp_path: Path) -> None:
    require_compiler("host")
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return missing; }\n")
    with pytest.raises(EdgeAudioError, match=r"wrong\.c:1:.*missing"):
        compile_program(TOOLCHAINS["host"], [source], tmp_path / "wrong", [])


def test_package_has_all_that_folders_are_made_of() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    assert 'firmware_bridge = ["engine/**/*", "targets/**/*"]' in text
    assert (TARGETS_DIR / "cmake" / "CMakeLists.txt.in").is_file()


def test_the_package_offers_what_the_command_does() -> None:
    assert firmware_bridge.build_firmware is build_firmware
    assert set(firmware_bridge.__all__) <= set(dir(firmware_bridge))
    with pytest.raises(AttributeError, match="no attribute 'flash'"):
        firmware_bridge.flash  # noqa: B018
