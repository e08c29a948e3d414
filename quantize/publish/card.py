"""CARD.md: what a person should know before shipping a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from distill.calibration.thresholds import CalibrationConfig
from distill.data.licences import SHIPPED_TIERS
from distill.teachers.published.registry import kinds, system_of
from distill.training.recipe import Recipe
from edge_audio.bundle.manifest import Manifest

CARD_NAME = "CARD.md"


def with_card(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a bundle with the card that its manifest and the other files bring."""
    models = {name: files[name] for name in sorted(files) if name != CARD_NAME}
    return {**models, CARD_NAME: model_card(manifest, models).encode()}


def model_card(manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Markdown made from the manifest alone, so that it cannot say anything else."""
    sections = [
        f"# {manifest.name}\n\n{manifest.description}.",
        _size(manifest, files),
        _training(manifest),
        _metrics(manifest),
        _labels(manifest),
        _limits(),
    ]
    return "\n\n".join(sections) + "\n"


def _size(manifest: Manifest, files: Mapping[str, bytes]) -> str:
    model, facts = manifest.model, manifest.provenance
    n_state = sum(math.prod(tensor.shape) for tensor in model.state)
    sizes = ", ".join(f"{name} {len(content) / 1000:.0f} kB" for name, content in files.items())
    rows = [
        ("parameters", _number(facts, "n_parameters", "{:,}")),
        ("parameters without the head", _number(facts, "n_parameters_without_head", "{:,}")),
        ("multiply-accumulates", _number(facts, "mmac_per_s", "{:.2f} M per audio second")),
        ("step", f"{1e3 * model.step_s:.0f} ms of audio"),
        ("algorithmic latency", f"{model.latency_ms:.0f} ms"),
        ("state", f"{len(model.state)} tensors, {4 * n_state / 1000:.1f} kB"),
        ("weights", str(facts.get("scheme", "-"))),
        ("files", sizes),
    ]
    return "## Size and speed\n\n" + _table(("", ""), rows)


def _number(facts: Mapping[str, Any], key: str, form: str) -> str:
    """A number of the provenance, "-" where its maker gave none."""
    value = facts.get(key)
    return form.format(value) if isinstance(value, int | float) else "-"


def _training(manifest: Manifest) -> str:
    given = manifest.provenance.get("recipe")
    if not given:
        return "## Training\n\nNot recorded in this bundle."
    with_defaults = msgspec.json.encode(msgspec.convert(given, Recipe))
    recipe = msgspec.json.decode(with_defaults)
    split, training = recipe["split"], recipe["training"]
    earlier = manifest.provenance.get("earlier_teachers", [])
    return f"""## Training

- Data: clips of licence tiers {", ".join(split["tiers"])}{_licences(split["tiers"])}.
- Held out: folds {split["held_out_folds"]}, with every recording of their groups{_places(split)}.
- Teachers: {"; ".join(map(_teacher, recipe["teachers"]))}, heard on the same augmented mixtures\
{_earlier(earlier)}.
- Recipe {recipe["name"]}: seed {recipe["seed"]}, {training["n_mixtures"]:,} mixtures of
  {recipe["mixture"]["duration_s"]:g} s, {training["n_steps"]:,} steps of \
{training["batch_size"]}{_start(recipe)}{_head(recipe)}.
  manifest.json has all of it under `provenance`; docs/training.md of the project has the commands.
- Weights: Apache-2.0, as this package{_restriction([*recipe["teachers"], *earlier])}.
  Label names: AudioSet ontology, CC BY-SA 4.0."""


def _licences(tiers: Sequence[str]) -> str:
    if set(tiers) <= set(SHIPPED_TIERS):
        return """: CC0, public domain, CC BY, CC BY-SA,
  MIT, BSD and WTFPL recordings, each named in docs/attribution.md of the project. Tier B are
  ESC-50 clips whose own licence is CC0 or CC BY; the ESC-50 compilation as such is CC BY-NC"""
    others = ", ".join(tier for tier in tiers if tier not in SHIPPED_TIERS)
    return f""". Licences of tier {others} are
  unknown, or FORBID commercial or derived works: what came out is for who trained it, unless
  they know better"""


def _teacher(teacher: dict[str, Any]) -> str:
    layers = f"layers {teacher['layers']}" if teacher.get("layers") else "labels alone"
    if teacher["kind"] == "efficientat":
        return f"EfficientAT {teacher['checkpoint']} (MIT licence, F. Schmid), labels and {layers}"
    if teacher["kind"] in kinds():
        card = system_of(teacher["kind"]).card
        taught = "hidden layers, and labels where its file has them"
        return f"{card.title} {teacher['checkpoint']} ({card.weights}), {taught}"
    source = teacher.get("model") or teacher.get("checkpoint") or "YAMNet (Apache-2.0, Google)"
    return f"{source}, {layers}"


def _earlier(teachers: Sequence[dict[str, Any]]) -> str:
    """Of the students that the run went on from."""
    return ";\n  before, " + "; ".join(map(_teacher, teachers)) if teachers else ""


def _restriction(teachers: Sequence[dict[str, Any]]) -> str:
    """What a teacher's licence may mean for its student, which nobody here can decide."""
    named = dict.fromkeys(one["kind"] for one in teachers if one["kind"] in kinds())
    bound = [system_of(kind).card.title for kind in named if system_of(kind).card.non_commercial]
    if not bound:
        return ""
    return (
        f"; but the weights of its teacher {' and '.join(bound)} are for NON-COMMERCIAL use:\n"
        "  ask whether a student of it may be used otherwise before you do"
    )


def _start(recipe: dict[str, Any]) -> str:
    blend = recipe.get("blend", 0.0)
    kept = f", {100 * blend:g} % of whose weights were blended in again" if blend else ""
    return f", going on from {recipe['start_from']}{kept}" if recipe["start_from"] else ""


def _head(recipe: dict[str, Any]) -> str:
    fitted = "; a gain and an offset of each label were then fitted to the teacher's clip scores"
    return fitted if recipe["head_fitted"] else ""


def _places(split: dict[str, object]) -> str:
    if split["hold_out_strange"]:
        return ", and the strange places (distill/data/strange.toml), all ESC clips among them"
    return ", and all ESC clips" if split["hold_out_esc"] else ""


def _metrics(manifest: Manifest) -> str:
    metrics = manifest.provenance.get("metrics")
    if not metrics:
        return "## Metrics\n\nNot measured for this bundle."
    tables = [_table(("metric", "value"), list(figures.items())) for figures in metrics]
    return "\n\n".join(["## Metrics", "In brackets: 95 % confidence intervals.", *tables])


def _labels(manifest: Manifest) -> str:
    thresholds = manifest.events.thresholds
    rows = [
        (label, f"{t.on:.3f}", _figure(t.alarms_per_hour), _figure(t.recall), str(t.n_positives))
        for label, t in sorted(thresholds.items())
    ]
    head = (
        f"## Labels\n\n{len(thresholds)} of {len(manifest.labels)} labels are on by "
        f"default{_promise(manifest)}. The other scores are computed all the same, and "
        "`--threshold LABEL=VALUE` turns their events on."
    )
    columns = ("label", "on", "false alarms per hour", "recall", "held-out clips")
    return f"{head}\n\n{_table(columns, rows)}" if rows else head


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _promise(manifest: Manifest) -> str:
    given = manifest.provenance.get("calibration")
    thresholds = manifest.events.thresholds.values()
    if not given or not thresholds:
        return ""
    calibration = msgspec.convert(given, CalibrationConfig)
    scenes = calibration.scenes
    per_hour = 3600 * scenes.n_negative_sounds / scenes.negative_s
    hours = max(t.negative_h for t in thresholds)
    return (
        f": those that find {100 * calibration.min_recall:g} % of the events in soundscapes of "
        f"held-out clips, or that share of single ones, at thresholds for "
        f"{calibration.max_alarms_per_hour:g} false alarms per hour and label"
        f"{_of_clips(manifest, calibration)}. All were counted on recordings that the threshold "
        f"was not chosen on, false alarms in up to {hours:.0f} hours with {per_hour:g} sounds an "
        "hour"
    )


def _of_clips(manifest: Manifest, calibration: CalibrationConfig) -> str:
    """What single clips bring, for bundles whose thresholds they chose."""
    facts = manifest.provenance.get("single_clips")
    if not facts:
        return ""
    shares = facts["normal"]
    return (
        f" at most, and a wrong event in {100 * calibration.max_wrong:g} % of single clips "
        f"({100 * shares['wrong']:.1f} % of those that it was not chosen on; a right one in "
        f"{100 * shares['right']:.1f} %)"
    )


def _limits() -> str:
    return """## Limits

Trained on few hours of clips and on what teachers say about them: labels that the clips do not
contain are weak. Thresholds come from few held-out clips in composed scenes, not from days of
recordings; single labels keep the budget less well than their average, and a place with more or
other sounds has other false alarms: `edge-audio tune` chooses thresholds for it. Not for
safety-critical use: it must not replace a smoke detector or a baby monitor."""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [columns, ["---" for _ in columns], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
