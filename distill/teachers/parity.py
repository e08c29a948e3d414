"""Compares adapters with what the authors' own code computed.

    python -m distill.teachers.parity FOLDER...

A folder is named as its adapter and holds `golden.npz`: a state under the authors' names
(`state.KEY`), a waveform, and what the authors' code makes of it; `config.json` has the
architecture. `golden_NAME.npz`, with `golden_NAME.json` where numbers differ, are further ones;
one without a state has that of `golden.npz`. The largest difference of each array is divided by
the largest magnitude of the array. Plain files are passed over, and the blocks of students, whose
mathematics a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from distill.teachers.published.registry import system_of
from distill.teachers.published.system import System, assemble
from edge_audio.errors import EdgeAudioError, UsageError

FEATURES_TOLERANCE = 1e-3
"""Of front ends: quiet bins of the originals' logarithms are as inexact as their float32."""
TOLERANCE = 1e-4
_STATE = "state."
STUDENT_BLOCKS = (
    "mamba1_block",
    "mamba1_selective_scan",
    "mamba2_ssd_minimal",
    "mlstm_cell",
    "xlstm_blocks",
)
"""Folders of what no teacher is, but a block of our students has."""


class Difference(NamedTuple):
    """largest: None where the adapter does not compute the array."""

    file: str
    array: str
    largest: float | None

    @property
    def tolerance(self) -> float:
        return FEATURES_TOLERANCE if self.array in FRONT_END_ARRAYS else TOLERANCE

    @property
    def agrees(self) -> bool:
        return self.largest is not None and self.largest <= self.tolerance


FRONT_END_ARRAYS = ("features", "log_mel_db")


def compare(folder: Path) -> list[Difference]:
    """Every array of every golden file in the folder; UsageError if it is no such folder, or its
    weights do not fit the adapter of its name."""
    if not (folder / "golden.npz").is_file():
        raise UsageError(f"{folder} has no golden.npz")
    system = system_of(folder.resolve().name)
    found: list[Difference] = []
    for path in sorted(folder.glob("golden*.npz")):
        found += _compare_file(system, path)
    return found


def _compare_file(system: System, path: Path) -> Iterator[Difference]:
    arrays = read_arrays(path)
    beside = system.state_files.get(path.name, "golden.npz")
    state = state_of(arrays) or state_of(read_arrays(path.with_name(beside)))
    golden = {name: value for name, value in arrays.items() if not name.startswith(_STATE)}
    network = assemble(system, state, {}, architecture_of(path), str(path))
    with torch.inference_mode():
        made = network.recompute(golden)
    for name, value in golden.items():
        if not name.startswith("waveform"):
            yield Difference(path.name, name, _largest(value, made.get(name)))


def read_arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of a file."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def architecture_of(path: Path) -> dict[str, Any]:
    """That of the folder's config.json, changed by what the JSON file of the golden says."""
    found: dict[str, Any] = {}
    for file in (path.with_name("config.json"), path.with_suffix(".json")):
        if file.is_file():
            told = msgspec.json.decode(file.read_bytes())
            subnets = {"subnets": told["subnets"]} if "subnets" in told else {}
            found |= told.get("architecture", {}) | subnets
    return found


def state_of(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights among a file's arrays, under the authors' names."""
    return {
        name.removeprefix(_STATE): value
        for name, value in arrays.items()
        if name.startswith(_STATE)
    }


def _largest(golden: Tensor, made: Tensor | None) -> float | None:
    if made is None:
        return None
    if made.shape != golden.shape:
        return float("inf")
    difference = (made.double() - golden.double()).abs().max()
    return float(difference / golden.double().abs().max().clamp(min=1e-12))


def _print(folder: Path, found: Sequence[Difference]) -> None:
    for one in found:
        largest = "not computed" if one.largest is None else f"{one.largest:.1e}"
        verdict = "" if one.agrees else f"  more than {one.tolerance:.0e}"
        print(f"{folder.name:18}{one.file:28}{one.array:24}{largest:>14}{verdict}")  # noqa: T201


def _passed_over(path: Path) -> str:
    """Why there is nothing to compare here, "" if there is."""
    if path.is_file():
        return "a file, passed over"
    if path.resolve().name in STUDENT_BLOCKS:
        return "of students: pytest tests/distill/students/test_authors_mathematics.py compares it"
    return ""


def main(folders: Sequence[str]) -> int:
    """Exit code: 0 if all arrays agree, 1 if one does not, 2 for wrong usage."""
    if not folders:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    agree = True
    for name in folders:
        if reason := _passed_over(Path(name)):
            print(f"{name}: {reason}", file=sys.stderr)  # noqa: T201
            continue
        try:
            found = compare(Path(name))
        except EdgeAudioError as error:
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
            agree = False
            continue
        _print(Path(name), found)
        agree = agree and all(one.agrees for one in found)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
