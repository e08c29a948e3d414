"""How well sounds are learned from a few takes: new classes, which no training has heard.

python -m distill.evaluation.few_shot BUNDLE [--takes 1 --takes 5] [--hours 4] [--json FILE]

BUNDLE must come of a student whose recipe keeps ESC-50 out, such as that of
distill/checkpoints/tiny-base.pt, and have stored negatives (`python -m distill.negatives`). Takes
are clips of ESC-50's fold 1, each from another recording; events are clips of the other folds in
crowded soundscapes, of 6 to 30 dB above the noise. False alarms are counted in hours of 60 clips
each, of the other classes and of other sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from distill.calibration.scenes import LATENESS_S
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.data.split import require_unheard
from distill.evaluation.few_shot_data import FewShotData, Stream, make_data
from distill.evaluation.few_shot_methods import METHODS
from distill.evaluation.models import bundle_recipe
from distill.mixing.soundscapes import SoundscapeConfig
from distill.progress import tracked
from edge_audio.bundle.store import load_bundle
from edge_audio.learning.network import Network
from edge_audio.learning.teach import Fitted, held
from edge_audio.support.arrays import DoubleArray
from edge_audio.support.files import write_atomically

RATES = (0.1, 1.0)  # false alarms per hour
_MERGED_STEPS = 6
_N_TAKES = (1, 3, 5, 10)
_N_POINTS = 200


class FewShotResults(msgspec.Struct, frozen=True, kw_only=True):
    """Of one method and number of takes, means over classes.

    found: share of events at the thresholds that give RATES false alarms per hour. latency_s:
    median, from onset, at the last of them. found_chosen, alarms_chosen: at the threshold that
    `normal` chose by itself.
    """

    method: str
    n_takes: int
    n_classes: int
    found: tuple[float, ...]
    latency_s: float
    found_chosen: float
    alarms_chosen: float


class _OfClass(msgspec.Struct, frozen=True):
    found: tuple[float, ...]
    latencies_s: list[float]
    found_chosen: float
    alarms_chosen: float


def evaluate(network: Network, data: FewShotData, n_takes: Sequence[int]) -> list[FewShotResults]:
    """Every method at every number of takes; classes with fewer takes are left out."""
    results = []
    for name, method in METHODS.items():
        for n in n_takes:
            chosen = {x: takes[:n] for x, takes in data.takes.items() if len(takes) >= n}
            of_classes = [
                _of_class(network, data, label, method(network, takes))
                for label, takes in tracked(list(chosen.items()), f"{name}, {n} takes")
            ]
            if of_classes:
                results.append(_summary(name, n, of_classes))
    return results


def _summary(name: str, n_takes: int, of_classes: Sequence[_OfClass]) -> FewShotResults:
    latencies_s = [x for one in of_classes for x in one.latencies_s]
    return FewShotResults(
        method=name,
        n_takes=n_takes,
        n_classes=len(of_classes),
        found=tuple(np.mean([one.found for one in of_classes], 0).tolist()),
        latency_s=float(np.median(latencies_s)) if latencies_s else float("nan"),
        found_chosen=float(np.mean([one.found_chosen for one in of_classes])),
        alarms_chosen=float(np.mean([one.alarms_chosen for one in of_classes])),
    )


def _of_class(network: Network, data: FewShotData, label: str, fitted: Fitted) -> _OfClass:
    quiet = [_without(network, stream, label, fitted) for stream in data.negatives]
    hours = sum(int(np.isfinite(track).sum()) for track in quiet) * network.spec.step_s / 3600.0
    limits = [_limit(quiet, rate * hours) for rate in RATES]
    peaks, latencies_s = [], []
    for stream in data.scenes:
        mine = [event for event in stream.events if event.label == label]
        track = held(fitted.row(stream.rows)) if mine else np.zeros(0)
        ends_s = network.step_ends_s(len(track))
        for event in mine:
            is_in = (ends_s >= event.onset_s) & (ends_s <= event.offset_s + LATENESS_S)
            peaks.append(float(track[is_in].max(initial=-np.inf)))
            late = ends_s[is_in & (track >= limits[-1])]
            latencies_s += [float(late[0]) - event.onset_s] if len(late) else []
    normal = fitted.logits["normal"]
    found = np.array(peaks)
    return _OfClass(
        found=tuple(float((found >= limit).mean()) if len(found) else 0.0 for limit in limits),
        latencies_s=latencies_s,
        found_chosen=float((found >= normal).mean()) if len(found) else 0.0,
        alarms_chosen=sum(_n_alarms(track, normal) for track in quiet) / hours,
    )


def _without(network: Network, stream: Stream, label: str, fitted: Fitted) -> DoubleArray:
    """Logits of a stream; -inf where the class itself sounds."""
    track = held(fitted.row(stream.rows))
    ends_s = network.step_ends_s(len(track))
    for event in stream.events:
        if event.label == label:
            track[(ends_s >= event.onset_s) & (ends_s <= event.offset_s + LATENESS_S)] = -np.inf
    return track


def _limit(tracks: Sequence[DoubleArray], n_allowed: float) -> float:
    """The lowest logit from which on there are no more alarms."""
    highest = np.sort(np.concatenate(tracks))[::-1][:20_000]
    points = np.unique(highest[np.geomspace(1, len(highest), _N_POINTS).astype(int) - 1])[::-1]
    limit = float(highest[0]) + 1e-6
    for point in points.tolist():
        if sum(_n_alarms(track, point) for track in tracks) > n_allowed:
            break
        limit = point
    return limit


def _n_alarms(track: DoubleArray, logit: float) -> int:
    above = np.flatnonzero(track >= logit)
    return int(len(above) > 0) + int((np.diff(above) > _MERGED_STEPS).sum())


def table(results: Sequence[FewShotResults]) -> str:
    """In markdown, in per cent."""
    lines = [
        "| | takes | found at 0.1 an hour | at 1 an hour | onset latency | at its own threshold: "
        "found | false alarms an hour |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        found = " | ".join(f"{100 * share:.0f}" for share in one.found)
        chosen = f"{100 * one.found_chosen:.0f} | {one.alarms_chosen:.1f}"
        lines.append(
            f"| {one.method} | {one.n_takes} | {found} | {one.latency_s:.2f} s | {chosen} |"
        )
    return "\n".join(lines)


@click.command()
@click.argument("bundle_path", metavar="BUNDLE")
@click.option("--takes", "n_takes", type=click.IntRange(1, 40), multiple=True, default=_N_TAKES)
@click.option("--hours", type=click.FloatRange(0.25, 100), default=4.0, show_default=True)
@click.option("--scenes", "n_scenes", type=click.IntRange(1), default=90, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False))
def main(
    bundle_path: str, n_takes: Sequence[int], hours: float, n_scenes: int, json_path: Path | None
) -> None:
    """Scores a bundle, and prints the table."""
    bundle, clip_list = load_bundle(bundle_path), named_clip_list()
    clips = read_clip_list(clip_list)
    esc = [clip for clip in clips if clip.is_esc]
    advice = "take the bundle of a checkpoint whose recipe holds ESC out"
    split = bundle_recipe(bundle).split
    require_unheard(split, clips, esc, who=bundle.manifest.name, advice=advice)
    config = SoundscapeConfig(n_scenes=n_scenes, n_negatives=max(1, round(hours * 4)))
    network = Network(bundle)
    data = make_data(network, clip_list.parent, clips, config, max(n_takes))
    results = evaluate(network, data, n_takes)
    click.echo(table(results))
    if json_path is not None:
        write_atomically(json_path, msgspec.json.encode(results))


if __name__ == "__main__":
    main()
