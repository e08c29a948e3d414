"""`edge-audio bench` as its users run it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_audio.bench.pages import BEGIN, END
from edge_audio.bundle.store import load_bundle
from tests.support.command_line import error_line, run

QUICK = ("--no-peers", "--seconds", 2, "--rounds", 1)
ONE = ("--model", "micro-int8", "--backend", "litert")


def onnx_file(path: Path, shape: list[int]) -> None:
    """The mean of a window."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["samples"], ["mean"], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info("samples", kind, shape)],
        [helper.make_tensor_value_info("mean", kind, [1] * len(shape))],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )


def rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def test_models_and_a_peer_are_measured_side_by_side(tmp_path: Path) -> None:
    onnx_file(tmp_path / "mean.onnx", [8_000])
    page, figures = tmp_path / "docs" / "bench.md", tmp_path / "figures"
    page.parent.mkdir()
    done = run(
        *("bench", *ONE, "--backend", "onnx", *QUICK, "--peer", f"mine={tmp_path / 'mean.onnx'}"),
        *("--json", tmp_path / "bench.json", "--markdown", page, "--plot", figures),
    )
    found = rows(tmp_path / "bench.json")
    assert list(found) == ["micro-int8, LiteRT", "micro-int8, ONNX Runtime", "mine"]
    manifest = load_bundle("micro-int8").manifest
    facts = found["micro-int8, LiteRT"]["facts"]
    assert facts["n_model_bytes"] == manifest.files["model.tflite"].n_bytes
    assert facts["latency_ms"] == manifest.model.latency_ms
    assert found["mine"]["facts"] == {
        "type": "facts",
        "step_ms": 250.0,
        "latency_ms": 500.0,
        "n_model_bytes": (tmp_path / "mean.onnx").stat().st_size,
    }
    for row in found.values():
        assert row["live_ms_per_s"]["median"] > 0
        assert 0 < row["step_p50_ms"] <= row["step_p99_ms"]
        assert row["first_score_s"] > 0
    assert re.search(r"^ *micro-int8, ONNX Runtime +\d+\.\d\d", done.stdout, re.MULTILINE)
    assert "measuring 3 models" in done.stderr
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert {path.name for path in figures.iterdir()} == {Path(path).name for path in pictures}


def test_bad_peers_are_reported_and_the_rest_is_measured(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "text.tflite").write_text("no model")
    frames = load_bundle("micro-int8").path / "model.tflite"
    onnx_file(tmp_path / "batch.onnx", [4, 8_000])
    onnx_file(tmp_path / "good.onnx", [1, 8_000])
    peers = {
        "text": tmp_path / "text.onnx",
        "text too": tmp_path / "text.tflite",
        "frames": frames,
        "batch": tmp_path / "batch.onnx",
        "good": tmp_path / "good.onnx",
    }
    options = [option for peer in peers.items() for option in ("--peer", "=".join(map(str, peer)))]
    json_path = tmp_path / "bench.json"
    done = run("bench", *ONE, *QUICK, *options, "--json", json_path, ok=False)
    assert done.returncode == 1
    assert list(rows(json_path)) == ["micro-int8, LiteRT", "good"]
    errors = re.findall(r"^edge-audio: error: (.+)$", done.stderr, re.MULTILINE)
    assert [line.partition(":")[0] for line in errors] == ["text", "text too", "frames", "batch"]
    assert f"ONNX Runtime cannot load {tmp_path / 'text.onnx'}" in errors[0]
    assert f"LiteRT cannot load {tmp_path / 'text.tflite'}" in errors[1]
    assert "a peer takes float32[n] or float32[1, n] alone" in errors[2]
    assert "float32[4, 8000]" in errors[3]


def test_what_was_measured_once_can_be_shown_again(tmp_path: Path) -> None:
    kept, again, readme = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "README.md"
    first = run("bench", *ONE, *QUICK, "--json", kept)
    readme.write_text(f"# Title\n{BEGIN}\n{END}\nlast line\n")
    second = run("bench", "--from", kept, "--json", again, "--readme", readme)
    assert second.stdout == first.stdout
    assert again.read_bytes() == kept.read_bytes()
    text = readme.read_text()
    assert "| micro-int8, LiteRT |" in text
    assert text.startswith(f"# Title\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\nlast line\n")
    run("bench", "--from", kept, "--readme", readme)
    assert readme.read_text() == text
    readme.write_text("no region")
    assert BEGIN in error_line(run("bench", "--from", kept, "--readme", readme, ok=False), 2)


def test_scaling_says_how_cost_grows(tmp_path: Path) -> None:
    options = (*ONE, "--no-peers", "--seconds", 1, "--rounds", 1, "--scaling")
    run("bench", *options, "--json", tmp_path / "bench.json")
    (found,) = json.loads((tmp_path / "bench.json").read_text())["scaling"]
    assert found["name"] == "micro-int8, LiteRT"
    assert [point["x"] for point in found["streams"]] == [1, 4, 16, 64, 256, 1024]
    assert found["labels"][-1]["x"] == 527
    capacity = found["capacity"]  # none on a machine that has no time for one stream
    assert capacity is None or capacity["n_streams"] >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--peer", "mine.onnx"), "expected NAME=FILE"),
        (("--peer", "mine=model.pt"), "expected NAME=FILE"),
        (("--peer", "mine=absent.onnx"), "no such file: absent.onnx"),
        (("--model", "micro-int8", "--model", "micro-int8"), "two models are called"),
        (("--quality", "absent"), "edge-audio evaluate"),
        (("--json", "absent/bench.json"), "no folder to write absent/bench.json to"),
        (("--readme", "absent.md"), "cannot read absent.md"),
        (("--from", "absent.json"), "absent.json holds no results"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_measured(
    options: tuple[str, ...], message: str
) -> None:
    assert message in error_line(run("bench", "--no-peers", *options, ok=False), 2)


def test_the_former_name_of_an_option_is_understood() -> None:
    done = run("bench", "--no-baselines", "--peer", "mine.onnx", ok=False)
    assert "expected NAME=FILE" in error_line(done, 2)


def test_results_without_a_figure_are_refused(tmp_path: Path) -> None:
    done = run("bench", *ONE, *QUICK, "--json", tmp_path / "bench.json")
    assert done.returncode == 0
    results = json.loads((tmp_path / "bench.json").read_text())
    (tmp_path / "empty.json").write_text(json.dumps({**results, "rows": []}))
    empty = run("bench", "--from", tmp_path / "empty.json", ok=False)
    assert "measured nothing" in error_line(empty, 2)
