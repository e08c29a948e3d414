"""Which packages pip finds ready-built for a Raspberry Pi: 64-bit and 32-bit, by Python version.

    python benchmarks/pi_wheels.py

Nothing is installed: pip resolves, as a Pi would, what pyproject.toml asks for, and its report is
printed as one table. pip can be told another platform and Python version, but it reads the
conditions of requirements ("; platform_machine == ...") on the machine where it runs; PIP_ON_A_PI
answers them for the Pi. glibc is 2.36, the oldest that a Raspberry Pi OS with Python 3.11 has.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
MACHINES = {"aarch64": "64-bit", "armv7l": "32-bit"}
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC_MINORS = range(17, 37)

PIP_ON_A_PI = """
import platform, runpy, sys
machine, python = sys.argv[1:3]
platform.machine = lambda: machine
platform.python_version = lambda: f"{python}.0"
platform.python_version_tuple = lambda: (*python.split("."), "0")
sys.argv[1:] = sys.argv[3:]
runpy.run_module("pip", run_name="__main__")
"""


@dataclass(frozen=True)
class Target:
    """One kind of Raspberry Pi: `machine` as uname says it."""

    machine: str
    python: str

    @property
    def options(self) -> list[str]:
        """What pip must be told to look for this target's wheels alone."""
        tags = ["linux", "manylinux2014", *(f"manylinux_2_{minor}" for minor in GLIBC_MINORS)]
        platforms = [f"--platform={tag}_{self.machine}" for tag in tags]
        return ["--implementation=cp", f"--python-version={self.python}", *platforms]


def wanted() -> dict[str, list[str]]:
    """What is to be installed -> its requirements. tflite-runtime is what edge-audio falls back to
    where there is no ai-edge-litert."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return {
        "edge-audio[mic,tflite]": [*project["dependencies"], *extras["mic"], *extras["tflite"]],
        "edge-audio[onnx]": extras["onnx"],
        "ExecuTorch": extras.get("executorch", ["executorch==1.5.*"]),
        "instead of LiteRT": ["tflite-runtime==2.14.*"],
    }


def name_of(requirement: str) -> str:
    """The package's name as pip's report spells it, folded: "A_b>=1" -> "a-b"."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(target: Target, requirements: list[str], *options: str) -> dict[str, str] | None:
    """Name -> version of all that pip would install, None where wheels are missing."""
    with tempfile.TemporaryDirectory() as folder:  # pip asks for one, and leaves it empty
        command = [sys.executable, "-c", PIP_ON_A_PI, target.machine, target.python]
        command += ["install", "--dry-run", "--ignore-installed", "--quiet", "--report=-"]
        command += ["--only-binary=:all:", f"--target={folder}", *target.options, *options]
        command += requirements
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        installed = [item["metadata"] for item in json.loads(done.stdout)["install"]]
        return {name_of(item["name"]): item["version"] for item in installed}
    if "No matching distribution" in done.stderr or "ResolutionImpossible" in done.stderr:
        return None
    sys.exit(f"pip failed:\n{done.stderr}")  # no network, say: that tells nothing about wheels


def versions(target: Target, requirements: list[str]) -> list[str]:
    """A cell per requirement: a version, one in brackets where something that the package needs
    has no wheel, or none."""
    if found := resolve(target, requirements):
        return [found[name_of(requirement)] for requirement in requirements]
    return [_alone(target, requirement) for requirement in requirements]


def _alone(target: Target, requirement: str) -> str:
    name = name_of(requirement)
    if found := resolve(target, [requirement]):
        return found[name]
    found = resolve(target, [requirement], "--no-deps")
    return f"({found[name]})" if found else "none"


def main() -> None:
    targets = [Target(machine, python) for machine in MACHINES for python in PYTHONS]
    groups = wanted()
    cells: dict[tuple[str, Target], list[str]] = {}
    jobs = [(group, target) for group in groups for target in targets]
    for group, target in track(jobs, description="asking pip", transient=True):
        cells[group, target] = versions(target, groups[group])
    table = Table(
        "", *(f"{MACHINES[target.machine]}\nPython {target.python}" for target in targets)
    )
    for group, requirements in groups.items():
        table.add_section()
        table.add_row(escape(group), style="bold")
        for row, requirement in enumerate(requirements):
            line = [cells[group, target][row] for target in targets]
            table.add_row(name_of(requirement), *line)
    Console(width=110).print(table)
    print("(version): a wheel of its own, but none of something that it needs")


if __name__ == "__main__":
    main()
