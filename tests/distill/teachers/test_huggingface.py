"""Every Hugging Face architecture, small and with random weights, through the adapter and
through the library itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.teachers.layouts import ASTLayout, ClapLayout, ConvolutionalLayout, Layout
from tests.distill.small_transformers import (
    ARCHITECTURES,
    CLAP_EXTRACTOR,
    HTSAT,
    N_STATES,
    SPEECH,
    load,
    noise,
    save_small,
    small_models,
    transformers,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return small_models(tmp_path_factory)


def library_states(folder: Path, name: str, rows: list[np.ndarray]) -> tuple[torch.Tensor, ...]:
    """The library's own hidden states [N, T, D]; patches of one time averaged, one by one."""
    (model, _, _), (extractor, _) = ARCHITECTURES[name]
    extract = getattr(transformers, f"{extractor}FeatureExtractor").from_pretrained(folder)
    network = getattr(transformers, model).from_pretrained(folder).eval()
    padding = {"padding": True} if extractor == "Wav2Vec2" else {}
    inputs = extract(rows, sampling_rate=extract.sampling_rate, return_tensors="pt", **padding)
    with torch.inference_mode():
        states = network(**inputs, output_hidden_states=True).hidden_states
    if name == "ast":
        return tuple(ast_frames(state, n_bands=2, n_times=25) for state in states)
    return tuple(map(clap_frames, states)) if name == "clap" else states


def ast_frames(state: torch.Tensor, n_bands: int, n_times: int) -> torch.Tensor:
    assert state.shape[1] == 2 + n_bands * n_times
    times = [
        torch.stack([state[:, 2 + band * n_times + time] for band in range(n_bands)]).mean(0)
        for time in range(n_times)
    ]
    return torch.stack(times, 1)


def clap_frames(state: torch.Tensor, n_chunks: int = 4) -> torch.Tensor:
    height, width = state.shape[2:]
    n_bands = height // n_chunks
    times = [
        state[:, :, chunk * n_bands : (chunk + 1) * n_bands, column].mean(2)
        for chunk in range(n_chunks)
        for column in range(width)
    ]
    return torch.stack(times, 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hidden_states_are_the_librarys_own_for_padded_batches(
    name: str, small: Callable[[str], Path]
) -> None:
    teacher = load(small(name))
    n_samples = round(1.5 * teacher.sample_rate_hz)
    lengths = [n_samples, n_samples * 3 // 5, n_samples // 3]
    rows = [noise(length, seed) for seed, length in enumerate(lengths)]
    padded = torch.from_numpy(np.stack([np.pad(row, (0, n_samples - len(row))) for row in rows]))
    found = teacher(padded, torch.tensor(lengths))
    assert found[1:] == (None, None)
    expected = library_states(small(name), name, rows)
    assert len(found.hidden) == len(expected) == N_STATES
    for layer, ours, theirs in zip(teacher.layers, found.hidden, expected, strict=True):
        assert (len(ours), ours.shape[2]) == (3, layer.dim)
        assert abs(ours.shape[1] - 1.5 / layer.hop_s) <= 1
        for row, length in enumerate(lengths):
            n_real = int((length / teacher.sample_rate_hz - layer.offset_s) / layer.hop_s)
            torch.testing.assert_close(
                ours[row, :n_real], theirs[row, :n_real], atol=1e-5, rtol=1e-5
            )


@pytest.mark.parametrize("name", ["hubert", "wavlm", "data2vec", "ast", "clap"])
def test_padding_is_not_heard(name: str, small: Callable[[str], Path]) -> None:
    teacher = load(small(name))
    row = noise(round(0.7 * teacher.sample_rate_hz), 1)
    padded = torch.from_numpy(np.pad(row, (0, len(row))))[None]
    together = teacher(padded, torch.tensor([len(row)])).hidden
    alone = teacher(torch.from_numpy(row)[None]).hidden
    for layer, long, short in zip(teacher.layers, together, alone, strict=True):
        n_real = int((0.7 - layer.offset_s) / layer.hop_s)
        assert long.shape[1] > short.shape[1] >= n_real
        torch.testing.assert_close(long[:, :n_real], short[:, :n_real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_burst_changes_the_frame_most_whose_centre_is_nearest(
    name: str, small: Callable[[str], Path]
) -> None:
    teacher = load(small(name))
    rate_hz = teacher.sample_rate_hz
    burst = 10 * noise(2 * rate_hz // 1000 + 1, 3) * np.hanning(2 * rate_hz // 1000 + 1)
    nearness = 0.1 if name == "ast" else 0.2  # AST's patches overlap

    def hidden(time_s: float, layer: int) -> torch.Tensor:
        samples = noise(round(1.5 * rate_hz), 0)
        start = round(time_s * rate_hz) - len(burst) // 2
        samples[start : start + len(burst)] += burst
        of_clip: torch.Tensor = teacher(torch.from_numpy(samples)[None]).hidden[layer][0]
        return of_clip

    for index in (0, N_STATES - 1):
        layer = teacher.layers[index]
        elsewhere = hidden(1.4, index)  # a burst there too: the extractor scales both alike
        n_frames = int(1.2 / layer.hop_s)
        for frame in range(1, n_frames, max(1, n_frames // 6)):
            for place in (frame - nearness, frame, frame + nearness):
                moved = hidden(layer.offset_s + place * layer.hop_s, index)
                change = (moved - elsewhere)[:n_frames].norm(dim=1)
                assert int(change.argmax()) == frame


@pytest.mark.parametrize(
    ("name", "n_frames", "hop_s", "offset_s"),
    [
        ("wav2vec2", 499, 0.02, 199.5 / 16_000),  # a field of 400 samples every 320
        ("ast", 101, 0.1, (7.5 * 160 + 199.5) / 16_000),  # 16 mel frames every 10
        ("clap", 256, 4 * 10 / 1023, 1.5 * 10 / 1023),  # 10 s stretched over 1024 columns
        ("clap", 32, 32 * 10 / 1023, 15.5 * 10 / 1023),
    ],
)
def test_published_configurations_have_these_timings(
    name: str, n_frames: int, hop_s: float, offset_s: float
) -> None:
    (_, config, _), (extractor, _) = ARCHITECTURES[name]
    layouts: dict[str, Callable[..., Layout]] = {
        "wav2vec2": ConvolutionalLayout,
        "ast": ASTLayout,
        "clap": ClapLayout,
    }
    layout = layouts[name](
        getattr(transformers, config)(), getattr(transformers, f"{extractor}FeatureExtractor")()
    )
    assert layout.timing(n_frames) == pytest.approx((hop_s, offset_s))


@pytest.mark.parametrize(
    ("name", "head"),
    [("ast", "ASTForAudioClassification"), ("hubert", "HubertForSequenceClassification")],
)
def test_a_classification_head_gives_labels_and_logits(
    name: str, head: str, tmp_path: Path
) -> None:
    names = {0: "Speech", 1: "Dog", 2: "Rain"}
    folder = save_small(tmp_path, name, head, num_labels=3, id2label=names)
    teacher = load(folder, 1, 3)
    assert teacher.labels == ("Speech", "Dog", "Rain")
    assert teacher.label_frames is None
    assert [layer.name for layer in teacher.layers] == ["hidden_states.1", "hidden_states.3"]
    samples = noise(16_000, 0)
    found = teacher(torch.from_numpy(samples)[None])
    extract = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extract(samples, sampling_rate=16_000, return_tensors="pt")
    network = getattr(transformers, head).from_pretrained(folder).eval()
    expected = network(**inputs, output_hidden_states=True)
    torch.testing.assert_close(found.clip_logits, expected.logits)
    assert (len(found.hidden), found.frame_logits) == (2, None)
    assert load(save_small(tmp_path / "bare", name)).labels == ()


def test_only_the_audio_tower_of_a_whole_clap_is_loaded(
    small: Callable[[str], Path], tmp_path: Path
) -> None:
    tower = transformers.ClapAudioModelWithProjection.from_pretrained(small("clap"))
    text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.ClapConfig(text_config=text, audio_config=HTSAT, projection_dim=8)
    whole = transformers.ClapModel(config)
    whole.load_state_dict(tower.state_dict(), strict=False)
    whole.save_pretrained(tmp_path)
    transformers.ClapFeatureExtractor(**CLAP_EXTRACTOR).save_pretrained(tmp_path)
    samples = torch.from_numpy(noise(48_000, 0))[None]
    found, expected = load(tmp_path), load(small("clap"))
    assert not any("text" in key for key in found.state_dict())
    torch.testing.assert_close(found(samples).hidden, expected(samples).hidden)


def test_a_fused_clap_says_the_same_of_a_clip_every_time(tmp_path: Path) -> None:
    fusion: dict[str, Any] = {"enable_fusion": True, "fusion_type": "aff_2d"}
    folder = save_small(tmp_path, "clap", **fusion)
    extractor = transformers.ClapFeatureExtractor(**{**CLAP_EXTRACTOR, "truncation": "fusion"})
    extractor.save_pretrained(folder)
    teacher = load(folder)
    samples = torch.from_numpy(np.stack([noise(48_000, seed) for seed in range(3)]))
    first = teacher(samples).hidden
    for _ in range(4):
        torch.testing.assert_close(teacher(samples).hidden, first, atol=0, rtol=0)


def test_a_half_precision_checkpoint_teaches_in_single_precision(
    small: Callable[[str], Path], tmp_path: Path
) -> None:
    network = transformers.HubertModel.from_pretrained(small("hubert"))
    network.half().save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    hidden = load(tmp_path)(torch.zeros(1, 8_000)).hidden
    assert {state.dtype for state in hidden} == {torch.float32}


def test_an_architecture_without_known_timing_is_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    transformers.UniSpeechModel(transformers.UniSpeechConfig(**SPEECH)).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    exact = ConvolutionalLayout(
        transformers.UniSpeechConfig(**SPEECH), transformers.Wav2Vec2FeatureExtractor()
    ).timing(1)
    for layer in load(tmp_path).layers:
        assert layer.hop_s == exact.hop_s
        assert abs(layer.offset_s - exact.offset_s) <= exact.hop_s / 2
