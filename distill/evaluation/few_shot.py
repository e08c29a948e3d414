"""How well sounds are learned from a few takes: of new classes, and one among others of its class.

python -m distill.evaluation.few_shot BUNDLE [--takes 1 --takes 5] [--hours 10] [--peer]
    [--json FILE]

BUNDLE must come of a student whose recipe keeps ESC-50 out, as that of tiny-int8 does, and have
stored negatives (`python -m distill.negatives`). New classes: takes are clips of ESC-50's fold 1,
each from another recording; events are clips of the other folds in crowded soundscapes, of 6 to 30
dB above the noise. False alarms are counted in hours of 60 clips each, of the other classes and of
other sources. Within classes: `few_shot_within`. Methods were chosen by `developed` classes alone,
in scenes of another seed. --peer: the same with YAMNet's embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from distill.calibration.scenes import LATENESS_S
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.split import require_unheard
from distill.evaluation.few_shot_data import FewShotData, Stream, make_data
from distill.evaluation.few_shot_methods import METHODS, Learned, Method
from distill.evaluation.few_shot_peers import YamnetEmbedder
from distill.evaluation.few_shot_within import within_class
from distill.evaluation.models import bundle_recipe
from distill.mixing.soundscapes import SoundscapeConfig
from distill.progress import tracked
from edge_audio.bundle.store import load_bundle
from edge_audio.learning.network import Embedder, Network
from edge_audio.learning.teach import held
from edge_audio.support.arrays import DoubleArray
from edge_audio.support.files import write_atomically
from edge_audio.support.folders import peers_dir

RATES = (0.1, 1.0)  # false alarms per hour
_MERGED_S = 0.48  # alarms that are nearer are one
_MAX_HELD_STEP_S = 0.16  # of shorter steps an event lasts two
_N_TAKES = (1, 3, 5, 10)
_PEER_METHODS = ("learn", "logistic regression")
_N_POINTS = 200


class FewShotResults(msgspec.Struct, frozen=True, kw_only=True):
    """Of one method and number of takes, means over classes.

    found: share of events at the thresholds that give RATES false alarms per hour. latency_s:
    median, from onset, at the last of them. found_chosen, alarms_chosen: at the threshold that
    `normal` chose by itself. found_new: as `found`, of the classes that chose no method; None
    where none did.
    """

    method: str
    n_takes: int
    n_classes: int
    found: tuple[float, ...]
    latency_s: float
    found_chosen: float
    alarms_chosen: float
    found_new: tuple[float, ...] | None = None


class _OfClass(msgspec.Struct, frozen=True):
    found: tuple[float, ...]
    latencies_s: list[float]
    found_chosen: float
    alarms_chosen: float


def evaluate(
    network: Embedder,
    data: FewShotData,
    n_takes: Sequence[int],
    methods: Mapping[str, Method] = METHODS,
) -> list[FewShotResults]:
    """Every method at every number of takes; classes with fewer takes are left out."""
    seen = developed(data)
    results = []
    for name, method in methods.items():
        for n in n_takes:
            chosen = {x: takes[:n] for x, takes in data.takes.items() if len(takes) >= n}
            of_classes = {
                label: _of_class(network, data, label, method(network, takes))
                for label, takes in tracked(list(chosen.items()), f"{name}, {n} takes")
            }
            if of_classes:
                new = [one for label, one in of_classes.items() if label not in seen]
                results.append(_summary(name, n, list(of_classes.values()), new))
    return results


def developed(data: FewShotData) -> frozenset[str]:
    """Every other class of those with five takes, by name: methods were chosen by these."""
    return frozenset(sorted(x for x, takes in data.takes.items() if len(takes) >= 5)[::2])


def evaluate_within(
    network: Embedder,
    folder: Path,
    unheard: Sequence[Clip],
    n_takes: Sequence[int],
    methods: Mapping[str, Method] = METHODS,
) -> list[FewShotResults]:
    """The same of groups among others of their class, see `within_class`."""
    found: dict[tuple[str, int], list[_OfClass]] = {(x, n): [] for x in methods for n in n_takes}
    for data in within_class(network, folder, unheard, n_takes):
        ((group, takes),) = data.takes.items()
        for (name, n), ones in found.items():
            if n <= len(takes):
                learned = methods[name](network, takes[:n])
                ones.append(_of_class(network, data, group, learned))
    return [_summary(name, n, ones) for (name, n), ones in found.items() if ones]


def _summary(
    name: str, n_takes: int, of_classes: Sequence[_OfClass], new: Sequence[_OfClass] = ()
) -> FewShotResults:
    latencies_s = [x for one in of_classes for x in one.latencies_s]
    return FewShotResults(
        method=name,
        n_takes=n_takes,
        n_classes=len(of_classes),
        found=_mean_found(of_classes),
        latency_s=float(np.median(latencies_s)) if latencies_s else float("nan"),
        found_chosen=float(np.mean([one.found_chosen for one in of_classes])),
        alarms_chosen=float(np.mean([one.alarms_chosen for one in of_classes])),
        found_new=_mean_found(new) if new else None,
    )


def _mean_found(of_classes: Sequence[_OfClass]) -> tuple[float, ...]:
    return tuple(np.mean([one.found for one in of_classes], 0).tolist())


def _of_class(network: Embedder, data: FewShotData, label: str, learned: Learned) -> _OfClass:
    quiet = [_without(network, stream, label, learned) for stream in data.negatives]
    n_merged = max(1, round(_MERGED_S / network.step_s))
    hours = data.negative_h
    if hours is None:
        hours = sum(int(np.isfinite(track).sum()) for track in quiet) * network.step_s / 3600.0
    limits = [_limit(quiet, rate * hours, n_merged) for rate in RATES]
    peaks, latencies_s = [], []
    for stream in data.scenes:
        mine = [event for event in stream.events if event.label == label]
        track = _track(network, stream, learned) if mine else np.zeros(0)
        ends_s = network.step_ends_s(len(track))
        for event in mine:
            is_in = (ends_s >= event.onset_s) & (ends_s <= event.offset_s + LATENESS_S)
            peaks.append(float(track[is_in].max(initial=-np.inf)))
            late = ends_s[is_in & (track >= limits[-1])]
            latencies_s += [float(late[0]) - event.onset_s] if len(late) else []
    normal = learned.logits["normal"]
    found = np.array(peaks)
    return _OfClass(
        found=tuple(float((found >= limit).mean()) if len(found) else 0.0 for limit in limits),
        latencies_s=latencies_s,
        found_chosen=float((found >= normal).mean()) if len(found) else 0.0,
        alarms_chosen=sum(_n_alarms(track, normal, n_merged) for track in quiet) / hours,
    )


def _track(network: Embedder, stream: Stream, learned: Learned) -> DoubleArray:
    """Logits of a stream, as they are held."""
    track = learned.row(stream.rows)
    return held(track) if network.step_s < _MAX_HELD_STEP_S else track


def _without(network: Embedder, stream: Stream, label: str, learned: Learned) -> DoubleArray:
    """Logits of a stream; -inf where the class itself sounds."""
    track = _track(network, stream, learned)
    ends_s = network.step_ends_s(len(track))
    for event in stream.events:
        if event.label == label:
            track[(ends_s >= event.onset_s) & (ends_s <= event.offset_s + LATENESS_S)] = -np.inf
    return track


def _limit(tracks: Sequence[DoubleArray], n_allowed: float, n_merged: int = 6) -> float:
    """The lowest logit from which on there are no more alarms."""
    highest = np.sort(np.concatenate(tracks))[::-1][:20_000]
    points = np.unique(highest[np.geomspace(1, len(highest), _N_POINTS).astype(int) - 1])[::-1]
    limit = float(highest[0]) + 1e-6
    for point in points.tolist():
        if sum(_n_alarms(track, point, n_merged) for track in tracks) > n_allowed:
            break
        limit = point
    return limit


def _n_alarms(track: DoubleArray, logit: float, n_merged: int = 6) -> int:
    """n_merged: steps within which two are one."""
    above = np.flatnonzero(track >= logit)
    return int(len(above) > 0) + int((np.diff(above) > n_merged).sum())


def table(results: Sequence[FewShotResults]) -> str:
    """In markdown, in per cent."""
    lines = [
        "| | takes | classes | found at 0.1 an hour | at 1 an hour | at 1, classes that chose "
        "nothing | onset latency | at its own threshold: found | false alarms an hour |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        found = " | ".join(f"{100 * share:.0f}" for share in one.found)
        new = f"{100 * one.found_new[-1]:.0f}" if one.found_new else ""
        chosen = f"{100 * one.found_chosen:.0f} | {one.alarms_chosen:.1f}"
        lines.append(
            f"| {one.method} | {one.n_takes} | {one.n_classes} | {found} | {new} | "
            f"{one.latency_s:.2f} s | {chosen} |"
        )
    return "\n".join(lines)


@click.command()
@click.argument("bundle_path", metavar="BUNDLE")
@click.option("--takes", "n_takes", type=click.IntRange(1, 40), multiple=True, default=_N_TAKES)
@click.option("--hours", type=click.FloatRange(0.25, 100), default=10.0, show_default=True)
@click.option("--scenes", "n_scenes", type=click.IntRange(1), default=120, show_default=True)
@click.option("--peer", is_flag=True, help="YAMNet's embedding in place of the bundle's")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def main(
    bundle_path: str,
    n_takes: Sequence[int],
    hours: float,
    n_scenes: int,
    peer: bool,
    json_path: Path | None,
) -> None:
    """Scores a bundle, and prints tables."""
    bundle, clip_list = load_bundle(bundle_path), named_clip_list()
    clips, folder = read_clip_list(clip_list), clip_list.parent
    esc = [clip for clip in clips if clip.is_esc]
    advice = "take the bundle of a checkpoint whose recipe holds ESC out"
    split = bundle_recipe(bundle).split
    require_unheard(split, clips, esc, who=bundle.manifest.name, advice=advice)
    config = SoundscapeConfig(n_scenes=n_scenes, n_negatives=max(1, round(hours * 4)))
    network: Embedder = Network(bundle)
    methods = METHODS
    if peer:
        network = YamnetEmbedder(peers_dir(), split, clips, folder)
        methods = {f"YAMNet, {name}": METHODS[name] for name in _PEER_METHODS}
    data = make_data(network, folder, clips, config, max(n_takes))
    results = evaluate(network, data, n_takes, methods)
    click.echo(f"\nnew classes:\n\n{table(results)}")
    of_groups = evaluate_within(network, folder, split.divide(clips)[1], n_takes, methods)
    click.echo(f"\nwithin classes:\n\n{table(of_groups)}")
    if json_path is not None:
        write_atomically(json_path, msgspec.json.encode([results, of_groups]))


if __name__ == "__main__":
    main()
