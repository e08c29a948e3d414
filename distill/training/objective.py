"""What a student is trained to do: the recipe's loss terms over one batch of targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.data.labels import label_columns
from distill.students.student import Student, StudentConfig, StudentOutput
from distill.teachers.base import Teacher
from distill.training.losses import align, clip_loss, frame_loss, layer_loss, plausible, strong_loss
from distill.training.recipe import LossConfig
from distill.training.shards import Arrays
from distill.training.targets import TeacherInfo
from edge_audio.backends.base import silence
from edge_audio.errors import UsageError

Batch = Mapping[str, Tensor]


class Pair(NamedTuple):
    """One layer-to-layer pair: tap `tap` of the student regresses `field` of the targets."""

    tap: int
    field: str
    dim: int
    hop_s: float
    offset_s: float

    @property
    def key(self) -> str:
        """Name of the pair's modules and buffers, which may hold no dots."""
        return self.field.replace(".", "_")


def pair_layers(teacher: TeacherInfo, n_layers: int, n_taps: int) -> list[Pair]:
    """The teacher's deepest n_layers, spread evenly over the student's taps, the deepest on the
    last tap."""
    chosen = list(enumerate(teacher.layers))[-n_layers:] if n_layers else []
    return [
        Pair(
            tap=-(-(rank + 1) * n_taps // len(chosen)) - 1,
            field=f"{teacher.name}.hidden.{index}",
            dim=layer.dim,
            hop_s=layer.hop_s,
            offset_s=layer.offset_s,
        )
        for rank, (index, layer) in enumerate(chosen)
    ]


def require_taught_labels(config: LossConfig, teachers: Sequence[Teacher | TeacherInfo]) -> None:
    """Raises UsageError if no term of the loss would teach the student's label head: teachers
    without labels, such as self-supervised ones, teach hidden layers alone."""
    tagging = [teacher for teacher in teachers if teacher.labels]
    has_frames = any(teacher.label_frames is not None for teacher in tagging)
    by_teachers = bool(tagging) and bool(config.clip or config.strong)
    by_teachers |= has_frames and bool(config.frame or config.tempered)
    if by_teachers or config.human:
        return
    names = ", ".join(teacher.name for teacher in teachers)
    why = f"{names} has no labels" if not tagging else "all terms of labels weigh 0"
    raise UsageError(
        f"{why} and loss.human is 0: nothing would teach the student's label head. Learn from the "
        "clip list's labels (loss.human = 1), or add a teacher with labels, such as a fine-tuned "
        "checkpoint"
    )


class Objective(nn.Module):
    """A student and the small heads through which it regresses what is not its own output.

    Taps are the block outputs, the embedding in the place of the last. The heads are linear, and
    the teachers' layers are standardised by the mean and deviation of `sample`, a few targets.

    behind_silence: the student hears every mixture behind the silence that streams begin behind
    (`QUIET_S`), on which nothing counts; otherwise from zeros.
    """

    def __init__(
        self,
        student: Student,
        config: LossConfig,
        teachers: Sequence[TeacherInfo],
        labels: Sequence[str],
        sample: Arrays,
        behind_silence: bool = False,
    ) -> None:
        super().__init__()
        self.student, self.config = student, config
        spec = student.model_spec()
        n_quiet = spec.quiet_steps if behind_silence else 0
        self.quiet: Tensor
        quiet = torch.from_numpy(silence(spec)).tile(1, n_quiet, 1)
        self.register_buffer("quiet", quiet, persistent=False)
        self.tagging = [teacher for teacher in teachers if teacher.labels]
        self.pairs: list[Pair] = []
        if config.layer:
            for teacher in teachers:
                self.pairs += pair_layers(teacher, config.n_layers, student.config.n_blocks)
        self.heads = nn.ModuleDict()
        for pair in self.pairs:
            self.heads[pair.key] = nn.Linear(_tap_width(student.config, pair.tap), pair.dim)
            frames = torch.from_numpy(sample[pair.field].astype(np.float32))
            self.register_buffer(f"{pair.key}_mean", frames.mean((0, 1)))
            self.register_buffer(f"{pair.key}_deviation", frames.std((0, 1)) + 1e-3)
        self._shares_columns: set[str] = set()  # teachers with our labels, in our order
        for teacher in self.tagging:
            theirs, ours = label_columns(teacher.labels, labels)
            if tuple(teacher.labels) == tuple(labels):
                self._shares_columns.add(teacher.name)
            self.register_buffer(f"{teacher.name}_theirs", torch.from_numpy(theirs))
            self.register_buffer(f"{teacher.name}_ours", torch.from_numpy(ours))
        self.exits = _exits(config, student.config)
        if config.prediction:
            frontend = student.config.frontend
            n_values = student.frames_per_step * frontend.n_mels
            self.predictor = nn.Linear(student.config.channels, n_values)

    @property
    def fields(self) -> set[str]:
        """Names of the targets' arrays that the terms are made of."""
        labels = [f"{teacher.name}.clip_logits" for teacher in self.tagging]
        if self.config.frame or self.config.tempered:
            labels += [f"{teacher.name}.frame_logits" for teacher in self.tagging]
        return {"mels", *labels, *(pair.field for pair in self.pairs)}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms, to be summed. Besides the fields of `Targets` (float32) a batch may
        have human [B, C], strong [B, T, C], heard [B, T, n_mels], the mels with masks, and
        first_token [1], the first of the tokens that count."""
        output = self._output(batch.get("heard", batch["mels"]), self._tokens(batch))
        with torch.autocast(output.logits.device.type, enabled=False):  # losses stay float32
            floats = StudentOutput(
                output.logits.float(),
                output.embedding.float(),
                tuple(hidden.float() for hidden in output.hidden),
            )
            return self._terms(floats, batch)

    def _output(self, mels: Tensor, tokens: slice) -> StudentOutput:
        """What the student says of the tokens, and its hidden layers throughout."""
        n_quiet = self.quiet.shape[1] // self.student.frames_per_step
        if not n_quiet:
            return cast("StudentOutput", self.student(mels, tokens))
        heard = torch.cat([self.quiet.expand(len(mels), -1, -1), mels], 1)
        behind = slice(tokens.start + n_quiet, None, tokens.step)
        output: StudentOutput = self.student(heard, behind)
        return output._replace(hidden=tuple(layer[:, n_quiet:] for layer in output.hidden))

    def _tokens(self, batch: Batch) -> slice:
        """Those whose labels and layers are compared with the teachers'."""
        first = int(batch["first_token"]) if "first_token" in batch else 0
        return slice(first, None, self.config.token_stride)

    def _terms(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        config = self.config
        terms = self._taught(output, batch, self.pairs)
        if config.prediction:
            terms["prediction"] = config.prediction * self._prediction_loss(output, batch["mels"])
        if config.nested:
            deepest = [pair for pair in self.pairs if pair.tap == self._last_tap]
            taught = [
                torch.stack(list(self._taught(nested, batch, deepest).values())).sum()
                for nested in self._nested(output, batch)
            ]
            terms["nested"] = config.nested * torch.stack(taught).mean()
        return terms

    def _nested(self, output: StudentOutput, batch: Batch) -> Iterator[StudentOutput]:
        """What the students of the first blocks alone say."""
        for depth, norm in self.exits.items():
            yield self.student.read(output.hidden[int(depth) - 1][:, self._tokens(batch)], norm)

    def _taught(
        self, output: StudentOutput, batch: Batch, pairs: Sequence[Pair]
    ) -> dict[str, Tensor]:
        """The weighted terms of labels and layers."""
        config, tokens = self.config, self._tokens(batch)
        times_s = self._times_s(batch["mels"])[tokens]
        terms: dict[str, list[Tensor]] = {}
        for teacher in self.tagging:
            ours, clip, frames = self._label_targets(teacher, output, batch, times_s)
            if config.clip:
                terms.setdefault("clip", []).append(clip_loss(ours, torch.sigmoid(clip)))
            if config.strong:
                strong = batch["strong"][:, tokens, self._columns(teacher, "ours")]
                loss = strong_loss(ours, strong, clip, config.attack)
                terms.setdefault("strong", []).append(loss)
            if frames is not None:
                for name, loss in self._frame_losses(ours, clip, frames).items():
                    terms.setdefault(name, []).append(loss)
        for pair in pairs:
            terms.setdefault("layer", []).append(self._pair_loss(pair, output, batch, times_s))
        if config.human:
            terms["human"] = [clip_loss(output.logits, batch["human"])]
        return {
            name: getattr(config, name) * torch.stack(values).mean()
            for name, values in terms.items()
        }

    def _frame_losses(self, ours: Tensor, clip: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """`frame` and `tempered`, as far as they count."""
        config = self.config
        frames = plausible(frames, clip, config.frame_margin)
        losses = {}
        if config.frame:
            losses["frame"] = frame_loss(ours, frames)
        if config.tempered:
            losses["tempered"] = frame_loss(ours, frames, config.temperature)
        return losses

    def _times_s(self, mels: Tensor) -> Tensor:
        """Times in the teachers' audio that the tokens speak of: their centres, less the delay."""
        student = self.student
        n_tokens = mels.shape[1] // student.frames_per_step
        tokens = torch.arange(n_tokens, device=mels.device)
        return (tokens + 0.5) * student.token_s - student.config.delay_ms / 1e3

    def _label_targets(
        self, teacher: TeacherInfo, output: StudentOutput, batch: Batch, times_s: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The student's logits [B, T, n], the teacher's clip [B, n] and frame [B, T, n] logits,
        over the n labels that both know."""
        theirs = self._columns(teacher, "theirs")
        ours = output.logits[..., self._columns(teacher, "ours")]
        clip = batch[f"{teacher.name}.clip_logits"][:, theirs]
        frames = batch.get(f"{teacher.name}.frame_logits")
        if frames is None or teacher.label_frames is None:
            return ours, clip, None
        hop_s, offset_s = teacher.label_frames.hop_s, teacher.label_frames.offset_s
        return ours, clip, align(frames[..., theirs], hop_s, times_s, offset_s)

    def _columns(self, teacher: TeacherInfo, whose: str) -> Tensor | slice:
        """Of the labels that both know; all, if they know the same."""
        if teacher.name in self._shares_columns:
            return slice(None)
        columns: Tensor = getattr(self, f"{teacher.name}_{whose}")
        return columns

    def _pair_loss(
        self, pair: Pair, output: StudentOutput, batch: Batch, times_s: Tensor
    ) -> Tensor:
        is_last = pair.tap == self._last_tap
        tap = output.embedding if is_last else output.hidden[pair.tap][:, self._tokens(batch)]
        mean, deviation = getattr(self, f"{pair.key}_mean"), getattr(self, f"{pair.key}_deviation")
        target = align((batch[pair.field] - mean) / deviation, pair.hop_s, times_s, pair.offset_s)
        return layer_loss(self.heads[pair.key](tap), target)

    @property
    def _last_tap(self) -> int:
        """That of the embedding."""
        return self.student.config.n_blocks - 1

    def _prediction_loss(self, output: StudentOutput, mels: Tensor) -> Tensor:
        """L1 between the last block's guess and the frames of the token `prediction_tokens`
        later."""
        ahead = self.config.prediction_tokens
        n_frames = self.student.frames_per_step
        whole = mels[:, : mels.shape[1] // n_frames * n_frames]
        tokens = whole.unflatten(1, (-1, n_frames)).flatten(2)
        guess = self.predictor(output.hidden[-1][:, :-ahead])
        return functional.l1_loss(guess, tokens[:, ahead:])


def _exits(config: LossConfig, student: StudentConfig) -> nn.ModuleDict:
    """By depth, the last norm of each nested student. UsageError for a depth that is none."""
    depths = config.depths if config.nested else ()
    for depth in depths:
        if not 0 < depth < student.n_blocks:
            raise UsageError(
                f"loss.depths: {depth} is not between 0 and the {student.n_blocks} blocks"
            )
    return nn.ModuleDict({str(depth): nn.BatchNorm1d(student.channels) for depth in depths})


def _tap_width(config: StudentConfig, tap: int) -> int:
    return config.embedding_dim if tap == config.n_blocks - 1 else config.channels
