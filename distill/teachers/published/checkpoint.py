"""Files that others published, read without running code of theirs."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edge_audio.errors import UsageError

_CONFIG_ENTRIES = ("cfg", "config", "hyper_parameters", "args", "Upstream_Config", "Config")
"""s3prl's `Config` is that of the training where `Upstream_Config` is there."""
_MAX_STRANGERS = 200  # classes of other libraries in one file


class Checkpoint(NamedTuple):
    """state: the weights under the authors' names. config: the file's own configuration as plain
    values, {} if it has none. entries: everything else on the top level of the file."""

    state: dict[str, Tensor]
    config: dict[str, Any]
    entries: dict[str, Any]


class _Stranger:
    """Stands in for any object of another library (omegaconf, argparse, an optimiser): it keeps
    what the file says of it and does nothing."""

    def __new__(cls, *args: Any, **_: Any) -> _Stranger:
        made = super().__new__(cls)
        made.__dict__["arguments"] = args
        return made

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"arguments": state})


def read_checkpoint(path: Path, entries: Sequence[str]) -> Checkpoint:
    """A file of torch.save or safetensors. entries: those that may hold the weights, nearest
    first; wrappers within wrappers are looked into.

    Raises UsageError if it is missing, is neither, or holds no weights.
    """
    if not path.is_file():
        raise UsageError(f"teacher checkpoint {path} is missing: give the path of its file")
    loaded = _load(path)
    state = _find_state(loaded, entries)
    if state is None:
        found = ", ".join(map(str, loaded)) if isinstance(loaded, Mapping) else type(loaded)
        raise UsageError(f"{path} holds no weights under {', '.join(entries)}: it has {found}")
    if not isinstance(loaded, dict) or state is loaded:
        return Checkpoint(_tensors(state), {}, {})
    rest = {str(key): plain(value) for key, value in loaded.items() if key not in entries}
    return Checkpoint(_tensors(state), _config(rest), rest)


def _config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The file's own; fairseq's, cut in two by s3prl, as fairseq has it."""
    if isinstance(entries.get("model_cfg"), dict):
        return {"model": entries["model_cfg"], "task": entries.get("task_cfg") or {}}
    configs = (entries[name] for name in _CONFIG_ENTRIES if isinstance(entries.get(name), dict))
    return next(configs, {})


def plain(value: Any) -> Any:
    """Nested settings as dicts, lists and numbers, whichever library saved them."""
    if isinstance(value, _Stranger):
        fields = vars(value)
        for name in ("_content", "_val", "_value_"):  # omegaconf's containers and nodes, enums
            if name in fields:
                return plain(fields[name])
        return plain({key: inner for key, inner in fields.items() if key != "arguments"})
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    strangers: dict[str, type] = {}
    for _ in range(_MAX_STRANGERS):
        try:
            allowed: Any = [(kind, name) for name, kind in strangers.items()]
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = re.search(r"GLOBAL ([\w.]+) was not an allowed", str(error))
            if name is None or name[1] in strangers:
                raise _refusal(path, error) from error
            strangers[name[1]] = type(name[1].rpartition(".")[2], (_Stranger,), {})
        except (RuntimeError, EOFError, ValueError, TypeError, KeyError) as error:
            raise _refusal(path, error) from error
    raise UsageError(f"{path} holds objects of more than {_MAX_STRANGERS} classes")


def _refusal(path: Path, error: Exception) -> UsageError:
    reason = (str(error) or type(error).__name__).strip().splitlines()[0]
    return UsageError(f"{path} is no checkpoint that can be read without its code: {reason}")


def _load_safetensors(path: Path) -> Any:
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise _refusal(path, error) from error


def _find_state(loaded: Any, entries: Sequence[str]) -> Mapping[str, Any] | None:
    """The innermost mapping of names to tensors."""
    if not isinstance(loaded, Mapping):
        return None
    for name in entries:
        if isinstance(loaded.get(name), Mapping):
            return _find_state(loaded[name], entries)
    if _has_weights(loaded):
        return loaded
    others = [value for value in loaded.values() if _has_weights(value)]
    return others[0] if len(others) == 1 else None  # under a name of their own


def _has_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values())


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without what is no weight, such as fairseq's nested copies of averaged weights."""
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
