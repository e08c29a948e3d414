"""Run folders: nothing that was good is lost, and a resumed log reads like a straight one."""

from __future__ import annotations

import json
import math
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from distill.runs.checkpoints import describe_run, load_state, load_to_resume, save_atomically
from distill.runs.metrics_log import (
    CURVES_NAME,
    METRICS_NAME,
    MetricsLog,
    draw_curves,
    read_metrics,
)
from distill.runs.schedule import require_finite, warmup_constant_decay, warmup_cosine
from distill.runs.toml import read_toml
from edge_audio.bundle.spec import Spec
from edge_audio.errors import EdgeAudioError, UsageError
from tests.support.limits import files_up_to
from tests.support.paths import REPOSITORY


class Toy(Spec, frozen=True):
    name: str
    seed: int = 0
    sizes: tuple[int, ...] = (1, 2)


def full_disk() -> AbstractContextManager[None]:
    return files_up_to(4096)


def test_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_atomically({"recipe": "{}", "step": 1}, path)
    with full_disk(), pytest.raises(EdgeAudioError, match=r"checkpoint\.pt.*make room"):
        save_atomically({"recipe": "{}", "step": 2, "weight": torch.zeros(100_000)}, path)
    assert load_state(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_checkpoint_of_another_recipe_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_to_resume(path, Toy(name="a")) == {}
    save_atomically({"recipe": '{"name": "a", "seed": 0, "sizes": [1, 2]}', "step": 7}, path)
    with pytest.raises(EdgeAudioError, match="different recipe"):
        load_to_resume(path, Toy(name="a", sizes=(1, 3)))
    assert load_to_resume(path, Toy(name="a"))["step"] == 7


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    save_atomically({"recipe": "{}", "weight": torch.zeros(1000)}, good)
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:2000])
    (tmp_path / "noise.pt").write_bytes(b"\x00" * 100)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "nameless.pt")
    for name in ("none.pt", "cut.pt", "noise.pt", "nameless.pt"):
        with pytest.raises(EdgeAudioError, match=name):
            load_state(tmp_path / name)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_infinite_loss_is_an_error(tmp_path: Path, value: float) -> None:
    require_finite(torch.tensor(3.0), 5, tmp_path)
    with pytest.raises(EdgeAudioError, match=r"at step 5.*learning_rate"):
        require_finite(torch.tensor(value), 5, tmp_path)


def test_resumed_log_equals_a_straight_one(tmp_path: Path) -> None:
    steps = range(5, 55, 5)
    straight, resumed = tmp_path / "straight.csv", tmp_path / "resumed.csv"
    for path, stop in ((straight, 50), (resumed, 40)):
        log = MetricsLog(path)
        for step in steps:
            if step <= stop:
                log.write(step, {"loss": 1.0 / step, "rank": float(step)})
    with resumed.open("a") as file:
        file.write("45,0.02")  # cut off by a kill
    log = MetricsLog(resumed)  # the checkpoint was of step 30
    for step in steps[6:]:
        log.write(step, {"loss": 1.0 / step, "rank": float(step)})
    assert read_metrics(resumed) == read_metrics(straight)
    assert [row["step"] for row in read_metrics(straight)] == list(steps)


def test_columns_may_come_and_go(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / METRICS_NAME)
    log.write(1, {"loss": 0.5})
    log.write(2, {"accuracy": 0.25})
    log.write(3, {"loss": 0.125, "accuracy": 0.75})
    assert read_metrics(log.path) == [
        {"step": 1.0, "loss": 0.5},
        {"step": 2.0, "accuracy": 0.25},
        {"step": 3.0, "loss": 0.125, "accuracy": 0.75},
    ]
    draw_curves(tmp_path)
    assert (tmp_path / CURVES_NAME).read_bytes().startswith(b"\x89PNG")


def test_curves_of_a_run_that_logged_nothing_are_left_out(tmp_path: Path) -> None:
    draw_curves(tmp_path)
    assert not list(tmp_path.iterdir())


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    rates = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert warmup_cosine(0, 0, 100) == 1.0


def test_constant_rate_does_not_depend_on_the_length_until_it_decays_to_zero() -> None:
    short, long = (
        [warmup_constant_decay(step, 10, n_steps, 0.2) for step in range(n_steps + 1)]
        for n_steps in (100, 500)
    )
    assert short[:80] == long[:80]
    assert short[:10] == sorted(short[:10])
    assert short[10:81] == [1.0] * 71
    assert short[90] == pytest.approx(0.5)
    assert short[100] == 0.0


def test_run_folder_says_what_was_run(tmp_path: Path) -> None:
    recipe = Toy(name="toy", seed=11)
    describe_run(tmp_path / "run", recipe)
    content = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert content["recipe"] == {"name": "toy", "seed": 11, "sizes": [1, 2]}
    assert content["versions"]["torch"] == torch.__version__
    root = REPOSITORY
    if (root / ".git").exists():
        head = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert content["commit"].removesuffix("-dirty") == head.stdout.strip()


def test_recipe_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text('name = "toy"\nsizes = [3]\n')
    assert read_toml(path, Toy) == Toy(name="toy", sizes=(3,))
    path.write_text('name = "toy"\nsead = 3\n')
    with pytest.raises(UsageError, match=r"toy\.toml.*sead"):
        read_toml(path, Toy)
    path.write_text("name = ")
    with pytest.raises(UsageError, match=r"toy\.toml"):
        read_toml(path, Toy)
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml", Toy)
