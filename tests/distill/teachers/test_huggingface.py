"""Every Hugging Face architecture, small and with random weights, through the adapter and
through the library itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.teachers.layouts import Layout

transformers = pytest.importorskip("transformers", reason="needs the teachers extra")

from safetensors.torch import load_file, save_file  # noqa: E402 - comes with transformers

from distill.teachers.config import TransformersConfig  # noqa: E402
from distill.teachers.huggingface import TransformersTeacher  # noqa: E402
from distill.teachers.layouts import ASTLayout, ClapLayout, ConvolutionalLayout  # noqa: E402
from distill.teachers.opening import open_teacher  # noqa: E402
from edge_audio.errors import UsageError  # noqa: E402

SPEECH: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (32, 32, 32, 32),
    "conv_kernel": (10, 3, 3, 2),
    "conv_stride": (5, 4, 4, 2),
    "num_conv_pos_embeddings": 1,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
HTSAT: dict[str, Any] = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
    "depths": [1, 1, 1],
    "num_attention_heads": [2, 2, 2],
    "num_hidden_layers": 3,
    "patch_embeds_hidden_size": 8,
    "hidden_size": 32,
    "projection_dim": 8,
}
AST = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_length": 256,
    "num_mel_bins": 32,
}
MASKED, UNMASKED = {"return_attention_mask": True}, {"do_normalize": False}
CLAP_EXTRACTOR = {"feature_size": 16, "max_length_s": 2, "truncation": "rand_trunc"}
# name -> (model, its configuration, options), (feature extractor, options)
ARCHITECTURES: dict[str, tuple[tuple[str, str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "wav2vec2": (("Wav2Vec2Model", "Wav2Vec2Config", SPEECH), ("Wav2Vec2", UNMASKED)),
    "hubert": (("HubertModel", "HubertConfig", {**SPEECH, **LARGE}), ("Wav2Vec2", MASKED)),
    "wavlm": (("WavLMModel", "WavLMConfig", {**SPEECH, **LARGE}), ("Wav2Vec2", MASKED)),
    "data2vec": (
        ("Data2VecAudioModel", "Data2VecAudioConfig", {**SPEECH, "conv_pos_kernel_size": 1}),
        ("Wav2Vec2", MASKED),
    ),
    "unispeech_sat": (
        ("UniSpeechSatModel", "UniSpeechSatConfig", SPEECH),
        ("Wav2Vec2", {"do_normalize": True}),
    ),
    "ast": (("ASTModel", "ASTConfig", AST), ("AST", {"max_length": 256, "num_mel_bins": 32})),
    "clap": (
        ("ClapAudioModelWithProjection", "ClapAudioConfig", HTSAT),
        ("Clap", CLAP_EXTRACTOR),
    ),
}
N_STATES = 4


def save_small(folder: Path, name: str, head: str | None = None, **changes: Any) -> Path:
    """A random model of the architecture and its extractor, as save_pretrained writes them.
    head: another class of the architecture, with a classification head."""
    (model, config, options), (extractor, extractor_options) = ARCHITECTURES[name]
    torch.manual_seed(0)
    network = getattr(transformers, head or model)(
        getattr(transformers, config)(**{**options, **changes})
    )
    for parameter in network.parameters():  # leave no zero or one where an error could hide
        torch.nn.init.normal_(parameter, parameter.detach().mean(), 0.1)
    network.save_pretrained(folder)
    getattr(transformers, f"{extractor}FeatureExtractor")(**extractor_options).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the small model of an architecture, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_small(tmp_path_factory.mktemp(name), name)
        return made[name]

    return folder


def load(folder: Path, *layers: int, **options: Any) -> TransformersTeacher:
    return TransformersTeacher.load(str(folder), layers or range(N_STATES), **options)


def noise(n_samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


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


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_a_clip_longer_than_the_model_hears_is_refused(
    name: str, small: Callable[[str], Path]
) -> None:
    teacher = load(small(name))
    with pytest.raises(UsageError, match=r"hears at most 2\.\d+ s at once, not 3\.00 s"):
        teacher(torch.zeros(1, 3 * teacher.sample_rate_hz))


@pytest.mark.parametrize("layers", [(4,), (-1,), (2, 1), (1, 1)])
def test_layers_that_are_not_there_or_do_not_rise_are_refused(
    layers: tuple[int, ...], small: Callable[[str], Path]
) -> None:
    with pytest.raises(UsageError, match=r"layers \[.*\]: rising numbers of 0-3"):
        load(small("hubert"), *layers)


def damage(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_missing_and_misshapen_weights_are_refused_by_name(tmp_path: Path) -> None:
    key = "encoder.layers.1.attention.k_proj.bias"
    folder = damage(save_small(tmp_path, "hubert"), lambda weights: weights.pop(key))
    with pytest.raises(UsageError, match=f"1 weights are missing .* {key}: fetch"):
        load(folder)
    damage(folder, lambda weights: weights.update({key: torch.zeros(3)}))
    with pytest.raises(UsageError, match=f"another shape, such as {key}"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(UsageError, match=f"teacher {folder}: "):
        load(folder)


def test_the_mask_embedding_of_pretraining_may_be_missing(tmp_path: Path) -> None:
    folder = damage(
        save_small(tmp_path, "hubert"), lambda weights: weights.pop("masked_spec_embed")
    )
    assert len(load(folder).layers) == N_STATES


def test_what_cannot_be_loaded_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = save_small(tmp_path / "hubert", "hubert")
    (folder / "preprocessor_config.json").unlink()
    for model, reason in [
        (str(tmp_path / "none"), "there is no such folder, and as a hub id: "),
        ("nobody/no-such-model", "there is no such folder, and as a hub id: "),
        (str(tmp_path), "model_type"),
        (str(folder), "feature extractor"),
    ]:
        with pytest.raises(UsageError, match=rf"teacher {model}: .*{reason}.* save_pretrained"):
            TransformersTeacher.load(model, (0,))


REMOTE_CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class EarConfig(PretrainedConfig):
    model_type = "ear"

class EarModel(PreTrainedModel):
    config_class = EarConfig

    def __init__(self, config):
        super().__init__(config)
        self.conv = torch.nn.Conv1d(1, 8, 640, 320, 160)
        self.deep = torch.nn.Linear(8, 8)
        self.post_init()

    def forward(self, audio):
        audio = audio[:, None, :LIMIT]
        first = self.conv(audio).transpose(1, 2)
        return STATES
"""
ALL_STATES = '{"x": first, "hidden_states": [first, first + self.deep(first)]}'


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a model that comes with its own code, in which the arguments replace LIMIT, STATES."""
    import transformers.dynamic_module_utils as modules

    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")

    def make(limit: str = "None", states: str = ALL_STATES) -> Path:
        folder = tmp_path / f"ear_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "ear.py").write_text(
            REMOTE_CODE.replace("LIMIT", limit).replace("STATES", states)
        )
        auto_map = {"AutoConfig": "ear.EarConfig", "AutoModel": "ear.EarModel"}
        config = {"model_type": "ear", "auto_map": auto_map, "architectures": ["EarModel"]}
        (folder / "config.json").write_text(json.dumps(config))
        generator = torch.Generator().manual_seed(0)
        shapes = {
            "conv.weight": (8, 1, 640),
            "conv.bias": (8,),
            "deep.weight": (8, 8),
            "deep.bias": (8,),
        }
        weights = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def test_a_model_with_its_own_code_runs_only_if_it_is_trusted(
    remote: Callable[..., Path],
) -> None:
    folder = remote()
    config = TransformersConfig(model=str(folder), layers=(0, 1))
    with pytest.raises(UsageError, match=r"trust_remote_code = true .* --trust-remote-code"):
        open_teacher(config, folder)
    teacher = load(folder, 0, 1, trust_remote_code=True)
    assert [layer.hop_s for layer in teacher.layers] == [0.02, 0.02]
    assert teacher.layers[0].offset_s == pytest.approx(159.5 / 16_000, abs=1e-4)
    samples = torch.from_numpy(noise(32_000, 0))[None]
    weights = load_file(folder / "model.safetensors")
    expected = torch.nn.functional.conv1d(
        samples[:, None], weights["conv.weight"], weights["conv.bias"], 320, 160
    )
    torch.testing.assert_close(teacher(samples).hidden[0], expected.transpose(1, 2))


def test_a_model_whose_frames_do_not_follow_the_clip_is_refused(
    remote: Callable[..., Path],
) -> None:
    with pytest.raises(UsageError, match=r"only a model whose hidden states .* can be timed"):
        load(remote("16000"), 0, trust_remote_code=True)


def test_a_model_may_return_one_hidden_state_but_not_none(remote: Callable[..., Path]) -> None:
    single = remote(states='{"hidden_states": first}')
    teacher = load(single, 0, trust_remote_code=True)
    assert teacher(torch.zeros(1, 16_000)).hidden[0].shape == (1, 50, 8)
    with pytest.raises(UsageError, match="returns no `hidden_states`"):
        load(remote(states="first"), 0, trust_remote_code=True)


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
