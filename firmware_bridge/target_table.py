"""The targets that firmware can be built for: what a folder holds, and what is built in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_audio.engine.image import StateType
from firmware_bridge.toolchains import TOOLCHAINS, Toolchain

BuilderName = Literal["programs", "web", "android"]


@dataclass(frozen=True)
class Program:
    """What is linked from objects: all of src, and the sources that are named."""

    name: str
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a folder holds and what is built in it.

    state: how the recurrent state is kept, unless a user says otherwise.
    guides: files below targets/ that say how to build it, for README.md.
    files: pattern below targets/ -> folder of the output, besides src; those that end in .in are
        templates.
    has_golden: with test/, the self-test.
    takes_flags: whether its build system can pass flags to the compiler; otherwise
        edge_audio_config.h has those that scores depend on.
    toolchain: name of the compiler; None = one of the user's own, and nothing is built here.
    builder: what is made with the toolchain. programs: of the builder "programs".
    link_flags: beside the toolchain's.
    """

    name: str
    description: str
    state: StateType
    guides: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    has_golden: bool = True
    takes_flags: bool = True
    toolchain: str | None = None
    builder: BuilderName = "programs"
    programs: tuple[Program, ...] = ()
    link_flags: tuple[str, ...] = ()

    def compiler(self) -> Toolchain | None:
        return TOOLCHAINS[self.toolchain] if self.toolchain else None


LISTEN = ("port/listen.c", "port/report.c")
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


def _cortex_m(name: str, flash: str, ram: str, has_serial: bool = True) -> Target:
    port = (*LISTEN, "port/startup.c", "port/semihosting.c")
    programs = [
        Program("edge_audio.elf", (*port, "port/main.c")),
        Program("self_test.elf", (*port, *SELF_TEST)),
    ]
    guides = ["cortex_m/BUILDING.md"]
    files = [*COMMON_FILES, *CORTEX_M_FILES]
    if has_serial:
        serial = ("port/serve.c", "port/uart.c", "port/serial_main.c")
        programs.append(Program("serial.elf", (*port, *serial)))
        guides.append("cortex_m/SERIAL.md")
        files += SERIAL_FILES
    return Target(
        name=name,
        description=f"{TOOLCHAINS[name].description}: ELF files without a system",
        state="int16",
        guides=tuple(guides),
        files=tuple(files),
        toolchain=name,
        programs=tuple(programs),
        link_flags=(
            "-Wl,-T,port/link.ld",
            f"-Wl,--defsym=flash_bytes={flash}",
            f"-Wl,--defsym=ram_bytes={ram}",
        ),
    )


def _linux(name: str) -> Target:
    port = (*LISTEN, "port/port.c")
    return Target(
        name=name,
        description=f"{TOOLCHAINS[name].description}: static executable",
        state="float",
        guides=("linux/BUILDING.md",),
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
        guides=("c/BUILDING.md",),
        files=(*COMMON_FILES, ("linux/port.c", "port")),
    ),
    Target(
        name="cmake",
        description="CMake project: a library and its self-test",
        state="float",
        guides=("cmake/BUILDING.md",),
        files=(*COMMON_FILES, ("linux/*.c", "port"), ("cmake/CMakeLists.txt.in", "")),
    ),
    Target(
        name="arduino",
        description="Arduino library with an example",
        state="int16",
        guides=("arduino/BUILDING.md",),
        files=(
            ("arduino/library.properties.in", ""),
            ("arduino/EdgeAudio.h", "src"),
            ("arduino/Listen.ino.in", "examples/Listen"),
        ),
        has_golden=False,
        takes_flags=False,
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
        guides=("wasm/BUILDING.md",),
        files=(("wasm/wasm.c", "port"),),
        has_golden=False,
        toolchain="wasm",
        builder="web",
    ),
    Target(
        name="android",
        description="Android 10 and later: JNI libraries, Java and Kotlin sources, the model",
        state="float",
        guides=("android/BUILDING.md",),
        files=(("android/*.c", "jni"), ("android/include/*.h", "jni/include")),
        has_golden=False,
        toolchain="android",
        builder="android",
    ),
)
TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
