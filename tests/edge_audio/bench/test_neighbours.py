"""What other packages hear with, by models of the same shapes in place of theirs."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_audio.bench import neighbours
from edge_audio.bench.neighbours import NEIGHBOURS, SileroVad, WakeWordFrontend
from edge_audio.bench.windows import WindowStream
from edge_audio.errors import BackendError
from edge_audio.support.folders import PEERS_ENV

NOISE = np.random.default_rng(0).uniform(-1.0, 1.0, 16_000).astype(np.float32)


@pytest.fixture(autouse=True)
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is installed, and the folder of peers is empty."""
    monkeypatch.setenv(PEERS_ENV, str(tmp_path))
    monkeypatch.setattr(neighbours, "find_spec", lambda module: None)
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    return tmp_path


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_is_not_there_says_what_to_do_and_no_path_of_the_machine(
    name: str, peers: Path
) -> None:
    with pytest.raises(BackendError, match=r"install|put the file into") as refusal:
        pkgutil.resolve_name(NEIGHBOURS[name])()
    assert str(peers) not in str(refusal.value)


def save(
    path: Path, nodes: list[Any], inputs: dict[str, list[int]], outputs: list[str], **constants: Any
) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto
    given = [helper.make_tensor_value_info(x, kind.FLOAT, y) for x, y in inputs.items()]
    if "state" in inputs:
        given.append(helper.make_tensor_value_info("sr", kind.INT64, []))
    made = [helper.make_tensor_value_info(x, kind.FLOAT, None) for x in outputs]
    kept = [onnx.numpy_helper.from_array(np.array(y), x) for x, y in constants.items()]
    steps = [helper.make_node(*node[:3], **dict(node[3:])) for node in nodes]
    graph = helper.make_graph(steps, "toy", given, made, kept)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_silero_hears_each_stretch_with_the_end_of_the_one_before_and_keeps_its_state(
    peers: Path,
) -> None:
    pytest.importorskip("onnxruntime")
    nodes = [
        ("ReduceMax", ["input"], ["loudest"], ("axes", [1])),
        ("Add", ["state", "one"], ["stateN"]),
        ("ReduceMax", ["stateN"], ["age"], ("axes", [0, 2]), ("keepdims", 0)),
        ("Add", ["loudest", "age"], ["output"]),
    ]
    shapes = {"input": [1, 576], "state": [2, 1, 128]}
    save(peers / "silero_vad.onnx", nodes, shapes, ["output", "stateN"], one=np.float32(1.0))
    model = SileroVad()
    heard = np.concatenate([np.zeros(64, np.float32), NOISE])
    for age in (1, 2, 3):
        window = heard[512 * (age - 1) :][:576]
        assert model(window).item() == pytest.approx(window.max() + age)
    stream = WindowStream(model)
    stream.push(NOISE)
    assert stream.n_steps == len(NOISE) // 512


def test_the_wake_word_front_end_embeds_the_latest_76_frames(peers: Path) -> None:
    pytest.importorskip("onnxruntime")
    shape = ("Reshape", ["head", "shape"], ["mels"])
    cut = ("Slice", ["input", "start", "end", "axis"], ["head"])
    bounds = {"start": [1_504], "end": [1_760], "axis": [1], "shape": [1, 1, 8, 32]}
    save(peers / "melspectrogram.onnx", [cut, shape], {"input": [1, 1_760]}, ["mels"], **bounds)
    flat = ("Reshape", ["input", "shape"], ["embedding"])
    shapes = {"input": [1, 76, 32, 1]}
    save(peers / "embedding_model.onnx", [flat], shapes, ["embedding"], shape=[1, 1, 1, -1])
    model = WakeWordFrontend()
    windows = [NOISE[i * 1_280 :][:1_760] for i in range(3)]
    frames = model(np.zeros(1_760, np.float32))
    for window in windows:
        frames = model(window)
    expected = np.concatenate([window[1_504:] for window in windows]) * 3_276.7 + 2.0
    np.testing.assert_allclose(frames[-3 * 256 :], expected, rtol=1e-4)
    np.testing.assert_array_equal(frames[: 44 * 32], 1.0)  # as openWakeWord begins


class Sherpa(SimpleNamespace):
    """sherpa-onnx, as far as it is used."""

    @staticmethod
    def module(is_valid: bool, opened: list[Any]) -> Sherpa:
        """opened: takes the settings of taggers."""
        tagger = Sherpa(
            create_stream=lambda: Sherpa(accept_waveform=lambda *heard: None),
            compute=lambda stream: [Sherpa(prob=0.75), Sherpa(prob=0.5)],
        )

        def open_tagger(config: Sherpa) -> Sherpa:
            opened.append(config)
            return tagger

        return Sherpa(
            OfflineZipformerAudioTaggingModelConfig=lambda model: ("zipformer", model),
            AudioTaggingModelConfig=SimpleNamespace,
            AudioTaggingConfig=lambda **settings: Sherpa(validate=lambda: is_valid, **settings),
            AudioTagging=open_tagger,
        )


@pytest.mark.parametrize("kind", ["ced", "zipformer"])
def test_sherpa_tags_by_its_smallest_model(
    kind: str, peers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setitem(sys.modules, "sherpa_onnx", Sherpa.module(True, opened))
    folder = peers / f"sherpa-onnx-{kind}-small-audio-tagging"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bytes(100))
    (folder / "model.int8.onnx").write_bytes(bytes(30))
    tagger = pkgutil.resolve_name(f"edge_audio.bench.neighbours:sherpa_{kind}")()
    assert tagger.n_model_bytes == 30
    path = str(folder / "model.int8.onnx")
    (config,) = opened
    assert getattr(config.model, kind) == (path if kind == "ced" else ("zipformer", path))
    assert config.labels == str(folder / "class_labels_indices.csv")
    assert tagger(NOISE).tolist() == [0.75, 0.5]


def test_a_model_that_sherpa_refuses_is_named(peers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sherpa_onnx", Sherpa.module(False, []))
    (peers / "sherpa-onnx-ced-x").mkdir()
    (peers / "sherpa-onnx-ced-x" / "model.onnx").touch()
    with pytest.raises(BackendError, match=r"refuses .*sherpa-onnx-ced-x"):
        neighbours.sherpa_ced()
