"""The folder of a training run and its checkpoint, saved whole and read without running code.

A run folder holds `recipe.json`, `checkpoint.pt`, `metrics.csv` and `curves.png`; one that
was watched `watch.csv` and `watch.png`, too.
"""

from __future__ import annotations

import operator
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import msgspec
import torch

from edge_audio.errors import EdgeAudioError
from edge_audio.support.files import file_draft, write_atomically

CHECKPOINT_NAME = "checkpoint.pt"
RECIPE_NAME = "recipe.json"

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("edge-audio", "torch", "numpy", "scipy")


def describe_run(run_dir: Path, recipe: msgspec.Struct) -> None:
    """Makes the folder and writes `recipe.json`: the recipe (its seed included), the commit of
    this source tree, null outside of one, and the versions of Python and of what computes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    content = {"recipe": recipe, "commit": _commit(), "versions": versions}
    text = msgspec.json.format(msgspec.json.encode(content)) + b"\n"
    write_atomically(run_dir / RECIPE_NAME, text)


def _commit() -> str | None:
    """Hash of the checked-out commit, `-dirty` behind it if tracked files differ."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    ceiling = {"GIT_CEILING_DIRECTORIES": str(_ROOT.parent)}  # a repository further up is not ours
    try:
        done = subprocess.run(
            [*command, "--abbrev=40"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **ceiling},
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Saves tensors and plain values. EdgeAudioError if they cannot be written; whatever
    happens, a kill included, `path` holds either the old state or the new one, whole."""
    try:
        with file_draft(path) as draft, draft.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise EdgeAudioError(
            f"cannot write {path} ({str(error).splitlines()[0]}): the last good checkpoint is "
            "kept; make room on the disk and run again"
        ) from error


def load_to_resume(
    path: Path,
    recipe: msgspec.Struct,
    may_resume: Callable[[Any, Any], bool] = operator.eq,
) -> dict[str, Any]:
    """The state that `save_atomically` wrote, {} if nothing did. EdgeAudioError if the file is
    no checkpoint, or if not may_resume(the recipe in it, JSON text there, and this one)."""
    if not path.exists():
        return {}
    state = load_state(path)
    try:
        made_by = msgspec.json.decode(state["recipe"], type=type(recipe))
    except msgspec.DecodeError:
        made_by = None
    if made_by is None or not may_resume(made_by, recipe):
        raise EdgeAudioError(
            f"{path} was made by a different recipe, or from another content of its start_from: "
            "choose another name or remove it"
        )
    return state


def load_state(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, its tensors on the CPU, without running any code in it. EdgeAudioError
    if it is missing, cut off or something else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise EdgeAudioError(f"there is no checkpoint {path}: train it first") from error
    except (RuntimeError, EOFError, UnpicklingError, OSError) as error:
        raise EdgeAudioError(f"{path} is not a whole checkpoint: {error}") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise EdgeAudioError(f"{path} is not a checkpoint of edge-audio: it names no recipe")
    return state
