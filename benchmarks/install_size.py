"""Size of the listening install: a fresh virtual environment with `.[mic]`, by package.

    python benchmarks/install_size.py [EXTRAS]

EXTRAS: "mic" unless given; "mic,tflite" is what an install without a C compiler needs.

Measures the last commit (a clone of it, so that nothing is built inside the working tree). Fails
when the install pulls in torch or is larger than LIMIT_MB. Apparent sizes in MB of 10^6 bytes,
compiled bytecode included. pip, which venv puts there, is counted in the total and listed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 250
FORBIDDEN = ("torch", "tensorflow", "jax")


def install(folder: Path, extras: str) -> None:
    """Creates folder/venv and installs the package with these extras into it, as a user would."""
    venv.create(folder / "venv", with_pip=True)
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "source"], check=True)
    command = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*command, f"{folder / 'source'}[{extras}]"], check=True)


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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), sys.argv[1] if len(sys.argv) > 1 else "mic")
        sizes = size_by_package(Path(folder) / "venv")
    print_table(sizes)
    if pulled := [name for name in FORBIDDEN if name in sizes]:
        sys.exit(f"the listening install pulled in {', '.join(pulled)}")
    if sizes.total() > LIMIT_MB * 1e6:
        sys.exit(f"the listening install is larger than {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
