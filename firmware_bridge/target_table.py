"""The targets that firmware can be built for: what a folder holds, and what is built in it."""

from __future__ import annotations

from dataclasses import dataclass

from edge_audio.engine.image import StateType
from firmware_bridge.toolchains import TOOLCHAINS, Toolchain


@dataclass(frozen=True)
class Program:
    """What is linked from objects: all of src, and the sources that are named."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """What a folder holds and what is built in it.

    files: pattern below targets/ -> folder of the output, besides src; those that end in .in are
        templates. programs: built at once where the toolchain of that name is installed.
    state: by default. link_flags: beside the toolchain's. has_golden: with test/, the self-test.
    how_to_build: for README.md.
    """

    name: str
    description: str
    state: StateType
    how_to_build: str
    files: tuple[tuple[str, str], ...] = ()
    toolchain: str | None = None
    programs: tuple[Program, ...] = ()
    link_flags: tuple[str, ...] = ()
    has_golden: bool = True

    def compiler(self) -> Toolchain | None:
        return TOOLCHAINS[self.toolchain] if self.toolchain else None


COMMON = ("port/listen.c", "port/report.c")
SELF_TEST = ("test/self_test.c", "test/edge_audio_golden.c")
COMMON_FILES = (
    ("common/listen.[ch]", "port"),
    ("common/report.[ch]", "port"),
    ("common/port.h", "port"),
    ("common/self_test.c", "test"),
)
CORTEX_M_FILES = tuple(
    (f"cortex_m/{name}", "port")
    for name in ("link.ld", "main.c", "startup.[ch]", "semihosting.[ch]")
)
SERIAL_FILES = (
    ("common/serve.[ch]", "port"),
    ("common/serial_port.h", "port"),
    ("cortex_m/serial_main.c", "port"),
    ("cortex_m/uart.c", "port"),
)
SERIAL = " serial.elf reports over the UART of QEMU's mps2 boards what it hears, to `edge-audio "
SERIAL += "listen --source serial:PORT`; for a board, put its UART into port/uart.c."


def _cortex_m(name: str, flash: str, ram: str, has_serial: bool = True) -> Target:
    port = (*COMMON, "port/startup.c", "port/semihosting.c")
    serial = Program("serial.elf", (*port, "port/serve.c", "port/uart.c", "port/serial_main.c"))
    return Target(
        name=name,
        description=f"{TOOLCHAINS[name].description}: ELF files without a system",
        state="int16",
        how_to_build="`make` builds edge_audio.elf, which hears a recording through semihosting "
        "(a debugger or QEMU), and self_test.elf; `make run FILE=sound.pcm` and `make test` run "
        "them in QEMU. For a board, set flash_bytes and ram_bytes in the Makefile to its sizes, "
        "and replace port/semihosting.c by functions that read your microphone."
        + (SERIAL if has_serial else ""),
        files=(*COMMON_FILES, *CORTEX_M_FILES, *(SERIAL_FILES if has_serial else ())),
        toolchain=name,
        programs=(
            Program("edge_audio.elf", (*port, "port/main.c")),
            Program("self_test.elf", (*port, *SELF_TEST)),
            *((serial,) if has_serial else ()),
        ),
        link_flags=(
            "-Wl,-T,port/link.ld",
            f"-Wl,--defsym=flash_bytes={flash}",
            f"-Wl,--defsym=ram_bytes={ram}",
        ),
    )


def _linux(name: str) -> Target:
    port = (*COMMON, "port/port.c")
    return Target(
        name=name,
        description=f"{TOOLCHAINS[name].description}: static executable",
        state="float",
        how_to_build="`make` builds edge_audio and self_test. `arecord -q -t raw -f S16_LE "
        "-r 16000 -c 1 | ./edge_audio` prints a JSON line for each event.",
        files=(*COMMON_FILES, ("linux/*.c", "port")),
        toolchain=name,
        programs=(
            Program("edge_audio", (*port, "port/main.c")),
            Program("self_test", (*port, *SELF_TEST)),
        ),
    )


_TARGETS = (
    Target(
        name="c",
        description="C99 sources, for a build system of your own",
        state="float",
        how_to_build="Compile src/*.c with -Isrc and -ffp-contract=off; nothing else is needed, "
        "not even a libc. test/ and port/ make a self-test: `cc -O2 -ffp-contract=off -Isrc "
        "-Iport -Itest src/*.c port/*.c test/*.c -o self_test && ./self_test`.",
        files=(*COMMON_FILES, ("linux/port.c", "port")),
    ),
    Target(
        name="cmake",
        description="CMake project: a library and its self-test",
        state="float",
        how_to_build="`cmake -B build && cmake --build build && ctest --test-dir build` builds "
        "libedge_audio, edge_audio_listen and the self-test, and runs it. In a project of yours: "
        "`add_subdirectory(...)` and `target_link_libraries(app PRIVATE edge_audio)`.",
        files=(*COMMON_FILES, ("linux/*.c", "port"), ("cmake/CMakeLists.txt.in", "")),
    ),
    Target(
        name="arduino",
        description="Arduino library with an example",
        state="int16",
        how_to_build="Put this folder into the `libraries` folder of the Arduino IDE (or zip it: "
        "Sketch, Include Library, Add .ZIP Library) and open File, Examples, EdgeAudio, Listen. "
        "The board needs an FPU and room for the sizes that the example's first lines give.",
        files=(
            ("arduino/library.properties.in", ""),
            ("arduino/EdgeAudio.h", "src"),
            ("arduino/Listen.ino.in", "examples/Listen"),
        ),
        has_golden=False,
    ),
    _cortex_m("cortex-m4", "4M", "256K"),
    _cortex_m("cortex-m7", "4M", "256K"),
    _cortex_m("cortex-m55", "512K", "256K", has_serial=False),
    _linux("linux-aarch64"),
    _linux("linux-armv7"),
    Target(
        name="wasm",
        description=f"{TOOLCHAINS['wasm'].description}: a page, a module, a program for Node",
        state="float",
        how_to_build="Open index.html: it is whole, needs no server and asks for the microphone. "
        "hosted.html is the same page for a server, with edge_audio.wasm, edge_audio_image.bin and "
        "the scripts beside it; edge_audio.js is the interface for pages of your own. `node "
        "run.mjs sound.pcm` prints a JSON line for each event. The module was built from src/ and "
        "port/wasm.c, whose first lines say how.",
        files=(("wasm/wasm.c", "port"),),
        toolchain="wasm",
        has_golden=False,
    ),
    Target(
        name="android",
        description="Android 10 and later: JNI libraries, Java and Kotlin sources, the model",
        state="float",
        how_to_build="Copy jniLibs/ and assets/ into src/main of an app, java/ and kotlin/ beside "
        "its sources; no NDK is needed. The libraries were built from src/ and jni/, without the "
        "limits of src/edge_audio_config.h, so they take any other model.bin too.",
        files=(("android/*.c", "jni"), ("android/include/*.h", "jni/include")),
        toolchain="android",
        has_golden=False,
    ),
)
TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
