"""The contract of every student: the same in one pass as step by step, no future, small."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.students.blocks import BOUND
from distill.students.cost import count_mmac_per_s, count_parameters
from distill.students.lti import LTIConfig
from distill.students.sizes import PRESETS, SIZES, student_config
from distill.students.state import flatten, unflatten
from distill.students.stem import ConvStem
from distill.students.student import Student, StudentConfig, StudentOutput, StudentState
from edge_audio.errors import UsageError
from tests.support.student_zoo import CONFIGS, MIXERS, N_TOKENS, make_student, random_frames

BUDGETS = {"micro": (40_000, 1.5), "tiny": (150_000, 5.0), "small": (1_000_000, 16.0)}
FAMILIES = sorted(CONFIGS)
LOUD = 1e3


def run_steps(
    student: Student, frames: Tensor, state: StudentState
) -> tuple[StudentOutput, StudentState]:
    """Step by step; logits and embedding as `forward` has them."""
    outputs = []
    for block in frames.split(student.frames_per_step, dim=1):
        output, state = student.step(block, state)
        assert output.hidden == ()
        outputs.append(output)
    logits = torch.stack([output.logits for output in outputs], 1)
    embedding = torch.stack([output.embedding for output in outputs], 1)
    return StudentOutput(logits, embedding), state


def assert_equal_outputs(actual: StudentOutput, expected: StudentOutput) -> None:
    for name in ("logits", "embedding"):
        torch.testing.assert_close(
            getattr(actual, name), getattr(expected, name), atol=1e-4, rtol=1e-4
        )


@pytest.fixture(params=FAMILIES)
def student(request: pytest.FixtureRequest) -> Student:
    return make_student(CONFIGS[request.param])


@pytest.mark.parametrize("n_tokens", [1, 2, 13, N_TOKENS])
def test_steps_equal_forward(student: Student, n_tokens: int) -> None:
    frames = random_frames(8 * n_tokens, batch_size=2)
    expected = student(frames)
    stepped, _ = run_steps(student, frames, student.initial_state(2))
    assert_equal_outputs(stepped, expected)
    if n_tokens == N_TOKENS:
        assert expected.logits.std(1).min() > 1e-3, "the student does not react to its input"


def test_steps_equal_forward_for_any_width() -> None:
    rng = np.random.default_rng(0)
    for seed, mixer in enumerate(MIXERS.values()):
        config = StudentConfig(
            stem=tuple((int(rng.integers(2, 9)), int(s)) for s in rng.permutation([2, 2, 2, 1])),
            channels=4 * int(rng.integers(1, 6)),
            n_blocks=int(rng.integers(1, 4)),
            mixer=mixer,
            embedding_dim=int(rng.integers(4, 20)),
            n_classes=int(rng.integers(2, 30)),
        )
        random = make_student(config, seed)
        frames = random_frames(8 * 7, seed)
        assert_equal_outputs(run_steps(random, frames, random.initial_state())[0], random(frames))


@pytest.mark.parametrize("preset", [f"tiny-{family}" for family in MIXERS if "sig" not in family])
def test_presets_step_like_forward(preset: str) -> None:
    student = make_student(student_config(preset))
    frames = random_frames(8 * 20)
    assert_equal_outputs(run_steps(student, frames, student.initial_state())[0], student(frames))


def test_hidden_is_one_layer_per_block_and_the_last_one_makes_the_embedding(
    student: Student,
) -> None:
    output = student(random_frames(8 * 9, batch_size=3))
    n_blocks, width = student.config.n_blocks, student.config.channels
    assert [tuple(layer.shape) for layer in output.hidden] == [(3, 9, width)] * n_blocks
    assert not torch.allclose(output.hidden[0], output.hidden[1], atol=1e-2)
    before = output.embedding
    with torch.no_grad():
        student.get_parameter(f"blocks.{n_blocks - 1}.mix.bias").add_(1.0)
    after = student(random_frames(8 * 9, batch_size=3))
    assert torch.equal(after.hidden[0], output.hidden[0])
    assert not torch.equal(after.hidden[-1], output.hidden[-1])
    assert not torch.equal(after.embedding, before)


@pytest.mark.parametrize("token", [0, 1, 17, N_TOKENS - 2])
def test_a_token_depends_on_no_later_frame(student: Student, token: int) -> None:
    frames = random_frames(8 * N_TOKENS)
    changed = frames.clone()
    changed[:, 8 * (token + 1) :] += 3.0
    before, after = student(frames).logits, student(changed).logits
    torch.testing.assert_close(after[:, : token + 1], before[:, : token + 1], atol=1e-4, rtol=0)
    assert (after[:, token + 1 :] - before[:, token + 1 :]).abs().max() > 1e-3


def test_a_block_remembers(student: Student) -> None:
    """What came before the stem's own context still counts later."""
    frames = random_frames(8 * 12)
    changed = frames.clone()
    changed[:, :8] += 3.0
    state = student.state_specs()
    assert any(spec.name.startswith("block_0_") for spec in state)
    difference = student.blocks[0](student.stem(changed)) - student.blocks[0](student.stem(frames))
    assert difference[:, 4].abs().max() > 1e-3


def test_batch_rows_are_independent(student: Student) -> None:
    frames = random_frames(80, batch_size=3)
    together = student(frames).logits
    for row in range(3):
        alone = student(frames[row : row + 1]).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_a_stream_can_be_reset_and_interleaved_with_another(student: Student) -> None:
    one, other = random_frames(40, seed=1), random_frames(40, seed=2)
    expected, _ = run_steps(student, one, student.initial_state())
    _, dirty = run_steps(student, other, student.initial_state())
    again, _ = run_steps(student, one, student.initial_state())
    assert torch.equal(again.logits, expected.logits)
    kept = [tensor.clone() for tensor in flatten(dirty)]
    run_steps(student, one, dirty)
    unchanged = map(torch.equal, kept, flatten(dirty))
    assert all(unchanged), "a step changed the state that it was given"


def test_every_parameter_has_a_finite_gradient_even_of_loud_input(student: Student) -> None:
    student.train().requires_grad_(True)
    for scale in (1.0, LOUD):
        student.zero_grad()
        output = student(scale * random_frames(8 * 18, batch_size=4))
        output.logits.square().mean().backward()
        for name, parameter in student.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_bf16_autocast_leaves_the_recurrence_in_float32(student: Student) -> None:
    frames = random_frames(8 * 18, batch_size=2)
    student.requires_grad_(True)
    expected = student(frames)
    with torch.autocast("cpu", torch.bfloat16):
        output = student(frames)
    assert output.embedding.dtype == torch.bfloat16
    torch.testing.assert_close(output.embedding.float(), expected.embedding, atol=0.2, rtol=0.1)
    output.logits.float().square().mean().backward()
    gradients = [parameter.grad for parameter in student.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in gradients)


def linear_inputs(student: Student) -> Iterator[tuple[str, list[float]]]:
    """The name of each Linear, and the list that its largest inputs get into as it runs."""
    for name, module in student.named_modules():
        if isinstance(module, nn.Linear):
            seen: list[float] = []
            module.register_forward_pre_hook(lambda _, x, seen=seen: seen.append(peak(x[0])))
            yield name, seen


def peak(tensor: Tensor) -> float:
    return float(tensor.abs().max())


def test_what_a_linear_reads_is_bounded_however_loud_the_input(student: Student) -> None:
    inputs = dict(linear_inputs(student))
    frames = LOUD * random_frames(8 * 20)
    run_steps(student, frames, student.initial_state())
    student(frames)
    student.train()(frames)
    assert max(max(seen) for seen in inputs.values()) > 0.99 * BOUND, "not loud enough"
    n_added = sum(bool(conv.residual) for conv in student.stem.convs)
    for name, seen in inputs.items():
        bound = BOUND * (1 + n_added) if name == "stem.project" else BOUND
        assert max(seen) <= bound, name


@pytest.mark.parametrize("seed", range(5))
def test_stem_gives_the_same_tokens_for_any_split_of_them(seed: int) -> None:
    torch.manual_seed(seed)
    stem = ConvStem(64, CONFIGS["conv"].stem, 16).eval().requires_grad_(False)
    frames = random_frames(8 * N_TOKENS, seed)
    sizes = np.random.default_rng(seed).choice([1, 2, 3, 5, 7], size=N_TOKENS)
    cuts = [int(cut) * 8 for cut in np.cumsum(sizes) if cut < N_TOKENS]
    state = stem.initial_state(1, frames)
    pieces = []
    for piece in frames.tensor_split(cuts, dim=1):
        tokens, state = stem.step(piece, state)
        pieces.append(tokens)
    torch.testing.assert_close(torch.cat(pieces, 1), stem(frames), atol=1e-5, rtol=0)


def test_specs_describe_the_tensors_that_a_step_takes_and_returns(student: Student) -> None:
    spec = student.model_spec()
    frames, *tensors = (torch.zeros(tensor.shape) for tensor in (spec.frames, *spec.state))
    blank = student.initial_state()
    output, next_state = student.step(frames, unflatten(blank, tensors))
    shapes = [tensor.shape for tensor in spec.state]
    assert tuple(output.logits.shape) == spec.scores.shape
    assert [tuple(tensor.shape) for tensor in flatten(next_state)] == shapes
    assert [tuple(tensor.shape) for tensor in flatten(blank)] == shapes
    assert len({tensor.name for tensor in spec.state}) == len(spec.state)
    assert spec.frames_per_step == 8


def test_declared_latency_is_window_plus_stacking_plus_delay() -> None:
    student = Student(StudentConfig())
    assert student.latency_ms == pytest.approx(25.0 + 7 * 10.0 + 40.0)
    assert student.latency_ms <= 160.0
    assert student.model_spec().latency_ms == student.latency_ms


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_keep_to_the_budget_of_their_size(preset: str) -> None:
    student = Student(student_config(preset))
    max_parameters, max_mmac_per_s = BUDGETS[preset.split("-", maxsplit=1)[0]]
    assert 0.45 * max_parameters <= count_parameters(student) <= max_parameters
    assert 0.4 * max_mmac_per_s <= count_mmac_per_s(student) <= max_mmac_per_s


@pytest.mark.parametrize("size", SIZES)
def test_families_of_a_size_cost_the_same_and_differ_in_their_mixer_alone(size: str) -> None:
    base = Student(student_config(f"{size}-ssm-lti"))
    for preset in PRESETS:
        if preset.startswith(f"{size}-"):
            student = Student(student_config(preset))
            assert count_parameters(student) == pytest.approx(count_parameters(base), rel=0.03)
            assert count_mmac_per_s(student) == pytest.approx(count_mmac_per_s(base), rel=0.07)
            same_mixer = msgspec.structs.replace(student.config, mixer=base.config.mixer)
            assert same_mixer == base.config


def test_micro_itself_has_half_the_oscillators_of_its_family() -> None:
    micro, family = student_config("micro"), student_config("micro-ssm-lti")
    assert micro.mixer == LTIConfig(n_modes=4)
    assert msgspec.structs.replace(micro, mixer=family.mixer) == family
    assert family.mixer == LTIConfig(n_modes=8)


def test_cost_counts_every_product_of_a_linear_student_by_hand() -> None:
    """One full and two separable convolutions, one LTI block, embedding; no head."""
    config = StudentConfig(
        stem=((2, 2), (3, 2), (3, 2)), channels=4, n_blocks=1, embedding_dim=5, n_classes=9
    )
    student = Student(config)
    n_convolutions = 4 * 32 * 2 * 9 + 2 * 16 * (2 * 9 + 2 * 3) + 1 * 8 * (3 * 9 + 3 * 3)
    n_stem = n_convolutions + (3 * 8) * 4
    n_block = 4 * 8 * 7 + 4 + 4 * 8
    expected = (n_stem + n_block + 4 * 5) / 0.08 / 1e6
    assert count_mmac_per_s(student) == pytest.approx(expected)


@pytest.mark.parametrize("strides", [(2, 2), (4, 2), (2, 2, 2, 2), (8,)])
def test_a_stem_whose_strides_do_not_make_8_in_steps_of_2_is_refused(
    strides: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match="multiply to 8"):
        StudentConfig(stem=tuple((4, stride) for stride in strides))


def test_an_unknown_preset_is_wrong_usage_and_lists_the_known_ones() -> None:
    for preset in ("tiny-gru", "huge", "", "tiny-", "tiny-ssm"):
        with pytest.raises(UsageError, match="micro-ssm-lti"):
            student_config(preset)


@pytest.mark.parametrize("family", FAMILIES)
def test_config_survives_json_and_names_its_family(family: str) -> None:
    config = CONFIGS[family]
    encoded = msgspec.json.encode(config)
    assert msgspec.json.decode(encoded, type=StudentConfig) == config
    kind = msgspec.json.decode(encoded)["mixer"]["kind"]
    assert kind == family.removesuffix("-sigmoid")


def test_channels_that_make_no_whole_heads_are_wrong_usage() -> None:
    config = msgspec.structs.replace(CONFIGS["mlstm"], channels=15)
    with pytest.raises(UsageError, match="15 channels do not make 2 heads"):
        Student(config)


def test_stem_trains_on_the_numbers_of_its_steps() -> None:
    """Training pads within convolutions; a step puts its state before the frames."""
    torch.manual_seed(0)
    stem = Student(CONFIGS["ssm-lti"]).stem.train()
    frames = random_frames(8 * 6, batch_size=3)
    zeros = stem.initial_state(3, frames)
    stepped = stem.step(frames, zeros)[0]
    gradients = []
    for tokens in (stem(frames), stepped):
        gradients.append(torch.autograd.grad(tokens.square().sum(), list(stem.parameters())))
    torch.testing.assert_close(stem(frames), stepped)
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
