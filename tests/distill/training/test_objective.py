"""The recipe's loss terms: which layers meet, at which times, and that every weight learns."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from distill.publish import nested
from distill.students.student import Student
from distill.teachers.base import Layer
from distill.training.losses import frame_loss
from distill.training.objective import Objective, pair_layers
from distill.training.recipe import LossConfig, Recipe
from distill.training.targets import TeacherInfo
from edge_audio.backends.base import silence
from edge_audio.errors import UsageError
from tests.distill.workshop import TINY_RECIPE, TINY_STUDENT

LABELS = tuple(f"label {index}" for index in range(527))
TEACHER = TeacherInfo(
    name="one",
    labels=LABELS[::-1],
    label_frames=Layer(name="logits", dim=527, hop_s=0.16),
    layers=(
        Layer(name="low", dim=5, hop_s=0.08, offset_s=0.04),
        Layer(name="high", dim=6, hop_s=0.16),
    ),
)
OTHER = TeacherInfo(
    name="other",
    labels=(),
    label_frames=None,
    layers=tuple(Layer(name=str(index), dim=4, hop_s=0.02) for index in range(3)),
)
N_FRAMES = 96  # 12 tokens


def batch_of(teachers: tuple[TeacherInfo, ...], n: int = 3, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(n, *shape, generator=generator)

    batch = {"mels": random(N_FRAMES, 64), "human": (random(527) > 2).float()}
    for teacher in teachers:
        if teacher.label_frames is not None:
            batch[f"{teacher.name}.clip_logits"] = random(527)
            batch[f"{teacher.name}.frame_logits"] = random(7, 527)
        for index, layer in enumerate(teacher.layers):
            n_frames = round(0.96 / layer.hop_s) + 1
            batch[f"{teacher.name}.hidden.{index}"] = random(n_frames, layer.dim)
    return batch


def make(
    config: LossConfig,
    teachers: tuple[TeacherInfo, ...] = (TEACHER,),
    behind_silence: bool = False,
) -> Objective:
    torch.manual_seed(0)
    sample = {name: value.numpy() for name, value in batch_of(teachers, 20, seed=9).items()}
    return Objective(Student(TINY_STUDENT), config, teachers, LABELS, sample, behind_silence)


def test_layers_are_spread_over_the_taps_the_deepest_last() -> None:
    deep = TeacherInfo(
        name="deep",
        labels=(),
        label_frames=None,
        layers=tuple(Layer(name=str(i), dim=i + 1, hop_s=0.1) for i in range(12)),
    )
    taps = [(pair.tap, pair.dim) for pair in pair_layers(deep, n_layers=4, n_taps=4)]
    assert taps == [(0, 9), (1, 10), (2, 11), (3, 12)]
    assert [pair.tap for pair in pair_layers(deep, n_layers=2, n_taps=4)] == [1, 3]
    assert [pair.tap for pair in pair_layers(deep, n_layers=4, n_taps=2)] == [0, 0, 1, 1]
    assert [pair.dim for pair in pair_layers(deep, n_layers=1, n_taps=4)] == [12]
    assert pair_layers(deep, n_layers=0, n_taps=4) == []


def test_terms_are_those_with_a_weight_and_scale_with_it() -> None:
    batch = batch_of((TEACHER,))
    config = LossConfig(human=1.0, prediction=1.0)
    ones = make(config)(batch)
    assert set(ones) == {"clip", "frame", "layer", "human", "prediction"}
    weights = {"clip": 2.0, "frame": 0.25, "layer": 3.0, "human": 0.5, "prediction": 4.0}
    scaled = make(msgspec.convert(weights, LossConfig))(batch)
    for name, weight in weights.items():
        torch.testing.assert_close(scaled[name], weight * ones[name])
    assert set(make(LossConfig(layer=0.0, frame=0.0))(batch)) == {"clip"}


def test_every_weight_gets_a_gradient() -> None:
    objective = make(LossConfig(human=0.1, prediction=0.1), (TEACHER, OTHER))
    terms = objective(batch_of((TEACHER, OTHER)))
    torch.stack(list(terms.values())).sum().backward()
    named = objective.named_parameters()
    assert not [name for name, p in named if p.grad is None or not p.grad.abs().sum() > 0]


def test_labels_are_matched_by_name() -> None:
    """TEACHER lists its labels backwards: its logits, turned round, are the student's own."""
    objective = make(LossConfig(layer=0.0, clip=0.0))
    batch = batch_of((TEACHER,))
    batch["one.clip_logits"] = torch.full((3, 527), 50.0)  # no cap
    objective.eval()
    with torch.no_grad():
        own = objective.student(batch["mels"]).logits
        right = batch | {"one.frame_logits": own.flip(2)[:, ::2]}
        wrong = batch | {"one.frame_logits": own[:, ::2].roll(1, dims=0)}
        assert objective(right)["frame"] < objective(wrong)["frame"]


@pytest.mark.parametrize("delay_tokens", [0, 1, 3])
def test_the_student_predicts_what_the_teacher_said_a_delay_ago(delay_tokens: int) -> None:
    """A teacher layer that equals the head's output `delay` later costs the least possible."""
    config = LossConfig(clip=0.0, frame=0.0, n_layers=1)
    layer = Layer(name="only", dim=6, hop_s=0.08, offset_s=0.04)  # centred like the tokens
    teacher = TeacherInfo(name="one", labels=(), label_frames=None, layers=(layer,))
    student_config = TINY_STUDENT.__class__(
        **{
            **{f: getattr(TINY_STUDENT, f) for f in TINY_STUDENT.__struct_fields__},
            "delay_ms": 80.0 * delay_tokens,
        }
    )
    torch.manual_seed(0)
    student = Student(student_config)
    mels = torch.randn(2, N_FRAMES, 64)
    sample = {"one.hidden.0": np.random.default_rng(0).standard_normal((20, 12, 6))}
    objective = Objective(student, config, (teacher,), LABELS, sample).eval()
    with torch.no_grad():
        predicted = objective.heads["one_hidden_0"](student(mels).embedding)
        mean, deviation = objective.one_hidden_0_mean, objective.one_hidden_0_deviation
        said = predicted.roll(-delay_tokens, dims=1) * deviation + mean
        # the first tokens speak of times before the audio began, where the first frame repeats
        least = float(np.log1p(np.exp(-1.0)))
        found = {}
        for shift in (-1, 0, 1):
            batch = {"mels": mels, "one.hidden.0": said.roll(shift, dims=1)}
            found[shift] = float(objective(batch)["layer"])
    assert found[0] == min(found.values())
    assert found[0] < least + 0.35 * delay_tokens + 1e-3


def test_a_temperature_lets_unlikely_labels_teach() -> None:
    logits = torch.full((1, 1, 2), -8.0, requires_grad=True)
    teacher = torch.tensor([[[-8.0, -5.0]]])
    pull = {}
    for temperature in (1.0, 3.0):
        (slope,) = torch.autograd.grad(frame_loss(logits, teacher, temperature), logits)
        pull[temperature] = slope[0, 0, 1].item()
        assert slope[0, 0, 0].item() == pytest.approx(0.0, abs=1e-7)
    assert pull[1.0] == pytest.approx(
        float(torch.sigmoid(torch.tensor(-8.0)) - 0.0066929), abs=1e-6
    )
    assert pull[3.0] == pytest.approx(-0.0313, abs=1e-4)


def test_the_tempered_term_stands_beside_the_others() -> None:
    batch = batch_of((TEACHER,))
    terms = make(LossConfig(frame=0.0, layer=0.0, clip=0.0, tempered=0.5))(batch)
    assert set(terms) == {"tempered"}
    twice = make(LossConfig(frame=0.0, layer=0.0, clip=0.0, tempered=1.0))(batch)
    assert twice["tempered"].item() == pytest.approx(2 * terms["tempered"].item())
    cold = make(LossConfig(layer=0.0, clip=0.0, tempered=1.0, temperature=1.0))(batch)
    assert cold["tempered"].item() == pytest.approx(cold["frame"].item())
    with pytest.raises(ValueError, match="temperature"):
        LossConfig(temperature=0.0)


def test_prediction_is_of_the_frames_ahead_and_hears_nothing_of_them() -> None:
    config = LossConfig(clip=0.0, frame=0.0, layer=0.0, prediction=1.0, prediction_tokens=3)
    objective = make(config).eval()
    batch = batch_of((TEACHER,))
    with torch.no_grad():
        before = objective(batch)["prediction"]
        batch["mels"][:, :24] += 1.0  # the first three tokens are inputs only
        tokens = batch["mels"].unflatten(1, (12, 8)).flatten(2)
        guess = objective.predictor(objective.student(batch["mels"]).hidden[-1])
        expected = (guess[:, :9] - tokens[:, 3:]).abs().mean()
        found = objective(batch)["prediction"]
    torch.testing.assert_close(found, expected)
    assert found != before


def test_frames_that_fill_no_token_are_not_predicted() -> None:
    objective, batch = make(LossConfig(prediction=1.0)).eval(), batch_of((TEACHER,))
    longer = {**batch, "mels": torch.cat([batch["mels"], torch.ones(3, 5, 64)], 1)}
    with torch.no_grad():
        assert objective(longer)["prediction"] == objective(batch)["prediction"]


def test_masked_input_leaves_the_targets_whole() -> None:
    objective = make(LossConfig(prediction=1.0)).eval()
    batch = batch_of((TEACHER,))
    with torch.no_grad():
        same = objective(batch | {"heard": batch["mels"]})
        torch.testing.assert_close(same, objective(batch))
        masked = objective(batch | {"heard": torch.zeros_like(batch["mels"])})
    assert masked["prediction"] != same["prediction"]


def test_behind_silence_mixtures_are_heard_as_a_stream_begins() -> None:
    """In the state that the silence leaves of zeros, which counts in no term."""
    batch, config = batch_of((TEACHER,)), LossConfig(token_stride=3)
    objective = make(config, behind_silence=True).eval()
    student, outputs = objective.student, []
    student.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        terms = objective(batch)
        state, logits = student.initial_state(3), []
        quiet = torch.from_numpy(silence(student.model_spec())).expand(3, -1, -1)
        for frames in (*[quiet] * 25, *batch["mels"].split(8, 1)):
            output, state = student.step(frames, state)
            logits.append(output.logits)
    torch.testing.assert_close(outputs[0].logits, torch.stack(logits[25::3], 1))
    plain = make(config).eval()
    plain.load_state_dict(objective.state_dict())
    assert terms.keys() == plain(batch).keys()
    assert all(terms[name] != value for name, value in plain(batch).items())


@pytest.mark.parametrize("first", [0, 1, 2])
def test_every_third_token_alone_counts(first: int) -> None:
    """What the teachers say of the others changes nothing."""
    config = LossConfig(token_stride=3, strong=1.0, human=1.0)
    objective, batch = make(config).eval(), batch_of((TEACHER,))
    batch["strong"] = (torch.rand(3, 12, 527) > 0.5).float()
    batch["first_token"] = torch.tensor([float(first)])
    tokens = slice(first, None, 3)
    assert objective.student(batch["mels"], tokens).logits.shape == (3, 4, 527)
    before = {name: term.item() for name, term in objective(batch).items()}
    others = [token for token in range(12) if token % 3 != first]
    batch["strong"][:, others] = 1.0 - batch["strong"][:, others]
    assert {name: term.item() for name, term in objective(batch).items()} == before
    batch["strong"][:, first] = 1.0 - batch["strong"][:, first]
    assert objective(batch)["strong"].item() != before["strong"]
    del batch["first_token"]
    whole, shifts = make(LossConfig()).eval(), []
    for token in range(3):
        third = make(LossConfig(token_stride=3)).eval()
        third.load_state_dict(whole.state_dict())
        shifts.append(third({**batch, "first_token": torch.tensor([float(token)])}))
    for name in ("frame", "layer"):
        mean = torch.stack([terms[name] for terms in shifts]).mean()
        torch.testing.assert_close(mean, whole(batch)[name])


def test_labels_in_the_teachers_order_give_the_same_terms_and_gradients() -> None:
    """One column after the other, without looking each up."""
    same = msgspec.structs.replace(TEACHER, labels=LABELS)
    batch, found = batch_of((TEACHER,)), []
    for teacher in (TEACHER, same):
        objective = make(LossConfig(), (teacher,))
        if teacher is TEACHER:  # which has them backwards
            for name in ("one.clip_logits", "one.frame_logits"):
                batch[name] = batch[name].flip(-1)
        terms = objective(batch)
        torch.stack(list(terms.values())).sum().backward()
        found.append([*terms.values(), objective.student.head.weight.grad])
        batch["one.clip_logits"] = batch["one.clip_logits"].flip(-1)
        batch["one.frame_logits"] = batch["one.frame_logits"].flip(-1)
    for reversed_value, value in zip(*found, strict=True):
        torch.testing.assert_close(reversed_value, value)


def test_a_nested_student_learns_what_it_would_alone_and_is_published_alone() -> None:
    config = LossConfig(layer=0.0, human=0.5, nested=0.25, depths=(1,))
    objective, batch = make(config).eval(), batch_of((TEACHER,))
    torch.nn.init.normal_(objective.get_parameter("exits.1.weight"))
    terms = objective(batch)
    state = objective.state_dict()
    recipe = msgspec.json.encode(msgspec.structs.replace(TINY_RECIPE, loss=config)).decode()
    weights = {key.removeprefix("student."): value for key, value in state.items()}
    published = nested({"recipe": recipe, "heads": state}, weights, 1)
    shape = msgspec.json.decode(published["recipe"], type=Recipe)
    assert (shape.student.n_blocks, shape.loss.nested) == (1, 0.0)
    torch.manual_seed(0)
    alone = Objective(Student(shape.student), shape.loss, (TEACHER,), LABELS, {}).eval()
    names = set(alone.student.state_dict())
    alone.student.load_state_dict({name: published["student"][name] for name in names})
    expected = torch.stack(list(alone(batch).values())).sum()
    torch.testing.assert_close(terms["nested"], 0.25 * expected)
    assert set(terms) == {"clip", "frame", "human", "nested"}


def test_a_nested_students_last_layer_meets_the_teachers_deepest() -> None:
    objective = make(LossConfig(clip=0.0, frame=0.0, nested=1.0, depths=(1,)))
    assert [pair.tap for pair in objective.pairs] == [0, 1]
    with torch.no_grad():
        objective.get_parameter("exits.1.weight").zero_()
        objective.get_parameter("exits.1.bias").zero_()
    terms = objective(batch_of((TEACHER,)))
    terms["nested"].backward()
    heads = {name for name, p in objective.heads.named_parameters() if p.grad is not None}
    assert {name.partition(".")[0] for name in heads} == {"one_hidden_1"}
    assert objective.student.get_parameter("embed.weight").grad is not None


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_a_depth_that_is_no_part_of_the_student_is_wrong_usage(depth: int) -> None:
    with pytest.raises(UsageError, match=f"loss.depths: {depth} is not between 0 and the 2 blocks"):
        make(LossConfig(nested=1.0, depths=(depth,)))


def test_a_nested_student_that_was_not_trained_is_not_published() -> None:
    recipe = msgspec.json.encode(TINY_RECIPE).decode()
    with pytest.raises(UsageError, match=r"no student of 1 blocks was trained: set loss\.nested"):
        nested({"recipe": recipe, "heads": {}}, {}, 1)


def test_fields_are_all_that_the_terms_read() -> None:
    for config in (LossConfig(), LossConfig(frame=0.0, n_layers=1), LossConfig(layer=0.0)):
        objective, batch = make(config), batch_of((TEACHER, OTHER))
        objective({name: value for name, value in batch.items() if name in objective.fields})
    assert make(LossConfig(frame=0.0, n_layers=1)).fields == {
        *("mels", "one.clip_logits", "one.hidden.1"),
    }
