"""Compiles the C engine into the wheel, where there is a C compiler; without one the package works
through other runtimes. Everything else about the package stands in pyproject.toml.

CC names the compiler. For another platform it is one for that, and bdist_wheel is told the tag, by
--plat-name: see .ci/wheels.
EDGE_AUDIO_ENGINE=none leaves the engine out, EDGE_AUDIO_ENGINE=required fails without it.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
ENGINE_DIR = ROOT / "firmware_bridge" / "engine"
LIBRARIES = Path("edge_audio", "engine", "lib")
COMPILERS = ("cc", "gcc", "clang")

_spec = importlib.util.spec_from_file_location(
    "variants", ROOT / "edge_audio" / "engine" / "variants.py"
)
variants = importlib.util.module_from_spec(_spec)
sys.modules["variants"] = variants
_spec.loader.exec_module(variants)


def compiler() -> list[str]:
    """The command of the C compiler; [] if none is installed."""
    if os.environ.get("EDGE_AUDIO_ENGINE") == "none":
        return []
    wished = shlex.split(os.environ.get("CC", ""), posix=os.name != "nt")
    return wished or [name for name in COMPILERS if shutil.which(name)][:1]


class BuildEngine(build_ext):
    """Puts the libraries into edge_audio/engine/lib: of the wheel, or of the sources where these
    are installed as they lie."""

    def run(self):
        self.libraries_built = []
        command = compiler()
        folder = (ROOT if self.inplace else Path(self.build_lib)) / LIBRARIES
        platform = self.get_finalized_command("bdist_wheel").plat_name
        wanted = variants.variants_of(variants.machine_of(platform))
        if command:
            folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(2) as pool:
                done = list(pool.map(lambda one: compile_one(command, one, folder), wanted))
            self.libraries_built = [path for path in done if path]
        if len(self.libraries_built) < len(wanted):
            self.do_without()

    def do_without(self):
        """All or none: the first library tells which of the others is for this CPU."""
        if os.environ.get("EDGE_AUDIO_ENGINE") == "required":
            raise SystemExit("the C engine was not compiled: see above, or install gcc")
        for path in self.libraries_built:
            path.unlink()
        self.libraries_built = []

    def get_outputs(self):
        return [str(Path(self.build_lib) / LIBRARIES / path.name) for path in self.libraries_built]

    def get_output_mapping(self):
        return {output: str(LIBRARIES / Path(output).name) for output in self.get_outputs()}


def compile_one(command, variant, folder):
    """The library, or None if the compiler fails."""
    path = folder / variants.file_name(variant)
    draft = path.with_suffix(".draft")  # a program may run the old one
    position = [] if os.name == "nt" else ["-fPIC"]
    is_zig = any("zig" in Path(word).name for word in command)
    arguments = variants.compile_arguments(ENGINE_DIR, variant, draft, is_zig)
    try:
        subprocess.run([*command, *position, *arguments], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"the C engine is left out: {error}\n")
        return None
    draft.replace(path)
    return path


class TagWheel(bdist_wheel):
    """Any Python loads the libraries: they know nothing of it."""

    def get_tag(self):
        *_, platform = super().get_tag()
        built = self.get_finalized_command("build_ext")
        return "py3", "none", platform if getattr(built, "libraries_built", ()) else "any"


setup(
    ext_modules=[Extension("edge_audio.engine.lib", [])],
    cmdclass={"build_ext": BuildEngine, "bdist_wheel": TagWheel},
)
