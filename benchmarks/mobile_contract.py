"""What an app must know about a model: written from its manifest into docs/mobile.md, and a golden
trace of event detector and report policy into docs/mobile/detector_golden.json.

    python benchmarks/mobile_contract.py [--model tiny-int8] [--check]

Run it after a model, the manifest, the detector or the policy has changed. With --check nothing is
written; it fails when one of the two files is not what it would write.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import EventSpec, ModelSpec, TensorSpec, Threshold
from edge_audio.bundle.store import load_bundle
from edge_audio.events.detector import Event, EventDetector
from edge_audio.events.policy import RELATED, EventPolicy, PolicySpec, Related
from quantize.publish.related import RelatedLabels, related_labels

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mobile.md"
GOLDEN = ROOT / "docs" / "mobile" / "detector_golden.json"
DEFAULT_MODEL = "tiny-int8"
BEGIN = "<!-- generated: python benchmarks/mobile_contract.py -->"
END = "<!-- end of generated -->"


def contract(manifest: Manifest) -> str:
    """The generated block: numbers and tensors of a model, and of its samples variant."""
    model, variant = manifest.model, samples_variant(manifest.model)
    lines = [
        f"### `{manifest.name}`: frames in",
        "",
        *_table(("what", "value"), _facts(manifest)),
        "",
        *_table(_TENSOR_HEADER, _tensors(model)),
        "",
        f"### `{manifest.name}` exported with `--input samples`",
        "",
        "The same network with the front end in front of it. All else is as above, but for:",
        "",
        *_table(("what", "value"), _variant_facts(variant)),
        "",
        *_table(_TENSOR_HEADER, _new_tensors(variant, model)),
        "",
        f"The other {len(model.state)} states follow in the same order, one place later.",
    ]
    return "\n".join(lines)


def samples_variant(model: ModelSpec) -> ModelSpec:
    """The same model with the front end inside the graph, as `edge-audio export --input samples`
    describes it."""
    overlap = TensorSpec(name="overlap", shape=(1, model.frontend.overlap_samples))
    return msgspec.structs.replace(
        model,
        input="samples",
        frames=TensorSpec(name="samples", shape=(1, model.step_samples)),
        state=(overlap, *model.state),
    )


_TENSOR_HEADER = ("place", "in", "out", "shape", "type")


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    model, events = manifest.model, manifest.events
    frontend = model.frontend
    n_state = _n_elements(model)
    return [
        ("audio", f"{frontend.sample_rate_hz:,} Hz, one channel, in [-1, 1]"),
        ("step", f"{model.step_samples:,} samples = {_ms(model.step_s)}, {_rate(model)}"),
        ("input", f"`{model.frames.name}`: {model.frames_per_step} log-mel frames, made outside"),
        ("scores", f"{len(manifest.labels)} probabilities, one for each of `labels`"),
        (
            "state",
            f"{len(model.state)} tensors, {n_state:,} numbers, {_n_bytes(model) / 1024:.0f} KiB",
        ),
        ("a stream begins", f"with the state that {model.quiet_steps} steps of silence leave"),
        ("algorithmic latency", f"{model.latency_ms:g} ms"),
        ("smoothing of scores that fall", f"time constant {_ms(events.smoothing_s)}"),
        ("smoothing of scores that rise", f"time constant {_ms(events.rising_s)}"),
        ("a start is reported", f"{_ms(events.min_on_s)} after the score has reached `on`"),
        ("an end is reported", f"{_ms(events.min_off_s)} after the score has fallen below `off`"),
        ("labels with thresholds", f"{len(events.thresholds)} of {len(manifest.labels)}"),
        ("tolerance of scores", f"{manifest.tolerance.scores:g}, when the golden is replayed"),
    ]


def _variant_facts(variant: ModelSpec) -> list[tuple[str, str]]:
    overlap, n_state = variant.state[0], _n_elements(variant)
    return [
        ("input", f"`{variant.frames.name}`: {variant.step_samples:,} samples, nothing else"),
        ("state", f"{len(variant.state)} tensors, {n_state:,} numbers"),
        ("first state", f"`{overlap.name}`: the last {overlap.shape[1]} samples before the step"),
    ]


def _tensors(model: ModelSpec) -> list[tuple[str, ...]]:
    """One row for each place in the lists of inputs and outputs; a state and its successor, which
    have the same place and shape, share one."""
    rows: list[tuple[str, ...]] = [
        ("0", f"`{model.frames.name}`", "", *_shape(model.frames)),
        ("0", "", f"`{model.scores.name}`", *_shape(model.scores)),
    ]
    for place, tensor in enumerate(model.state, start=1):
        name = tensor.name
        rows.append((str(place), f"`{name}`", f"`{name}_next`", *_shape(tensor)))
    for tensor in model.embeddings:
        rows.append((str(1 + len(model.state)), "", f"`{tensor.name}`", *_shape(tensor)))
    return rows


def _new_tensors(variant: ModelSpec, model: ModelSpec) -> list[tuple[str, ...]]:
    known = {row[1:] for row in _tensors(model)}
    return [row for row in _tensors(variant) if row[1:] not in known]


def _shape(tensor: TensorSpec) -> tuple[str, str]:
    return str(list(tensor.shape)), tensor.dtype


def _n_elements(model: ModelSpec) -> int:
    return sum(math.prod(tensor.shape) for tensor in model.state)


def _n_bytes(model: ModelSpec) -> int:
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in model.state)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:g} ms"


def _rate(model: ModelSpec) -> str:
    return f"{1 / model.step_s:g} steps a second"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [_row(header), _row(("---",) * len(header)).replace(" ", ""), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def with_block(page: str, block: str) -> str:
    """The page with its generated block replaced. ClickException if it has no such block."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(f"{PAGE} must have one block from {BEGIN} to {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


class GoldenEvent(msgspec.Struct, frozen=True):
    """One event, and the step whose push returned it; steps count from 1, flush is one more."""

    step: int
    kind: str
    label: str
    time_s: float
    score: float


class GoldenCase(msgspec.Struct, frozen=True):
    """A stream of scores and what must be reported about it.

    related: what is reported of labels that may name one sound. scores: one row a step, one number
    for each label, or null for NaN. events: in the order in which they are returned.
    """

    name: str
    labels: list[str]
    related: Related
    events_spec: EventSpec
    scores: list[list[float | None]]
    events: list[GoldenEvent]


class DetectorGolden(msgspec.Struct, frozen=True):
    """docs/mobile/detector_golden.json. Step i (from 1) ends at i * step_samples /
    sample_rate_hz, and the last step's end is the time to flush at."""

    related_labels: RelatedLabels
    step_samples: int
    sample_rate_hz: int
    cases: list[GoldenCase]


Seconds = tuple[float, float | None, float, float]
"""smoothing_s, attack_s, min_on_s and min_off_s of an EventSpec."""

LABELS = ["Dog", "Bark", "Siren", "Wind"]  # the last has no threshold
THRESHOLDS = {"Siren": (0.5, 0.35), "Dog": (0.25, 0.175), "Bark": (0.193, 0.1351)}

RELATIVES = [  # of each other in chains, by two ways, and as near-synonyms; the last is watched not
    *("Growling", "Bark", "Dog", "Animal", "Cat", "Music", "Guitar", "Electric guitar"),
    *("Clapping", "Applause", "Siren"),
]


def detector_golden(manifest: Manifest) -> DetectorGolden:
    """Replays all cases through the detector of this package, at the model's step length and,
    in the first case, its durations."""
    model, events = manifest.model, manifest.events
    durations = {
        "as shipped": (events.smoothing_s, events.attack_s, events.min_on_s, events.min_off_s),
        "no smoothing, no durations": (0.0, None, 0.0, 0.0),
        "long smoothing": (1.0, None, 0.0, 0.24),
        "long durations": (0.0, None, 0.24, 0.8),
        "attack and release apart": (0.4, 0.04, 0.0, 0.24),
    }
    cases = [
        _case(name, _spec(seconds), _scores(seed), model)
        for seed, (name, seconds) in enumerate(durations.items(), start=1)
    ]
    broken = _broken(_scores(len(cases) + 1))
    cases.append(_case("no probabilities", _spec(durations["as shipped"]), broken, model))
    cases += [related_case(seed, related, model) for seed, related in enumerate(RELATED)]
    rate_hz = model.frontend.sample_rate_hz
    return DetectorGolden(related_labels(RELATIVES), model.step_samples, rate_hz, cases)


def _spec(seconds: Seconds) -> EventSpec:
    smoothing_s, attack_s, min_on_s, min_off_s = seconds
    return EventSpec(
        smoothing_s=smoothing_s,
        attack_s=attack_s,
        min_on_s=min_on_s,
        min_off_s=min_off_s,
        thresholds={label: _threshold(on, off) for label, (on, off) in THRESHOLDS.items()},
    )


def _case(name: str, spec: EventSpec, scores: np.ndarray, model: ModelSpec) -> GoldenCase:
    events = list(replay(LABELS, spec, "all", scores, model))
    return GoldenCase(name, LABELS, "all", spec, scores.tolist(), events)


def related_case(seed: int, related: Related, model: ModelSpec) -> GoldenCase:
    """Sounds that several related labels name, within some steps of each other."""
    rng = np.random.default_rng(seed)
    thresholds = {label: _threshold(0.5, 0.4) for label in RELATIVES[:-1]}
    min_on_s, min_off_s = (model.step_s * rng.integers(0, (3, 5))).tolist()
    spec = EventSpec(min_on_s=min_on_s, min_off_s=min_off_s, thresholds=thresholds)
    scores = _relatives_scores(rng)
    events = list(replay(RELATIVES, spec, related, scores, model))
    return GoldenCase(f"related: {related}", RELATIVES, related, spec, scores.tolist(), events)


def _threshold(on: float, off: float) -> Threshold:
    return Threshold(on=on, off=off)


def _scores(seed: int, n_steps: int = 60) -> np.ndarray:
    """f64[n_steps, n_labels] of three decimals: sounds that come and go, with flicker; two sound
    together now and then, so that events share a step, and some still sound at the end."""
    rng = np.random.default_rng(seed)
    step = np.arange(n_steps)[:, None]
    period, phase = np.array([24, 24, 37, 15]), np.array([0, 1, 20, 4])
    sounds = (step + phase) % period < 0.45 * period
    flicker = rng.random((n_steps, len(LABELS))) < 0.12
    loud = np.where(sounds != flicker, 0.75, 0.05)
    scores = np.clip(loud + rng.normal(0.0, 0.06, loud.shape), 0.0, 1.0)
    rounded: np.ndarray = scores.round(3)
    return rounded


def _broken(scores: np.ndarray) -> np.ndarray:
    """The same with a number in ten that a broken model gives; the largest are infinite as
    floats of 32 bits."""
    rng = np.random.default_rng(0)
    numbers = rng.choice([math.nan, 1e39, -1e39, 7.0, -3.0], scores.shape)
    return np.where(rng.random(scores.shape) < 0.1, numbers, scores)


def _relatives_scores(rng: np.random.Generator, n_steps: int = 60) -> np.ndarray:
    """f64[n_steps, n_labels] of two decimals: sounds, each of some labels that begin and end a few
    steps apart."""
    n_labels = len(RELATIVES)
    scores = rng.uniform(0.0, 0.3, (n_steps, n_labels))
    for _ in range(10):
        begin, length = int(rng.integers(n_steps)), int(rng.integers(2, 14))
        for label in rng.choice(n_labels, int(rng.integers(2, 7)), replace=False):
            first = begin + int(rng.integers(0, 4))
            last = first + length + int(rng.integers(0, 4))
            scores[first:last, label] = rng.uniform(0.5, 1.0)
    rounded: np.ndarray = scores.round(2)
    return rounded


def replay(
    labels: Sequence[str], spec: EventSpec, related: Related, scores: np.ndarray, model: ModelSpec
) -> Iterator[GoldenEvent]:
    """What is reported of these scores, f64[n_steps, n_labels]."""
    detector = EventDetector(labels, spec, model.step_s)
    policy = EventPolicy(PolicySpec(related=related), watched=spec.thresholds)
    end_s = _end_s(len(scores), model)
    with np.errstate(over="ignore"):
        rows = scores.astype(np.float32)
    for step, row in enumerate(rows, start=1):
        time_s = _end_s(step, model)
        yield from _golden(step, policy.push(detector.push(row, time_s), time_s))
    yield from _golden(len(rows) + 1, policy.flush(detector.flush(end_s), end_s))


def _golden(step: int, events: Sequence[Event]) -> Iterator[GoldenEvent]:
    for event in events:
        yield GoldenEvent(step, event.kind, event.label, event.time_s, event.score)


def _end_s(step: int, model: ModelSpec) -> float:
    return step * model.step_samples / model.frontend.sample_rate_hz


def _golden_json(golden: DetectorGolden) -> str:
    """One line for each row of scores and each event, so that a change can be read."""
    text = msgspec.json.encode(golden).decode()
    for pair in ("],[", "},{", "[[", "[{"):
        text = text.replace(pair, f"{pair[:-1]}\n{pair[-1]}")
    return f"{text}\n"


def generated(manifest: Manifest) -> dict[Path, str]:
    """What each generated file must hold."""
    page = with_block(PAGE.read_text(encoding="utf-8"), contract(manifest))
    return {PAGE: page, GOLDEN: _golden_json(detector_golden(manifest))}


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those files that are missing or hold something else."""
    return [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


@click.command(help=__doc__)
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name or directory.")
@click.option("--check", is_flag=True, help="Write nothing; fail if something would change.")
def main(model: str, check: bool) -> None:
    files = generated(load_bundle(model).manifest)
    for path in stale(files):
        if check:
            sys.exit(f"{path} is stale: python benchmarks/mobile_contract.py --model {model}")
        path.write_text(files[path], encoding="utf-8")
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    main()
