"""Published systems as teachers: batches, lengths, timing."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import distill.teachers.published.teacher as published_teacher
from distill.teachers.bricks.unit_model import UnitModel
from distill.teachers.published.network import Encoded, Network, recorded
from distill.teachers.published.registry import kinds
from distill.teachers.published.teacher import PublishedTeacher
from edge_audio.errors import UsageError
from tests.support.parity import golden_network, golden_waveform


def are_close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def open_teacher(kind: str, n_labels: int = 10) -> PublishedTeacher:
    network = golden_network(kind)
    return PublishedTeacher(kind, network, [str(n) for n in range(n_labels)], None).eval()


def noise(n_rows: int, n_samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(n_rows, n_samples, generator=generator)


@pytest.mark.parametrize("kind", kinds())
def test_a_clip_does_not_depend_on_its_neighbours_nor_on_padding(kind: str) -> None:
    teacher = open_teacher(kind)
    n_samples = golden_waveform(kind).shape[1]
    rows = noise(3, n_samples)
    rows[1] *= 1e-4  # far below the others' maximum
    rows[1, n_samples // 2 :] = 0.0
    short = n_samples * 3 // 4
    rows[2, short:] = 0.0
    lengths = torch.tensor([n_samples, n_samples, short])
    together = teacher(rows, lengths)
    for index, length in enumerate(lengths.tolist()):
        alone = teacher(rows[index : index + 1, :length])
        for ours, theirs in zip(together.hidden, alone.hidden, strict=True):
            assert are_close(ours[index, : theirs.shape[1]], theirs[0])
            assert not ours[index, theirs.shape[1] :].any()
        if alone.clip_logits is not None:
            assert together.clip_logits is not None
            assert are_close(together.clip_logits[index], alone.clip_logits[0])


def heard_waveform(kind: str, network: Network, n_rows: int = 1) -> Tensor:
    """Noise as long as the golden clip, or as the shortest that the network hears."""
    return noise(n_rows, max(golden_waveform(kind).shape[1], network.min_samples))


def local_frames(kind: str, network: Network, waveform: Tensor) -> Tensor:
    """[B, T, D]: the deepest frames that still see a bounded stretch of sound: of the first hidden
    layer, or of what stands before its positions, wide convolutions or clip statistics."""
    if kind in ("apc", "npc"):
        return cast("Tensor", cast("Any", network).bank(waveform))
    if isinstance(network, UnitModel):
        maps = network.patch_embed["proj"](network.levels(waveform)[:, None])
        return cast("Tensor", maps.mean(3).transpose(1, 2))
    if kind == "zipformer":
        cast("Any", network.encoder_embed).convnext = nn.Identity()
    encoded = network(waveform)
    before = (encoded.others().get(name) for name in ("conv_projected", "patch_embed"))
    return network.frames(0, next((x for x in before if x is not None), encoded.hidden[0]))


@pytest.mark.parametrize("kind", kinds())
def test_frames_are_centred_where_the_layer_says(kind: str) -> None:
    """The samples that move a frame before any attention lie evenly about its centre."""
    network = golden_network(kind)
    waveform = heard_waveform(kind, network, 8).requires_grad_()
    frames = local_frames(kind, network, waveform)
    finest = len(network(waveform).hidden) - 1 if kind == "mr_hubert" else 0
    middle, timing = frames.shape[1] // 2, network.timing(finest)
    seen = torch.zeros(waveform.shape[1])
    for value in frames[:, middle, ::4].sum(0):
        (gradient,) = torch.autograd.grad(value, waveform, retain_graph=True)
        seen += gradient.square().sum(0)
    # a stretched spectrogram's bicubic lobes reach one frame further on one side than the other
    least = 1e-2 if kind == "htsat" else 1e-3
    places = torch.nonzero(seen > least * seen.max())[:, 0].double()
    centre_s = float(places[0] + places[-1]) / 2 / network.sample_rate_hz
    assert centre_s == pytest.approx(timing.offset_s + middle * timing.hop_s, abs=2e-3)


@pytest.mark.parametrize("kind", kinds())
def test_clips_of_any_length_have_the_frames_centred_within_them(kind: str) -> None:
    teacher = open_teacher(kind)
    n_golden = golden_waveform(kind).shape[1]
    for n_samples in (1, n_golden // 3, n_golden - 1):
        output = teacher(noise(2, n_samples))
        duration_s = n_samples / teacher.sample_rate_hz
        for layer, hidden in zip(teacher.layers, output.hidden, strict=True):
            last_s = layer.offset_s + (hidden.shape[1] - 1) * layer.hop_s
            assert hidden.shape[1] == 1 or last_s < duration_s
            assert hidden.shape[2] == layer.dim
            assert torch.isfinite(hidden).all()


@pytest.mark.parametrize("kind", kinds())
def test_the_golden_clip_gives_the_golden_frames(kind: str) -> None:
    """From the waveform to the teacher's layers, by way of the layer that is asked for."""
    network, waveform = golden_network(kind), golden_waveform(kind)
    missing = max(0, network.min_samples - waveform.shape[1])
    waveform = functional.pad(waveform, (0, missing))
    hidden = network(waveform).hidden
    layers = tuple(range(len(hidden)))
    output = PublishedTeacher(kind, network, (), layers).eval()(waveform)
    for index, frames in zip(layers, output.hidden, strict=True):
        whole = network.frames(index, hidden[index])
        assert torch.equal(frames, whole[:, : frames.shape[1]])


def test_a_longer_clip_than_the_network_hears_is_refused() -> None:
    teacher = open_teacher("audiomae")
    with pytest.raises(UsageError, match=r"audiomae hears at most 0.66 s at once, not 1.00 s"):
        teacher(noise(1, 16_000))


def test_layers_are_spread_evenly_unless_they_are_named() -> None:
    network = golden_network("beats")
    assert open_teacher("beats").indices == (1, 2, 3)
    named = PublishedTeacher("beats", network, (), (0, 3))
    assert [layer.name for layer in named.layers] == ["hidden.0", "hidden.3"]
    for wrong in ((4,), (3, 1), (-1,)):
        with pytest.raises(UsageError, match="rising numbers of 0-3"):
            PublishedTeacher("beats", network, (), wrong)


def test_wavjepa_repeats_a_frame_between_segments() -> None:
    """Segments of 0.26 s have 25 frames of 10 ms: the 26th place is the last frame's."""
    network: Network = golden_network("wavjepa")
    hidden = torch.arange(60.0)[None, :, None]
    frames = network.frames(0, hidden)[0, :, 0].tolist()
    assert frames == [*range(25), 24, *range(25, 50), 49, *range(50, 60)]
    assert np.isclose(network.timing(0).hop_s * 26, 0.26)


@pytest.mark.parametrize(
    ("kind", "head"),
    [("apc", "postnet"), ("npc", "postnet"), ("distilhubert", "output_layer")],
)
def test_a_teacher_computes_nothing_that_parity_files_alone_have(kind: str, head: str) -> None:
    teacher = open_teacher(kind)
    with recorded([teacher.network.get_submodule(head)]) as heard:
        teacher(golden_waveform(kind))
        assert not heard
        teacher.network(golden_waveform(kind)).others()
        assert heard


@pytest.mark.parametrize("kind", ["eat", "wavjepa", "dasheng"])
def test_bf16_rounds_the_network_and_not_its_front_end(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, waveform = open_teacher(kind), golden_waveform(kind)
    teacher.bf16 = True
    exact, made = teacher(waveform).hidden[-1], teacher.network.features(waveform)
    assert torch.equal(exact, open_teacher(kind)(waveform).hidden[-1])  # on a CPU
    monkeypatch.setattr(published_teacher, "BF16_DEVICES", ("cpu",))
    encode, heard = teacher.network.encode, []

    def recording(features: Tensor, *rest: Any) -> Encoded:
        heard.append(features)
        return encode(features, *rest)

    monkeypatch.setattr(teacher.network, "encode", recording)
    rounded = teacher(waveform).hidden[-1].float()
    assert torch.equal(heard[0], made)
    assert 0.0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()
