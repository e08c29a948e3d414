"""How an adapter tells of its system, and how weights under the authors' names find their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from torch import Tensor

from distill.teachers.published.network import Network
from edge_audio.errors import UsageError

State = Mapping[str, Tensor]
Architecture = Mapping[str, Any]
"""Numbers that shape a network, named as the authors' own configuration names them."""

_N_NAMED = 5
_WRONG_KIND = "is this its kind?"
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
    prefix, unwrapped = _unwrapped(system, state, where)
    kept = {key: full for key, full in unwrapped.items() if not _is_ignored(system, key)}
    names = {_renamed(key, system.keys): full for key, full in kept.items()}
    file = _File(system, prefix, names, where)
    try:
        ours = system.convert({name: state[full] for name, full in names.items()})
        inferred = system.infer(ours, config)
    except KeyError as error:  # what tells of the architecture
        raise UsageError(f"{where} lacks {file.key(str(error.args[0]))}: {_WRONG_KIND}") from error
    heads = {name: value for name, value in inferred.items() if name in system.heads}
    architecture = {**system.defaults, **inferred, **given, **heads}
    network = system.build(architecture)
    _check(network, ours, file)
    network.load_state_dict(ours)
    return network.eval().requires_grad_(False)


def check_given(kind: str, system: System, given: Architecture) -> None:
    """UsageError if a network of this kind reads no such number."""
    known = {*system.defaults, *(name for one in system.card.sizes.values() for name in one)}
    if unknown := [name for name in given if name not in known]:
        raise UsageError(f"architecture.{unknown[0]}: {kind} reads {', '.join(sorted(known))}")


class _File(NamedTuple):
    """prefix: what its wrappers add to keys. names: our keys -> the file's."""

    system: System
    prefix: str
    names: Mapping[str, str]
    where: str

    def key(self, ours: str) -> str:
        """One of our keys as the file calls it, or would: like others of its module, else as most
        files have it."""
        if ours in self.names:
            return self.names[ours]
        module, _, last = ours.rpartition(".")
        for name, full in self.names.items():
            beside, _, other = name.rpartition(".")
            if module and beside == module and full.endswith(f".{other}"):
                return f"{full.removesuffix(other)}{last}"
        return self._like_nearest(ours)

    def _like_nearest(self, ours: str) -> str:
        """As most files have it, behind the wrapper of the key that has most parts in common."""
        theirs, parts = self._back(ours), ours.split(".")
        nearest = max(self.names, key=lambda name: _n_shared(name.split("."), parts))
        ends = self._back(nearest), self.names[nearest].split(".")
        n_alike = _n_shared(ends[0][::-1], ends[1][::-1])
        head, wrapper = (end[: len(end) - n_alike] for end in ends)
        if theirs[: len(head)] != head:
            return self.prefix + ".".join(theirs)
        return ".".join([*wrapper, *theirs[len(head) :]])

    def _back(self, ours: str) -> list[str]:
        """The parts of one of our keys as most files have it, without a wrapper."""
        pairs = [(after, before) for before, after in reversed(self.system.keys) if after]
        return _renamed(ours, pairs).split(".")

    def listed(self, keys: Sequence[str]) -> str:
        """Some of our keys, as the file calls them."""
        named = [self.key(key) for key in sorted(keys)]
        more = f" and {len(named) - _N_NAMED} more" if len(named) > _N_NAMED else ""
        return ", ".join(named[:_N_NAMED]) + more


def _unwrapped(system: System, state: State, where: str) -> tuple[str, dict[str, str]]:
    """What wrappers add to keys; and keys without it -> those of the file."""
    originals = _without_copies(state)
    root = _shared_root(originals)
    rooted = {key.removeprefix(root): key for key in originals}
    prefix = _prefix(system, rooted, where)
    return root + prefix, {key.removeprefix(prefix): full for key, full in rooted.items()}


def _without_copies(state: State) -> list[str]:
    """All keys but those of averaged copies of what stands beside them."""
    copies = {key: match for key in state if (match := _AVERAGED.match(key))}
    others = [f".{key}" for key in state if key not in copies]

    def is_copy(key: str) -> bool:
        tail = "." + key[copies[key].end() :]
        return any(other.endswith(tail) for other in others)

    return [key for key in state if key not in copies or not is_copy(key)]


def _shared_root(keys: Sequence[str]) -> str:
    """The wrappers that all keys have in common, with the dot behind them."""
    parts = zip(*(key.split(".")[:-1] for key in keys), strict=False)
    shared = takewhile(lambda part: len(set(part)) == 1, parts)
    return "".join(f"{part[0]}." for part in shared)


def _prefix(system: System, keys: Iterable[str], where: str) -> str:
    ends = [key for key in keys if f".{key}".endswith(f".{system.anchor}")]
    found = [key.removesuffix(system.anchor) for key in ends]
    if not found:
        raise UsageError(f"{where} lacks {system.anchor}: {_WRONG_KIND}")
    preferred = (one for one in system.prefixes if one in found)
    return next(preferred, min(found, key=len))


def _is_ignored(system: System, key: str) -> bool:
    return any(re.match(pattern, key) for pattern in system.ignored)


def _renamed(key: str, pairs: Sequence[tuple[str, str]]) -> str:
    dotted = f".{key}."
    for before, after in pairs:
        dotted = dotted.replace(f".{before}.", f".{after}." if after else ".")
    return dotted.strip(".")


def _n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _check(network: Network, ours: State, file: _File) -> None:
    wanted, where = network.state_dict(), file.where
    if missing := [key for key in wanted if key not in ours]:
        raise UsageError(f"{where} lacks {file.listed(missing)}: fetch it again, or name its kind")
    if unexpected := [key for key in ours if key not in wanted]:
        raise UsageError(
            f"{where} has {file.listed(unexpected)}, which are not known: {_WRONG_KIND}"
        )
    for key, value in ours.items():
        if value.shape != wanted[key].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
            raise UsageError(
                f"{where}: {file.key(key)} is {shapes}: give what differs under `architecture`"
            )


def n_layers(state: State, prefix: str) -> int:
    """Of a list of modules, as `prefix.NUMBER.` in the keys tells it; 0 without any."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    found = (pattern.match(key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def n_rows(state: State, key: str) -> int:
    """Outputs of a linear layer, 0 where the state has none of the name."""
    return len(state[key]) if key in state else 0
