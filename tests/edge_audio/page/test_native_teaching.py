"""A sound is taught from clips of events of which somebody said what they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_audio.page import teaching
from edge_audio.page.run import TeachPlan
from edge_audio.sinks.base import Change, SoundsChange
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from edge_audio.sounds.file import read_sounds
from tests.support.heard_clips import write_clip
from tests.support.open_page import OpenPage, open_page
from tests.support.peers import eventually
from tests.support.taught import RATE_HZ, beeps, bundle_with_negatives

BELLA = "--help Bella"  # a name may begin like an option


class House:
    """A page beside clips, and what was written into its settings."""

    def __init__(self, opened: OpenPage, folder: Path, changes: list[Change]) -> None:
        self.opened, self.folder, self.changes = opened, folder, changes
        self.ask = opened.browser.ask
        opened.browser.take_token()

    def hear(
        self, seed: int, told: str | None, label: str = "Dog", is_silent: bool = False
    ) -> None:
        """An event with a clip, and what somebody says that it was; None: that it was wrong."""
        number = self.opened.sound(label, 10.0 * seed + 1.0, 10.0 * seed + 2.0)
        samples = np.zeros(RATE_HZ, np.float32) if is_silent else beeps(seed)
        write_clip(self.folder / "clips", number, samples)
        said = {"verdict": "wrong"} if told is None else {"verdict": "other", "label": told}
        eventually(lambda: self.ask("PUT", f"events/{number}/feedback", said).status == 204)

    @property
    def sounds(self) -> Any:
        return self.opened.browser.get("sounds").json

    def teach(self, name: str) -> Any:
        """What is said at its end."""
        assert self.ask("POST", "sounds", {"name": name}).status == 200
        eventually(lambda: self.sounds["state"] != "running")
        return self.sounds


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(bundle_with_negatives(tmp_path_factory.mktemp("model")).path)


@pytest.fixture
def house(model: str, tmp_path: Path) -> Iterator[House]:
    changes: list[Change] = []
    path, only = tmp_path / "house.sounds", lambda: ["Dog", BELLA.upper()]
    plan = TeachPlan(model, "native", path, is_listened=False, only=only)
    config = ClipsConfig(folder=str(tmp_path / "clips"), record=True)
    with ExitStack() as stack:
        clips = stack.enter_context(closing(ClipsDestination(config)))
        opened = stack.enter_context(open_page(clips, edit=changes.append, teach=plan))
        yield House(opened, tmp_path, changes)


def test_a_sound_is_taught_from_events(house: House) -> None:
    for seed in range(3):
        house.hear(seed, BELLA)
    house.hear(3, "cat")  # which the model knows
    (bella,) = house.sounds["sounds"]
    assert bella == {"name": BELLA, "n_clips": 3, "n_others": 0, "n_taken": 0}
    told = house.teach(BELLA)
    assert (told["state"], told["name"]) == ("done", BELLA)
    assert any("3 of 3 takes are found" in line for line in told["lines"]), told["lines"]
    assert (
        told["lines"][-1] == "settings name house.sounds now: restart edge-audio to listen for it"
    )
    path = house.folder / "house.sounds"
    assert house.changes == [SoundsChange(str(path))]
    assert len(read_sounds(path).find(BELLA).takes) == 3

    (bella,) = house.sounds["sounds"]
    assert (bella["n_clips"], bella["n_taken"]) == (0, 3)
    refused = house.ask("POST", "sounds", {"name": BELLA})
    assert (refused.status, "no new clips" in refused.error) == (404, True)
    house.hear(4, BELLA.upper())
    assert house.teach(BELLA)["state"] == "done"
    assert len(read_sounds(path).find(BELLA).takes) == 4


def test_of_a_sound_that_settings_leave_out_it_says_so(house: House) -> None:
    house.hear(0, "Luna")
    assert "switch it on here" in house.teach("Luna")["lines"][-1]


def test_what_cannot_be_learned_is_said(house: House) -> None:
    house.hear(0, "Ghost", is_silent=True)
    told = house.teach("Ghost")
    assert told["state"] == "failed"
    assert "nothing to learn 'Ghost' from" in " ".join(told["lines"])
    assert house.changes == []
    assert not (house.folder / "house.sounds").exists()


def test_one_lesson_at_a_time_which_ends_with_the_page(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "_command", lambda *_: ["sleep", "600"])
    house.hear(0, "Bella")
    assert house.ask("POST", "sounds", {"name": "Bella"}).status == 200
    refused = house.ask("POST", "sounds", {"name": "Bella"})
    assert (refused.status, "being taught" in refused.error) == (409, True)
    lessons = house.opened.context.teaching
    eventually(lambda: lessons._child._process)  # noqa: SLF001
    lessons.close()
    eventually(lambda: lessons.state == "failed")


def test_where_nothing_can_be_taught_it_says_why(tmp_path: Path) -> None:
    plan = TeachPlan("micro-int8", "native", tmp_path / "house.sounds", is_listened=True)
    for given, said in ((None, "devices"), (plan, "[clips]")):
        with open_page(teach=given) as opened:
            opened.browser.take_token()
            assert said in opened.browser.get("sounds").json["problem"]
            assert opened.browser.ask("POST", "sounds", {"name": "Bella"}).status == 409
    with open_page(teach=plan, controls=False) as opened:
        opened.browser.take_token()
        assert opened.browser.ask("POST", "sounds", {"name": "Bella"}).status == 403
