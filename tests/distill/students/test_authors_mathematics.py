"""Students' sequence mixers compute what their authors' code computed: the sums are the same once
weights are mapped. Where ours differ by design, the test says how.

- One decay for each head (Mamba-2), not one for each channel and state (Mamba), and a gain that
  keeps the state's variance in place of the step size.
- Queries and keys are shared by the heads; forget gates stay below one; the logits of input gates
  are clipped; m of the mLSTM is kept itself, not as its logarithm.
- sLSTM keeps c / n; the gates hear one input, and only the forget gate has a bias.
- No convolution, no gated output and no feed-forward part within the mixer.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distill.students.chunked import decayed_attention, decayed_attention_step, pad_to_chunks
from distill.students.mlstm import MAX_LOGIT, ExponentialMLSTM
from distill.students.slstm import SLSTMScan
from distill.teachers.bricks.mamba import KEYS, MambaMixer, selective_scan
from distill.teachers.bricks.xlstm import CausalConv, MLSTMLayer, OffsetNorm, mlstm_cell
from distill.teachers.parity import read_arrays
from tests.support.parity import COMMITTED

Arrays = dict[str, Tensor]


@cache
def golden(name: str) -> Arrays:
    return read_arrays(COMMITTED / name / "golden.npz")


def largest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def state_of(arrays: Arrays, prefix: str = "") -> Arrays:
    start = f"state.{prefix}"
    return {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}


@pytest.mark.parametrize("head", range(3))
def test_chunks_and_steps_compute_mamba2s_duality(head: int) -> None:
    arrays = golden("mamba2_ssd_minimal")
    value, log_decay = arrays["X"][:, :, head : head + 1], arrays["A"][..., head : head + 1]
    key, query = arrays["B"][:, :, head], arrays["C"][:, :, head]
    zeros = torch.zeros_like(log_decay)
    chunked = decayed_attention(query, key, value, log_decay, zeros, zeros)
    assert largest(chunked[:, :, 0], arrays["output"][:, :, head]) < 1e-5
    for initial, suffix in ((None, ""), (arrays["initial_states"][:, 0, head], "_with_initial")):
        state = torch.zeros(2, 5, 1, 4)
        if initial is not None:
            state = initial.transpose(1, 2)[:, :, None]  # theirs is [B, P, N]
        for t in range(value.shape[1]):
            decay = log_decay[:, t].exp()
            y, state = decayed_attention_step(query[:, t], key[:, t], value[:, t], decay, state)
            assert largest(y[:, 0], arrays[f"output{suffix}"][:, t, head]) < 1e-4
        final = arrays[f"final_state{suffix}"][:, head]
        assert largest(state[:, :, 0].transpose(1, 2), final) < 1e-5


def test_mambas_scan_is_a_head_for_every_channel_and_state() -> None:
    arrays = golden("mamba1_selective_scan")
    u, b, c = (arrays[name].transpose(1, 2) for name in ("u", "B", "C"))
    delta = functional.softplus(arrays["delta"].transpose(1, 2) + arrays["delta_bias"])
    log_decay = (delta[..., None] * arrays["A"]).flatten(2)  # [B, T, D N]
    driven = ((delta * u)[..., None] * b[:, :, None]).flatten(2)
    ones = torch.ones(2, pad_to_chunks(u).shape[1], 1)
    padded = pad_to_chunks(log_decay)
    zeros = torch.zeros_like(padded)
    states = decayed_attention(ones, ones, pad_to_chunks(driven)[..., None], padded, zeros, zeros)
    states = states[:, : u.shape[1], :, 0].unflatten(2, arrays["A"].shape)
    assert largest(states[:, -1], arrays["last_state"]) < 1e-5
    plain = (states * c[:, :, None]).sum(3)
    assert largest(plain.transpose(1, 2), arrays["output_without_z_d"]) < 1e-5


def test_the_teachers_scan_is_mambas() -> None:
    arrays = golden("mamba1_selective_scan")
    u, b, c, z = (arrays[name].transpose(1, 2) for name in ("u", "B", "C", "z"))
    delta = functional.softplus(arrays["delta"].transpose(1, 2) + arrays["delta_bias"])
    y, state = selective_scan(u, delta, arrays["A"], b, c)
    assert largest(state, arrays["last_state"]) < 1e-5
    gated = (y + arrays["D"] * u) * functional.silu(z)
    assert largest(gated.transpose(1, 2), arrays["output"]) < 1e-5


@torch.no_grad()
def test_the_teachers_mixer_is_mambas_block() -> None:
    arrays = golden("mamba1_block")
    mixer = MambaMixer(24, 8)
    names = {theirs.removeprefix("mixer."): ours.removeprefix("mixer.") for theirs, ours in KEYS}
    state = {}
    for key, value in state_of(arrays).items():
        module, _, parameter = key.partition(".")
        renamed = names.get(module, module)
        state[f"{renamed}.{parameter}" if parameter else renamed] = value
    mixer.load_state_dict(state)
    assert largest(mixer(arrays["features"]), arrays["output"]) < 1e-5


class GoldenMLSTM(ExponentialMLSTM):
    """One head that hears the golden's queries, keys and gates in place of its own: all of them,
    or those of one time."""

    def __init__(self, arrays: Arrays, head: int) -> None:
        super().__init__(8, 1, 8, math.inf)
        self.skip.data.zero_()
        names = ("q", "k", "igate_preact", "fgate_preact")
        self.parts, self.time = [arrays[name][:, head] for name in names], -1

    def _project(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, gain, forget = (
            pad_to_chunks(part) if self.time < 0 else part[:, self.time] for part in self.parts
        )
        return query, key * self.key_scale, gain, forget


@pytest.mark.parametrize("head", range(3))
def test_the_mlstms_sums_are_xlstms(head: int) -> None:
    """Theirs add 1e-6 to the normaliser, which is 3e-5 of it at most here."""
    arrays = golden("mlstm_cell")
    assert arrays["igate_preact"].abs().max() < MAX_LOGIT
    value, mixer = arrays["v"][:, head], GoldenMLSTM(arrays, head)
    with torch.no_grad():
        assert largest(mixer(value), arrays["parallel"][:, head]) < 1e-4
        state, steps = mixer.initial_state(2), []
        for mixer.time in range(value.shape[1]):
            y, state = mixer.step(value[:, mixer.time], state)
            steps.append(y)
    assert largest(torch.stack(steps, 1), arrays["recurrent"][:, head]) < 1e-4
    # their m is the logarithm of ours; their C and n are, like ours, divided by it
    assert largest(state.m.log()[:, 0], arrays["final_m"][:, head, 0]) < 1e-4
    assert largest(state.c[:, :, 0], arrays["final_c"][:, head]) < 1e-4
    assert largest(state.n[:, :, 0], arrays["final_n"][:, head]) < 1e-4


def test_the_teachers_cell_is_xlstms() -> None:
    arrays = golden("mlstm_cell")
    gates = arrays["igate_preact"], arrays["fgate_preact"]
    ours = mlstm_cell(arrays["q"], arrays["k"], arrays["v"], *gates)
    assert largest(ours, arrays["parallel"]) < 1e-5


def load_norm(weight: Tensor, n_heads: int = 1) -> OffsetNorm:
    norm = OffsetNorm(len(weight), n_heads)
    norm.load_state_dict({"weight": weight})
    return norm


def mlstm_block(x: Tensor, arrays: Arrays, index: int) -> tuple[Tensor, Tensor]:
    """The block's output and that of its layer."""
    layer = MLSTMLayer(24, 48)
    layer.load_state_dict(state_of(arrays, f"blocks.{index}.xlstm."))
    norm = load_norm(arrays[f"state.blocks.{index}.xlstm_norm.weight"])
    inner = layer(norm(x))
    return x + inner, inner


def slstm_layer(x: Tensor, state: Arrays) -> Tensor:
    """xLSTM's, whose cell is the students' scan."""
    conv = CausalConv(24)
    conv.load_state_dict({key: state[f"conv1d.{key}"] for key in ("conv.weight", "conv.bias")})
    convolved = functional.silu(conv(x))
    # the names are crossed: their `fgate` feeds the input gate; ours are in the order i, z, f, o
    sources = {"fgate": convolved, "zgate": x, "igate": convolved, "ogate": x}
    driven = torch.stack(
        [
            torch.einsum("hoi,bthi->tbho", state[f"{name}.weight"], source.unflatten(2, (4, 6)))
            for name, source in sources.items()
        ],
        3,
    )  # [T, B, H, gate, P]
    order = [0, 2, 1, 3]  # of their i, f, z, o
    bias = state["slstm_cell._bias_"].reshape(4, 4, 6)[order].transpose(0, 1)
    recurrent = state["slstm_cell._recurrent_kernel_"].reshape(4, 4, 6, 6)[:, order]
    driven = (driven + bias).flatten(3).permute(0, 2, 3, 1).contiguous()
    hidden = SLSTMScan.apply(driven, recurrent.flatten(1, 2), 1.0)  # type: ignore[no-untyped-call]
    heard = hidden.permute(3, 0, 1, 2).flatten(2)
    out: Tensor = load_norm(state["group_norm.weight"], 4)(heard)
    return out


def slstm_block(x: Tensor, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """The block's output and that of its layer."""
    norm = load_norm(arrays["state.blocks.1.xlstm_norm.weight"])
    inner = slstm_layer(norm(x), state_of(arrays, "blocks.1.xlstm."))
    x = x + inner
    normed = load_norm(arrays["state.blocks.1.ffn_norm.weight"])(x)
    up, down = (arrays[f"state.blocks.1.ffn.proj_{way}.weight"] for way in ("up", "down"))
    gate, value = (normed @ up.T).chunk(2, dim=2)
    return x + (functional.gelu(gate) * value) @ down.T, inner


@torch.no_grad()
def test_a_stack_of_mlstm_and_slstm_is_xlstms() -> None:
    arrays = golden("xlstm_blocks")
    first, of_mlstm = mlstm_block(arrays["features"], arrays, 0)
    assert largest(of_mlstm, arrays["mlstm_layer_output"]) < 1e-5
    second, of_slstm = slstm_block(first, arrays)
    assert largest(of_slstm, arrays["slstm_layer_output"]) < 1e-5
    third, _ = mlstm_block(second, arrays, 2)
    output = load_norm(arrays["state.post_blocks_norm.weight"])(third)
    for name, ours in {"hidden_01": first, "hidden_02": second, "hidden_03": third}.items():
        assert largest(ours, arrays[name]) < 1e-5
    assert largest(output, arrays["output"]) < 1e-5
