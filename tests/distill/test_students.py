"""A student computes the same in one pass and step by step, hears no future, and stays small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from workshop import TINY_STUDENT

from distill.students.ssm import DiagonalSSM
from distill.students.stem import ConvStem
from distill.students.tagger import Student, StudentConfig

N_TOKENS = 40


def random_config(seed: int) -> StudentConfig:
    rng = np.random.default_rng(seed)
    strides = rng.permutation([2, 2, 2, 1])
    return StudentConfig(
        stem=tuple((int(rng.integers(2, 9)), int(stride)) for stride in strides),
        channels=int(rng.integers(3, 20)),
        n_blocks=int(rng.integers(1, 4)),
        n_modes=int(rng.integers(1, 6)),
        embedding_dim=int(rng.integers(4, 20)),
        n_classes=int(rng.integers(2, 30)),
    )


CONFIGS = [TINY_STUDENT, StudentConfig(), *(random_config(seed) for seed in range(4))]


def make_student(config: StudentConfig, seed: int = 0) -> Student:
    """In eval mode, with uneven norms that fit its activations, as after training."""
    torch.manual_seed(seed)
    student = Student(config)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch below
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    nn.init.normal_(student.head.weight, 0.0, 0.5)
    with torch.no_grad():
        student.train()(random_frames(8 * N_TOKENS, seed=99, batch_size=4))
    return student.eval().requires_grad_(False)


def random_frames(n_frames: int, seed: int = 0, batch_size: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch_size, n_frames, 64, generator=generator)


def blocks_of(frames: torch.Tensor) -> list[torch.Tensor]:
    return list(frames.split(8, dim=1))


@pytest.mark.parametrize("config", CONFIGS)
def test_steps_equal_forward(config: StudentConfig) -> None:
    student, frames = make_student(config), random_frames(8 * N_TOKENS, batch_size=2)
    expected = student(frames)
    state, logits, embeddings = student.initial_state(2), [], []
    for block in blocks_of(frames):
        output, state = student.step(block, state)
        logits.append(output.logits)
        embeddings.append(output.embedding)
    assert expected.logits.std(1).min() > 1e-4, "the student does not react to its input"
    torch.testing.assert_close(torch.stack(logits, 1), expected.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.stack(embeddings, 1), expected.embedding, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_stem_gives_the_same_tokens_for_any_split_of_them(seed: int) -> None:
    torch.manual_seed(seed)
    stem = ConvStem(64, TINY_STUDENT.stem, 16).eval().requires_grad_(False)
    frames = random_frames(8 * N_TOKENS, seed)
    sizes = np.random.default_rng(seed).choice([1, 2, 3, 5, 7], size=N_TOKENS)
    cuts = [int(cut) * 8 for cut in np.cumsum(sizes) if cut < N_TOKENS]
    state = [torch.zeros(1, *shape) for shape in stem.state_shapes]
    pieces = []
    for piece in frames.tensor_split(cuts, dim=1):
        tokens, state = stem.step(piece, state)
        pieces.append(tokens)
    torch.testing.assert_close(torch.cat(pieces, 1), stem(frames), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("token", [0, 1, 17, N_TOKENS - 2])
def test_a_token_depends_on_no_later_frame(config: StudentConfig, token: int) -> None:
    student, frames = make_student(config), random_frames(8 * N_TOKENS)
    changed = frames.clone()
    changed[:, 8 * (token + 1) :] += 3.0
    before, after = student(frames).logits, student(changed).logits
    torch.testing.assert_close(after[:, : token + 1], before[:, : token + 1], atol=1e-4, rtol=0)
    assert (after[:, token + 1 :] - before[:, token + 1 :]).abs().max() > 1e-3


def test_batch_rows_are_independent() -> None:
    student, frames = make_student(TINY_STUDENT), random_frames(80, batch_size=3)
    together = student(frames).logits
    for row in range(3):
        alone = student(frames[row : row + 1]).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_state_stays_bounded_over_20_000_steps_of_loud_noise() -> None:
    config = StudentConfig(stem=((2, 2),) * 3, channels=8, n_blocks=1, n_modes=8, n_classes=4)
    student = make_student(config)
    loud = 5.0 + random_frames(8 * 50, seed=1)
    state, early = student.initial_state(), 0.0
    with torch.inference_mode():
        for step in range(20_000):
            start = 8 * (step % 50)
            output, state = student.step(loud[:, start : start + 8], state)
            if step < 1_000:
                early = max(early, *(float(tensor.abs().max()) for tensor in state))
    assert torch.isfinite(output.logits).all()
    assert max(float(tensor.abs().max()) for tensor in state) <= 1.5 * early


def test_slowest_possible_mode_stays_below_its_declared_bound() -> None:
    ssm = DiagonalSSM(channels=1, n_modes=1, max_time_constant=100.0).requires_grad_(False)
    ssm.log_decay.fill_(-1e3)  # no decay of its own: only the time constant's bound is left
    ssm.angle.zero_()
    state, one = torch.zeros(1, 1, 2), torch.ones(1, 1)
    with torch.inference_mode():
        for _ in range(20_000):
            _, state = ssm.step(one, state)
    r = np.exp(-1.0 / 100.0)
    limit = np.sqrt(1 - r * r) / (1 - r)
    assert float(state.abs().max()) == pytest.approx(limit, rel=1e-3)


def test_ssm_kernel_is_its_response_to_an_impulse() -> None:
    torch.manual_seed(6)
    ssm = DiagonalSSM(channels=3, n_modes=4, max_time_constant=50.0).requires_grad_(False)
    state, rows = torch.zeros(1, 3, 8), []
    for step in range(60):
        y, state = ssm.step(torch.full((1, 3), float(step == 0)), state)
        rows.append(y[0] - ssm.skip * float(step == 0))
    torch.testing.assert_close(torch.stack(rows, 1), ssm.kernel(60), atol=1e-5, rtol=0)


def test_declared_latency_is_window_plus_stacking_plus_delay() -> None:
    student = Student(StudentConfig())
    assert student.latency_ms == pytest.approx(25.0 + 7 * 10.0 + 40.0)
    assert student.latency_ms <= 160.0
    assert student.model_spec().latency_ms == student.latency_ms


def test_tiny_has_100_to_150_thousand_parameters_outside_its_head() -> None:
    student = Student(StudentConfig())
    n_head = sum(p.numel() for p in student.head.parameters())
    n_all = sum(p.numel() for p in student.parameters())
    assert 100_000 <= n_all - n_head <= 150_000


def test_tiny_needs_at_most_5_million_multiplications_a_second() -> None:
    student = make_student(StudentConfig())
    with FlopCounterMode(display=False) as counter:
        student.step(random_frames(8), student.initial_state())
    config = student.config
    # the counter sees convolutions and matrix products, not the recurrence: 7 per mode
    n_recurrence = 7 * config.n_blocks * config.channels * config.n_modes
    n_per_step = counter.get_total_flops() / 2 + n_recurrence
    assert n_per_step / student.token_s <= 5e6
    assert counter.get_total_flops() / 2 >= 100_000, "the counter saw too little"


@pytest.mark.parametrize("config", CONFIGS)
def test_specs_describe_the_tensors_that_a_step_takes_and_returns(config: StudentConfig) -> None:
    student = make_student(config)
    spec = student.model_spec()
    frames, *state = (torch.zeros(tensor.shape) for tensor in (spec.frames, *spec.state))
    output, next_state = student.step(frames, state)
    assert tuple(output.logits.shape) == spec.scores.shape
    assert [tuple(tensor.shape) for tensor in next_state] == [t.shape for t in spec.state]
    assert [tuple(tensor.shape) for tensor in student.initial_state()] == [
        t.shape for t in spec.state
    ]
    assert len({tensor.name for tensor in spec.state}) == len(spec.state)
    assert spec.frames_per_step == 8
