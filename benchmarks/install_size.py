"""Size of the listening install: a fresh virtual environment with `.[mic]`, by package.

    python benchmarks/install_size.py [--extras mic] [--no-compile]

"mic,tflite" is what an install without a C compiler needs. --no-compile is handed to pip, which
then leaves bytecode to Python; that of what listening imports is counted, since it has listened.

Measures the last commit (a clone of it, so that nothing is built inside the working tree). Fails
when the install pulls in torch or is larger than LIMIT_MB. Apparent sizes in MB of 10^6 bytes,
compiled bytecode included. pip, and setuptools where it comes with venv, are counted in the total
and listed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 250
FORBIDDEN = ("torch", "tensorflow", "jax")


def install(folder: Path, extras: str, options: list[str]) -> None:
    """Creates folder/venv and installs the package with these extras into it, as a user would, and
    listens to the demo scene."""
    venv.create(folder / "venv", with_pip=True)
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "source"], check=True)
    command = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", *options]
    subprocess.run([*command, f"{folder / 'source'}[{extras}]"], check=True)
    heard = ["--source", "demo", "--no-realtime", "--duration", "10", "--format", "none"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    environment.pop("PYTHONPATH", None)
    subprocess.run(
        [str(folder / "venv/bin/edge-audio"), "listen", *heard], check=True, env=environment
    )


def size_by_package(folder: Path) -> Counter[str]:
    """Bytes of every top-level name in site-packages, and of the rest of the environment."""
    sizes: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        _, found, inside = str(path).partition("/site-packages/")
        name = inside.split("/")[0] if found else "(environment)"
        sizes[name.removesuffix(".libs")] += path.stat().st_size
    return sizes


def print_table(sizes: Counter[str], n_rows: int = 12) -> None:
    largest = sizes.most_common(n_rows)
    rest = sizes.total() - sum(size for _, size in largest)
    for name, size in [*largest, ("(all others)", rest), ("total", sizes.total())]:
        print(f"{name:<24} {size / 1e6:8.1f} MB")


@click.command()
@click.option("--extras", default="mic", show_default=True)
@click.option("--no-compile", is_flag=True, help="Without pip's bytecode.")
def main(extras: str, no_compile: bool) -> None:
    """Prints the sizes; fails for torch and the like, and above LIMIT_MB."""
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), extras, ["--no-compile"] if no_compile else [])
        sizes = size_by_package(Path(folder) / "venv")
    print_table(sizes)
    if pulled := [name for name in FORBIDDEN if name in sizes]:
        sys.exit(f"the listening install pulled in {', '.join(pulled)}")
    if sizes.total() > LIMIT_MB * 1e6:
        sys.exit(f"the listening install is larger than {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
