"""The parts of `edge-audio bench`: what is compared, how it is heard, what is written."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_audio.backends import installed_backends
from edge_audio.bench import candidates, pages, tables
from edge_audio.bench.candidates import (
    BundleCandidate,
    Facts,
    PeerFile,
    PeerPlugin,
    known_peers,
    own_candidates,
)
from edge_audio.bench.machine import this_machine
from edge_audio.bench.neighbours import NEIGHBOURS
from edge_audio.bench.quality import read_quality
from edge_audio.bench.result import BenchResults, Row, Scaling, Spread, load_results, save_results
from edge_audio.bench.rounds import RoundJob
from edge_audio.bench.runner import find_capacity, measure
from edge_audio.bench.scaling import Capacity, Crowd, Point
from edge_audio.bench.windows import WindowStream
from edge_audio.bundle.store import load_bundle
from edge_audio.errors import UsageError
from edge_audio.support.folders import PEERS_ENV
from edge_audio.tagging.batch_tagger import BatchTagger
from tests.support import toy

MICRO = BundleCandidate(model="micro-int8", backend="litert")


class Recorder:
    """A WindowModel that keeps what it is given."""

    sample_rate_hz, window_samples, hop_samples, n_model_bytes = 16_000, 10, 4, 0

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []

    def __call__(self, window: np.ndarray) -> np.ndarray:
        self.windows.append(window.copy())
        return np.zeros(1, np.float32)


def row(name: str, file_ms: float = 1.0, live_ms: float = 2.0) -> Row:
    return Row(
        name=name,
        family=name.partition(",")[0],
        facts=Facts(step_ms=80.0, latency_ms=135.0, n_model_bytes=382_000),
        file_ms_per_s=Spread.of([file_ms]),
        live_ms_per_s=Spread.of([live_ms, live_ms + 2.0, live_ms - 1.0]),
        paced_ms_per_s=Spread.of([5.0]),
        parts_ms_per_s={"model": 0.5},
        peak_rss_mb=50.0,
        first_score_s=0.25,
        n_steps=10,
        step_p50_ms=0.3,
        step_p99_ms=0.9,
    )


def report(*rows: Row, **fields: Any) -> BenchResults:
    return BenchResults(
        command="edge-audio bench",
        machine=this_machine(),
        seconds=10.0,
        n_rounds=3,
        rows=rows,
        **fields,
    )


def capacity(n_streams: int, late_share: float = 0.0) -> Capacity:
    return Capacity(
        n_streams=n_streams,
        seconds=20.0,
        late_share=late_share,
        cpu_share=0.8,
        p50_ms=1.0,
        p99_ms=9.0,
        rss_mb=60.0,
    )


@pytest.mark.parametrize("n_block", [1, 3, 4, 7, 50])
def test_a_window_model_hears_every_window_once_however_audio_comes(n_block: int) -> None:
    samples = np.arange(1, 42, dtype=np.float32)
    model = Recorder()
    stream = WindowStream(model)
    for start in range(0, len(samples), n_block):
        stream.push(samples[start : start + n_block])
    after_silence = np.concatenate([np.zeros(6, np.float32), samples])
    expected = np.lib.stride_tricks.sliding_window_view(after_silence, 10)[::4]
    np.testing.assert_array_equal(model.windows, expected)
    assert stream.n_steps == len(expected) == 10


def test_a_score_every_hop_speaks_of_half_a_window() -> None:
    facts = candidates.OpenWindows(Recorder()).facts
    assert facts.step_ms == pytest.approx(0.25)
    assert facts.latency_ms == pytest.approx(0.25 + 0.3125)


def test_own_models_run_on_every_installed_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "installed_backends", lambda: ["litert"])
    monkeypatch.setattr(candidates, "backends_for", lambda bundle: ["litert"])
    found = own_candidates(["tiny-int8", "micro-int8"], [], "quiet")
    assert all(one.sensitivity == "quiet" for one in found.present)  # type: ignore[union-attr]
    assert [one.name for one in found.present] == ["tiny-int8, LiteRT", "micro-int8, LiteRT"]
    assert "ONNX Runtime is not installed: pip install 'edge-audio[onnx]'" in found.missing
    assert "the C engine needs a C compiler, such as gcc" in found.missing


def test_without_any_runtime_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "installed_backends", list)
    monkeypatch.setattr(candidates, "backends_for", lambda bundle: [])
    with pytest.raises(UsageError, match=r"LiteRT is not installed: pip install"):
        own_candidates([], ["litert"])


def test_peers_are_yamnet_where_its_file_is_and_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("mine-1s", "my_package:open_it", candidates.PLUGIN_GROUP)
    monkeypatch.setattr(candidates, "entry_points", lambda group: [entry])
    monkeypatch.setenv(PEERS_ENV, str(tmp_path))
    plugin = PeerPlugin(name="mine-1s", target="my_package:open_it")
    found, missing = known_peers()
    neighbours = [PeerPlugin(name=name, target=target) for name, target in NEIGHBOURS.items()]
    assert found == [plugin, *neighbours]
    assert f"set {PEERS_ENV}" in missing[0]
    (tmp_path / candidates.YAMNET_FILE).touch()
    found, missing = known_peers()
    assert [one.name for one in found] == ["YAMNet", "mine-1s", *NEIGHBOURS]
    assert not missing


PLUGIN = """
import os
import numpy as np

class Model:
    sample_rate_hz, window_samples, hop_samples, n_model_bytes = 8_000, 8_000, 4_000, 123
    n_windows = 0

    def __init__(self, ends_after):
        self.ends_after = ends_after

    def __call__(self, window):
        assert window.shape == (8_000,) and window.dtype == np.float32
        self.n_windows += 1
        if self.n_windows > self.ends_after:
            os.abort()
        return window[:1]

def good():
    return Model(1_000_000)

def dies():
    return Model(3)

def needs_torch():
    import no_such_torch
"""


def test_each_candidate_has_its_own_process_and_what_breaks_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench_plugin.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    field = [
        PeerPlugin(name=name, target=f"bench_plugin:{name}")
        for name in ("dies", "needs_torch", "good")
    ]
    told: list[str] = []
    done = measure(field, seconds=2.0, n_rounds=2, tell=told.append)
    assert [one.name for one in done.rows] == ["good"]
    assert done.rows[0].facts.n_model_bytes == 123
    assert done.rows[0].n_steps >= 8  # of two rounds
    assert "signal 6" in done.failed["dies"]
    assert done.missing == ["needs_torch: needs the module 'no_such_torch', which is not installed"]
    first, waking, last = told[-3:]
    assert (first, last) == ("round 1 of 2: good", "round 2 of 2: good")
    assert waking == "round 2 of 2: waking alone"
    assert [0.0 < ms < 500.0 for ms in done.waking_ms_per_s] == [True, True]
    assert "bench_plugin" not in sys.modules


def test_a_hop_longer_than_the_window_is_refused(tmp_path: Path) -> None:
    onnx_file(tmp_path / "peer.onnx")
    peer = PeerFile(name="peer", path=str(tmp_path / "peer.onnx"), hop_s=0.2)
    with pytest.raises(UsageError, match=r"0\.1 s at a time: --peer-hop"):
        peer.open()
    half = PeerFile(name="peer", path=str(tmp_path / "peer.onnx")).open()
    assert half.facts.step_ms == 50.0


def test_a_recording_that_ends_before_the_first_score_is_refused(tmp_path: Path) -> None:
    onnx_file(tmp_path / "peer.onnx", n_samples=32_000)
    soundfile.write(tmp_path / "noise.wav", toy.noise(15_000), 16_000)
    peer = PeerFile(name="peer", path=str(tmp_path / "peer.onnx"))
    job = RoundJob(candidate=peer, recording=str(tmp_path / "noise.wav"), seconds=0.9)
    with pytest.raises(UsageError, match="--seconds must exceed 1"):
        job.run(lambda: None)


def onnx_file(path: Path, n_samples: int = 1_600) -> None:
    """The mean square of a window, and its double."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", ["samples", "samples"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["power"], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "power",
        [helper.make_tensor_value_info("samples", kind, [1, n_samples])],
        [helper.make_tensor_value_info("power", kind, [1, 1])],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )


def test_every_curve_has_its_points_and_streams_add_little_memory() -> None:
    crowd = Crowd(MICRO)
    streams = list(crowd.by_streams(1.0))
    assert [point.x for point in streams] == [1, 4, 16, 64, 256, 1024]
    assert streams[3].rss_mb - streams[0].rss_mb < 40  # 64 models would be far more
    labels, push, hours = list(crowd.by_labels(0.5)), list(crowd.by_push(0.5)), crowd.by_hours(0.5)
    assert (labels[0].x, labels[-1].x) == (10, 527)
    assert (push[0].x, push[-1].x) == (10.0, 1280.0)
    assert [point.x for point in hours] == [60.0]
    assert all(point.ms_per_s > 0 for point in [*streams, *labels, *push])


def test_streams_that_cannot_be_kept_up_with_are_given_up_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(MICRO)
    monkeypatch.setattr(BatchTagger, "push", lambda self, samples: time.sleep(0.1))
    found = crowd.keep_up(n_streams=200, seconds=60.0)
    assert not found.is_kept_up
    assert found.seconds < 30.0


def test_the_capacity_is_the_first_number_that_is_kept_up_with() -> None:
    tried: list[int] = []

    def trial(n_streams: int) -> Capacity:
        tried.append(n_streams)
        return capacity(n_streams, late_share=0.5 if n_streams > 80 else 0.001)

    found = find_capacity(trial, 100)
    assert found is not None
    assert (found.n_streams, tried) == (72, [100, 90, 81, 72])
    assert find_capacity(lambda n: capacity(n, late_share=1.0), 5) is None


def test_quality_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    models = [
        {
            "name": "tiny-int8",
            "event_f1": [{"collar_s": 0.5, "micro": {"value": 0.25}, "new": 1}],
            "latency": {"found": {"value": 0.5}, "median_s": None},
            "false_alarms": {"each": {"value": 0.09}, "by_budget": {}},
        },
        {"name": "mn04, 2 s windows"},
    ]
    clips = [{"name": "mn04", "esc50": {"embedding": {"mean": {"value": 0.9}}}}]
    content = {"models": clips, "streaming": {"models": models}, "anything": [1]}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    tiny, mn04 = read_quality(tmp_path)
    assert (tiny.event_f1, tiny.found, tiny.false_alarms_per_h) == (0.25, 0.5, 0.09)
    assert (tiny.onset_median_s, tiny.esc50, mn04.esc50, mn04.found) == (None, None, 0.9, None)
    shown = tables.quality(report(row("tiny-int8, LiteRT"), quality=(tiny, mn04)))
    assert shown.rows[0][1:] == ["-", "25.0", "50.0", "-", "0.09", "2.00"]
    with pytest.raises(UsageError, match="edge-audio evaluate"):
        read_quality(tmp_path / "absent")


def test_costs_are_medians_beside_their_share_of_yamnet() -> None:
    grid = tables.cost(report(row("tiny-int8, LiteRT", 0.5, 1.0), row("YAMNet", 2.0, 4.0)))
    assert grid.columns[:5] == ["", "a file", "of YAMNet", "live", "of YAMNet"]
    assert grid.rows[0][:5] == ["tiny-int8, LiteRT", "0.50", "0.25", "1.00", "0.25"]
    alone = tables.cost(report(row("a|b")))
    assert "of YAMNet" not in alone.columns
    assert r"| a\|b | 1.00 |" in alone.to_markdown()


def test_what_waking_alone_costs_is_the_last_row() -> None:
    rows = row("tiny-int8, LiteRT"), row("YAMNet")
    grid = tables.cost(report(*rows, waking_ms_per_s=Spread.of([2.5, 2.0, 3.0])))
    assert grid.columns[5:7] == ["in real time", "of YAMNet"]
    assert grid.rows[0][5:7] == ["5.00", "1.00"]
    assert grid.rows[-1][0] == tables.WAKING
    assert grid.rows[-1][5:7] == ["2.50", "0.50"]
    alone = tables.cost(report(rows[0], waking_ms_per_s=Spread.of([2.5])))
    assert {len(one) for one in alone.rows} == {len(alone.columns)} == {7}
    assert alone.rows[-1][alone.columns.index("in real time")] == "2.50"


def test_a_report_survives_its_file_and_other_files_are_refused(tmp_path: Path) -> None:
    points = (Point(x=1, ms_per_s=1.0, rss_mb=50.0),)
    grown = Scaling(
        name="x", streams=points, labels=points, push=points, hours=points, capacity=capacity(9)
    )
    saved = report(row("x"), scaling=(grown,), failed={"y": "broke"}, missing=("z: absent",))
    save_results(saved, tmp_path / "bench.json")
    assert load_results(tmp_path / "bench.json") == saved
    page = pages.page(saved, {"Costs": "bench-cost.svg"})
    for text in ("![Costs](bench-cost.svg)", "- y: broke", "- z: absent", "| x | 9 | 80% |"):
        assert text in page
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no results of edge-audio bench"):
        load_results(tmp_path / "other.json")


def test_the_region_of_a_file_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Ä\n\n{pages.BEGIN}\nold\n{pages.END}\n\nafter\n", encoding="utf-8")
    region = pages.readme_region(report(row("x")))
    pages.replace_region(path, region)
    once = path.read_text(encoding="utf-8")
    assert once == f"# Ä\n\n{pages.BEGIN}\n{region}\n{pages.END}\n\nafter\n"
    pages.replace_region(path, region)
    assert path.read_text(encoding="utf-8") == once


@pytest.mark.parametrize(
    "text", ["no markers", f"{pages.END} {pages.BEGIN}", f"{pages.BEGIN}{pages.END}{pages.BEGIN}"]
)
def test_a_file_without_one_region_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UsageError, match=pages.BEGIN):
        pages.split_region(path)


def test_the_engine_loads_more_than_its_own_file() -> None:
    """Some of its weights are those of model.tflite."""
    if "native" not in installed_backends():
        pytest.skip("no C compiler")
    facts = BundleCandidate(model="micro-int8", backend="native").open().facts
    assert facts.n_model_bytes > load_bundle("micro-int8").manifest.files["engine.bin"].n_bytes


def test_mn04_as_a_peer_scores_like_the_teacher() -> None:
    torch = pytest.importorskip("torch")
    from distill.evaluation import bench_peers
    from distill.scoring.clips import TeacherScorer
    from distill.teachers.efficientat import EfficientATTeacher
    from edge_audio.support.folders import peers_dir

    checkpoint = peers_dir() / bench_peers.CHECKPOINT
    if not checkpoint.is_file():
        pytest.skip(f"no {checkpoint}")
    torch.set_num_threads(1)
    window = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    peer = bench_peers.mn04_1s()
    teacher = TeacherScorer(EfficientATTeacher.load(checkpoint, bench_peers.WIDTH))
    np.testing.assert_allclose(peer(window), teacher.probabilities(window[None])[0], atol=1e-5)
    assert peer.window_samples == peer.sample_rate_hz
