"""How an adapter tells of its system, and how weights under the authors' names find their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from torch import Tensor

from distill.teachers.published.network import Network
from edge_audio.errors import UsageError

State = Mapping[str, Tensor]
Architecture = Mapping[str, Any]
"""Numbers that shape a network, named as the authors' own configuration names them."""

_N_NAMED = 5
NON_COMMERCIAL = "NON-COMMERCIAL"
_AVERAGED = re.compile(r"(^|.*?\.)(_ema|ema|ema_model|model_ema)\.")
"""What begins the keys of averaged copies."""


class Card(NamedTuple):
    """What `edge-audio teachers` says of a system. checkpoints: published files. sizes: what each
    published size changes of the default architecture. audioset_map: mAP on AudioSet's evaluation
    clips, with its source, "" where none was published."""

    title: str
    paper: str
    code_licence: str
    weights_licence: str
    checkpoints: tuple[str, ...]
    sizes: Mapping[str, Architecture]
    non_commercial: bool = False
    audioset_map: str = ""

    @property
    def weights(self) -> str:
        """The licence of the weights, marked where it forbids commercial use."""
        return self.weights_licence + (f", {NON_COMMERCIAL}" if self.non_commercial else "")


class System(NamedTuple):
    """One published system.

    build: a complete architecture -> its network, with any weights (on the meta device: none).
    defaults: the architecture as most checkpoints have it.
    infer: what a file tells of its architecture, by its weights under our names and by its own
        configuration entry, {} if it has none.
    anchor: a key that every file has, in some wrapper or none: what stands before it is taken off
        all keys that have it. prefixes: which of several wrappers it is, nearest first. What all
        keys begin with is off before.
    keys: (theirs, ours) in order: whole dotted parts of a key, wherever they stand.
    ignored: patterns (`re.match`) of keys, prefix off, that are not needed.
    entries: the entries of the file that may hold the weights, nearest first.
    convert: further changes of the weights, under our names.
    state_files: parity files whose weights lie in another file than golden.npz.
    heads: parts of the architecture that tell of a classifier: whether a file has one is for its
        weights to say, whatever else is known.
    """

    card: Card
    build: Callable[[Architecture], Network]
    defaults: Architecture
    infer: Callable[[State, Mapping[str, Any]], Architecture]
    anchor: str
    prefixes: tuple[str, ...] = ("module.",)
    keys: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    entries: tuple[str, ...] = ("model", "state_dict", "module", "model_state_dict")
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    state_files: Mapping[str, str] = {}
    heads: tuple[str, ...] = ()


def assemble(
    system: System,
    state: State,
    config: Mapping[str, Any],
    given: Architecture,
    where: str,
) -> Network:
    """The network of a checkpoint. given: what is known of the architecture; it outweighs what
    the file says.

    Raises UsageError, naming keys as the file does, if weights are missing, unexpected or of
    another shape.
    """
    prefix, theirs = _unwrapped(system, state, where)
    kept = {key: value for key, value in theirs.items() if not _is_ignored(system, key)}
    names = {_renamed(key, system.keys): key for key in kept}
    try:
        ours = system.convert({name: kept[key] for name, key in names.items()})
        inferred = system.infer(ours, config)
    except KeyError as error:  # what tells of the architecture
        key = _their_name(system, prefix, str(error.args[0]))
        raise UsageError(f"{where} lacks {key}: is this its kind?") from error
    heads = {name: value for name, value in inferred.items() if name in system.heads}
    architecture = {**system.defaults, **inferred, **given, **heads}
    network = system.build(architecture)
    _check(network, ours, system, prefix, where)
    network.load_state_dict(ours)
    return network.eval().requires_grad_(False)


def _unwrapped(system: System, state: State, where: str) -> tuple[str, State]:
    """What the wrappers add to keys, and the weights without it."""
    originals = _without_copies(state)
    root = _shared_root(originals)
    rooted = {key.removeprefix(root): value for key, value in originals.items()}
    prefix = _prefix(system, rooted, where)
    return root + prefix, {key.removeprefix(prefix): value for key, value in rooted.items()}


def _without_copies(state: State) -> State:
    """Without averaged copies of what stands beside them."""
    copies = {key: match for key in state if (match := _AVERAGED.match(key))}
    others = [f".{key}" for key in state if key not in copies]

    def is_copy(key: str) -> bool:
        tail = "." + key[copies[key].end() :]
        return any(other.endswith(tail) for other in others)

    return {key: state[key] for key in state if key not in copies or not is_copy(key)}


def _shared_root(state: State) -> str:
    """The wrappers that all keys have in common, with the dot behind them."""
    parts = zip(*(key.split(".")[:-1] for key in state), strict=False)
    shared = takewhile(lambda part: len(set(part)) == 1, parts)
    return "".join(f"{part[0]}." for part in shared)


def _prefix(system: System, state: State, where: str) -> str:
    ends = [key for key in state if f".{key}".endswith(f".{system.anchor}")]
    found = [key.removesuffix(system.anchor) for key in ends]
    if not found:
        raise UsageError(f"{where} lacks {system.anchor}: is this its kind?")
    preferred = (one for one in system.prefixes if one in found)
    return next(preferred, min(found, key=len))


def _is_ignored(system: System, key: str) -> bool:
    return any(re.match(pattern, key) for pattern in system.ignored)


def _renamed(key: str, pairs: Sequence[tuple[str, str]]) -> str:
    dotted = f".{key}."
    for before, after in pairs:
        dotted = dotted.replace(f".{before}.", f".{after}." if after else ".")
    return dotted.strip(".")


def _their_name(system: System, prefix: str, key: str) -> str:
    """One of our keys, as the file calls it."""
    back = [(after, before) for before, after in reversed(system.keys) if after]
    return prefix + _renamed(key, back)


def _check(network: Network, ours: State, system: System, prefix: str, where: str) -> None:
    wanted = network.state_dict()

    def listed(keys: Sequence[str]) -> str:
        named = [_their_name(system, prefix, key) for key in sorted(keys)]
        more = f" and {len(named) - _N_NAMED} more" if len(named) > _N_NAMED else ""
        return ", ".join(named[:_N_NAMED]) + more

    if missing := [key for key in wanted if key not in ours]:
        raise UsageError(f"{where} lacks {listed(missing)}: fetch it again, or name its kind")
    if unexpected := [key for key in ours if key not in wanted]:
        raise UsageError(
            f"{where} has {listed(unexpected)}, which are not known: is this its kind?"
        )
    for key, value in ours.items():
        if value.shape != wanted[key].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
            raise UsageError(
                f"{where}: {listed([key])} is {shapes}: give what differs under `architecture`"
            )


def n_layers(state: State, prefix: str) -> int:
    """Of a list of modules, as `prefix.NUMBER.` in the keys tells it; 0 without any."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    found = (pattern.match(key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def n_rows(state: State, key: str) -> int:
    """Outputs of a linear layer, 0 where the state has none of the name."""
    return len(state[key]) if key in state else 0
