"""What every training run shares: its TOML recipe, its folder, its schedule and its progress bar.

A run folder holds `recipe.json`, `checkpoint.pt`, `metrics.csv` and `curves.png`.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from edge_audio.errors import EdgeAudioError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKPOINT_NAME = "checkpoint.pt"
METRICS_NAME = "metrics.csv"
CURVES_NAME = "curves.png"
RECIPE_NAME = "recipe.json"

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("edge-audio", "torch", "numpy", "scipy")

RecipeT = TypeVar("RecipeT", bound=msgspec.Struct)


def read_toml(path: Path, kind: type[RecipeT], settings: Sequence[str] = ()) -> RecipeT:
    """`read_table` as a struct; UsageError, naming the field, if it does not fit `kind`."""
    return convert(path, read_table(path, settings), kind)


def convert(path: Path, table: dict[str, Any], kind: type[RecipeT]) -> RecipeT:
    """The table read from `path` as a struct; UsageError, naming the field, if it does not fit."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"recipe {path}: {error}") from error


def read_table(path: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """A TOML file, changed by `settings` such as "student.delay_ms=80"; `extends = "other.toml"`
    takes over that file's fields. UsageError if a file is missing or is no TOML."""
    table = _read_file(path)
    for setting in settings:
        table = merge(table, _parse_setting(setting))
    return table


def _read_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"there is no recipe {path}: see distill/recipes") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path}: {error}") from error
    base: str | None = table.pop("extends", None)
    return table if base is None else merge(_read_file(path.parent / str(base)), table)


def _parse_setting(setting: str) -> dict[str, Any]:
    try:
        return tomllib.loads(setting)
    except tomllib.TOMLDecodeError:
        pass
    name, separator, value = setting.partition("=")  # a bare word is a string
    if not separator:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value")
    try:
        return tomllib.loads(f"{name} = {msgspec.json.encode(value.strip()).decode()}")
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value") from error


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, table by table; a table of another `kind` replaces the whole."""
    merged: dict[str, Any] = dict(base)
    for name, value in changes.items():
        old: Any = base.get(name)
        is_table = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = merge(old, value) if is_table and _same_kind(old, value) else value
    return merged


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" not in new or new["kind"] == old.get("kind")


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
    (run_dir / RECIPE_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


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
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        raise EdgeAudioError(
            f"cannot write {path} ({str(error).splitlines()[0]}): the last good checkpoint is "
            "kept; make room on the disk and run again"
        ) from error


def load_to_resume(path: Path, recipe: msgspec.Struct, device: torch.device) -> dict[str, Any]:
    """The state that `save_atomically` wrote, {} if nothing did. EdgeAudioError if the file is
    no checkpoint, or if its `recipe` (JSON text) is not this one."""
    if not path.exists():
        return {}
    state = load_state(path, device)
    try:
        made_by = msgspec.json.decode(state["recipe"], type=type(recipe))
    except msgspec.DecodeError:
        made_by = None
    if made_by != recipe:
        raise EdgeAudioError(
            f"{path} was made by a different recipe: choose another name or remove it"
        )
    return state


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint without running any code in it. EdgeAudioError if it is missing, cut
    off or something else."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise EdgeAudioError(f"there is no checkpoint {path}: train it first") from error
    except (RuntimeError, EOFError, UnpicklingError, OSError) as error:
        raise EdgeAudioError(f"{path} is not a whole checkpoint: {error}") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise EdgeAudioError(f"{path} is not a checkpoint of edge-audio: it names no recipe")
    return state


def require_finite(loss: Tensor, step: int, run_dir: Path) -> None:
    """Raises EdgeAudioError if the loss is NaN or infinite."""
    if not torch.isfinite(loss):
        raise EdgeAudioError(
            f"the loss is {loss.item()} at step {step}: the last good checkpoint is kept in "
            f"{run_dir}; lower training.learning_rate and run again"
        )


def warmup_cosine(step: int, n_warmup: int, n_steps: int) -> float:
    """Factor of the learning rate: linear warm-up, and half a cosine down to zero at n_steps."""
    warmup = min(1.0, (step + 1) / max(1, n_warmup))
    return warmup * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))


class MetricsLog:
    """`metrics.csv`: one row per logged step. A resumed run drops the rows that the interrupted
    one wrote at and after the first step logged anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []  # as in the file; none until the first write has read it

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a row, in the disk's hands when this returns. Values may differ from row to
        row: a new column is empty further up, a missing one stays empty."""
        if not self._columns or not values.keys() <= set(self._columns):
            self._rewrite(step, values)
        row = [f"{values[name]:.6g}" if name in values else "" for name in self._columns[1:]]
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([step, *row])

    def _rewrite(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps the rows before `step`, under a header that has all columns."""
        rows = [row for row in read_metrics(self.path) if row["step"] < step]
        known = dict.fromkeys(["step", *self._columns, *(name for row in rows for name in row)])
        self._columns = list({**known, **dict.fromkeys(values)})
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows({**row, "step": int(row["step"])} for row in rows)
        partial.replace(self.path)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`, without their empty fields; a last row that was cut off is left
    out, and a missing file has none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [{name: float(text) for name, text in row.items() if text} for row in rows]


def draw_curves(run_dir: Path) -> None:
    """Draws `curves.png` from `metrics.csv`, one panel per column."""
    from matplotlib.figure import Figure

    rows = read_metrics(run_dir / METRICS_NAME)
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not names:
        return
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = Figure(figsize=(4.0 * n_columns, 2.4 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flat
    for panel in panels[len(names) :]:
        panel.remove()
    for panel, name in zip(panels, names, strict=False):
        points = [(row["step"], row[name]) for row in rows if name in row]
        panel.plot(*zip(*points, strict=True), linewidth=1.0)
        panel.set_title(name, fontsize="medium")
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("step", fontsize="medium")
    figure.savefig(run_dir / CURVES_NAME, dpi=120)


def progress() -> Progress:
    """A bar on stderr whose description shows the latest figures."""
    return Progress(
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
    )


def format_figures(values: Mapping[str, float]) -> str:
    """`loss 0.412  rank 31.2`, for the progress bar."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
