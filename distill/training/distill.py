"""One distillation run: targets made, student and objective opened, trained."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from distill.data.checks import require_sound
from distill.data.clip_feed import ClipFeed
from distill.data.clip_list import Clip, read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.fingerprint import fingerprint
from distill.data.folders import named_clip_list
from distill.data.labels import audioset_labels
from distill.data.split import require_unheard
from distill.mixing.feed_mixer import FeedMixer
from distill.mixing.mixtures import Mixer
from distill.runs.checkpoints import load_state
from distill.students.student import Student
from distill.teachers.config import TeacherConfig
from distill.teachers.opening import open_teacher, teacher_fingerprint
from distill.training.draws import Odds, draw_odds, hear_clips, listed_odds
from distill.training.inputs import FirstToken, HumanLabels, Input, Masks, StrongLabels
from distill.training.objective import Objective, require_taught_labels
from distill.training.recipe import Recipe
from distill.training.targets import (
    SHARD_SIZE,
    CachedTargets,
    DrawsMixtures,
    TargetCache,
    TargetMaker,
    Targets,
    cache_key,
)
from distill.training.trainer import Trainer, Watch, load_student, open_accelerator
from edge_audio.errors import UsageError
from edge_audio.support.folders import peers_dir
from edge_audio.support.text import printable

SAMPLE_SIZE = 256
"""Mixtures whose targets standardise the teachers' layers."""

Prepare = Callable[[Student], None]


def distill(
    recipe: Recipe,
    runs_dir: Path,
    n_processes: int,
    prepare: Prepare | None = None,
    open_watch: Callable[[Recipe], Watch] | None = None,
) -> Path:
    """Runs or resumes `recipe` in `runs_dir / recipe.name`; returns the checkpoint's path.

    n_processes: how many make the cached targets. prepare: is given the student before training
    begins; quantization-aware training hooks its fake quantizers in here. open_watch: makes what
    looks at the student every training.watch_every_steps, if the recipe wants it.
    """
    refuse_own_labels(recipe)
    accelerator = open_accelerator(recipe.training)
    clip_list, labels = named_clip_list(), audioset_labels()
    clips = read_clip_list(clip_list)
    for problem in require_sound(clip_list.parent, clips, labels):
        accelerator.print(f"note: {printable(problem.message)}", file=sys.stderr)
    with accelerator.main_process_first():
        targets = open_targets(recipe, clips, runs_dir / "cache", n_processes)
    require_taught_labels(recipe.loss, targets.teachers)
    if recipe.start_from:
        check_start(recipe, clips)
        recipe = with_start_hash(recipe)
    student = start_student(recipe)
    sample = targets.batch(np.arange(min(len(targets), SAMPLE_SIZE)))
    behind_silence = recipe.training.behind_silence
    objective = Objective(student, recipe.loss, targets.teachers, labels, sample, behind_silence)
    if prepare is not None:
        prepare(student)
    inputs = _inputs(recipe, student, clips, labels)
    if isinstance(targets, CachedTargets):
        targets = targets.only(objective.fields.union(*(one.fields for one in inputs)))
    trainer = Trainer(
        accelerator=accelerator,
        recipe=recipe,
        seed=recipe.seed,
        config=recipe.training,
        run_dir=runs_dir / recipe.name,
        objective=objective,
        targets=targets,
        inputs=inputs,
    )
    if open_watch and recipe.training.watch_every_steps and accelerator.is_main_process:
        trainer.watch = open_watch(recipe)
    return trainer.run()


def refuse_own_labels(recipe: Recipe) -> None:
    """Raises UsageError for a recipe with labels: teachers name AudioSet's, and so does the head
    that is trained. A checkpoint's recipe has some, where classes of its own were put on later."""
    if recipe.labels:
        raise UsageError(
            f"labels: a recipe trains all of AudioSet's, and not {recipe.labels[0]!r} alone: leave "
            "`labels` out; `edge-audio export --labels` keeps some of them, and `edge-audio "
            "learn` teaches others"
        )


def _inputs(
    recipe: Recipe, student: Student, clips: Sequence[Clip], labels: Sequence[str]
) -> list[Input]:
    """What the recipe's loss and masking need of each batch beside the targets."""
    inputs: list[Input] = []
    if recipe.loss.human:
        inputs.append(HumanLabels(clips, labels))
    if recipe.loss.strong:
        inputs.append(StrongLabels(clips, labels, student))
    if recipe.loss.token_stride > 1:
        inputs.append(FirstToken(recipe.loss.token_stride, recipe.seed))
    if recipe.masking.share:
        inputs.append(Masks(recipe.masking, student, recipe.seed))
    return inputs


def open_targets(recipe: Recipe, clips: list[Clip], cache_dir: Path, n_processes: int) -> Targets:
    """The recipe's teacher targets; missing parts of a cache are made."""
    indices, frontend = recipe.split.training_positions(clips), recipe.student.frontend
    folder, heard = named_clip_list().parent, [clips[index] for index in indices]

    def open_maker() -> TargetMaker:
        teachers = [open_teacher(teacher, peers_dir()) for teacher in recipe.teachers]
        require_taught_labels(recipe.loss, teachers)
        rate_hz = frontend.sample_rate_hz
        n_samples = round(recipe.mixture.duration_s * rate_hz) + frontend.overlap_samples
        device = teaching_device()
        mixing = recipe.mixture, rate_hz, n_samples
        mixer: DrawsMixtures
        if recipe.stream is None:
            store = ClipStore.open(folder, clips, rate_hz, cache_dir)
            odds = clip_odds(recipe, clips, indices, store, cache_dir, device)
            mixer = Mixer(store, indices, *mixing, odds)
        else:
            feed = ClipFeed(folder, clips, indices, rate_hz, recipe.seed, recipe.stream)
            mixer = FeedMixer(feed, *mixing, listed_odds(heard), mixtures_per_pool=SHARD_SIZE)
        n_mixtures, n_together = recipe.training.n_mixtures, SHARD_SIZE if recipe.stream else 1
        return TargetMaker(mixer, teachers, frontend, recipe.seed, n_mixtures, device, n_together)

    if not recipe.training.cache:
        return open_maker()
    # Cached sources are positions in the whole list, which what does not train moves, too.
    parts = (heard, indices, recipe.mixture, recipe.teachers, frontend, recipe.seed, recipe.stream)
    # With clips, teachers and their files, `draw` is all that the odds depend on.
    key = cache_key(*parts, recipe.draw, *files_behind(heard, recipe.teachers))
    cache = TargetCache(cache_dir / f"targets-{key}", recipe.training.n_mixtures)
    # a process that has opened a GPU cannot be forked
    cache.build(open_maker, 1 if torch.cuda.is_available() else n_processes)
    return cache.load()


def teaching_device() -> str:
    """Where teachers compute: this process's GPU, by its number, for threads that it starts have
    the first one by default."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"


def files_behind(clips: Sequence[Clip], teachers: Sequence[TeacherConfig]) -> list[str]:
    """Fingerprints of the clips' and the teachers' files, for the key of a cache."""
    audio = fingerprint(named_clip_list().parent, [clip.path for clip in clips])
    return [audio, *(teacher_fingerprint(teacher, peers_dir()) for teacher in teachers)]


def clip_odds(
    recipe: Recipe,
    clips: Sequence[Clip],
    indices: Sequence[int],
    store: ClipStore,
    cache_dir: Path,
    device: str = "cpu",
) -> Odds:
    """Relative odds of drawing each of the training clips `indices` of a clip list."""
    rate_hz, folder = recipe.student.frontend.sample_rate_hz, named_clip_list().parent
    heard = hear_clips(recipe.teachers, folder, clips, store, rate_hz, cache_dir, device)
    durations_s = [clips[index].duration_s for index in indices]
    probabilities = None if heard is None else heard.probabilities[indices]
    return draw_odds(recipe.draw, durations_s, probabilities)


def check_start(recipe: Recipe, clips: list[Clip]) -> None:
    """Raises UsageError if the student that this run goes on with, or one that this one went on
    from, as far as they are here, has heard what it holds out."""
    held_out, before = recipe.split.divide(clips)[1], recipe.start_from
    asked: set[str] = set()
    while before and before not in asked:
        asked.add(before)
        earlier = load_student(Path(before))[1]
        require_unheard(
            earlier.split,
            clips,
            held_out,
            who=before,
            what=f"clips that {recipe.name} holds out",
            advice="start from a student whose split holds out as much",
            error=UsageError,
        )
        before = earlier.start_from if Path(earlier.start_from).is_file() else ""


def with_start_hash(recipe: Recipe) -> Recipe:
    """Says which content of `start_from` this is: a run goes on from no other. Raises UsageError if
    there is none."""
    try:
        content = Path(recipe.start_from).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {recipe.start_from}: {error.strerror}") from error
    return msgspec.structs.replace(recipe, start_sha256=hashlib.sha256(content).hexdigest())


def start_student(recipe: Recipe) -> Student:
    """The recipe's student, new or with the weights of `start_from`."""
    torch.manual_seed(recipe.seed)
    student = Student(recipe.student)
    if recipe.start_from:
        weights = load_state(Path(recipe.start_from))["student"]
        if recipe.new_mixers:
            weights = _with_mixers_of(student, weights)
        try:
            student.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(f"{recipe.start_from} holds a student of another shape") from error
    return student


def _with_mixers_of(student: Student, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weights` of another student, with the mixers of `student` in place of its own."""
    others = {name: value for name, value in weights.items() if ".mixer." not in name}
    own = {name: value for name, value in student.state_dict().items() if ".mixer." in name}
    return others | own
