"""Every Hugging Face architecture that teachers may have, small and with random weights.

Test modules that import this one are skipped where the library is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.teachers.huggingface import TransformersTeacher

transformers = pytest.importorskip("transformers", reason="needs the teachers extra")


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


def small_models(folders: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name of an architecture -> folder of its small model, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_small(folders.mktemp(name), name)
        return made[name]

    return folder


def load(folder: Path, *layers: int, **options: Any) -> TransformersTeacher:
    return TransformersTeacher.load(str(folder), layers or range(N_STATES), **options)


def noise(n_samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)
