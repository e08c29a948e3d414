"""What recipes say of published teachers."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from distill.teachers.config import TeacherConfig
from distill.teachers.opening import open_teacher
from distill.teachers.parity import architecture_of
from distill.teachers.published.config import AnyPublished, PublishedConfig
from distill.teachers.published.network import Network
from distill.teachers.published.registry import kinds, system_of
from distill.teachers.published.system import assemble, check_given
from edge_audio.errors import UsageError
from tests.support.parity import COMMITTED, golden_state


def test_every_adapter_is_a_kind_of_teacher() -> None:
    members = typing.get_args(AnyPublished) or (AnyPublished,)
    assert sorted(str(member.__struct_config__.tag) for member in members) == list(kinds())


def test_a_recipe_needs_no_more_than_kind_and_checkpoint() -> None:
    config = msgspec.convert({"kind": "audiomae", "checkpoint": "pretrained.pth"}, TeacherConfig)
    assert isinstance(config, PublishedConfig)
    assert config.kind == "audiomae"


def test_every_card_has_what_is_listed() -> None:
    for kind in kinds():
        card = system_of(kind).card
        assert card.title
        assert card.paper
        assert card.code_licence
        assert card.weights_licence
        assert card.checkpoints
        assert card.sizes


class _Recording(dict[str, Any]):
    """Which names are read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("kind", kinds())
def test_numbers_that_a_network_reads_may_be_given(kind: str) -> None:
    system = system_of(kind)
    path = COMMITTED / kind / "golden.npz"
    whole = _Recording()

    def build(architecture: Mapping[str, Any]) -> Network:
        whole.update(architecture)
        return system.build(whole)

    recorded = system._replace(build=build)
    assemble(recorded, golden_state(kind), {}, architecture_of(path), kind)
    inner = whole.read - {"layer_pred_heads", "n_tasks", "predicts"}  # of the file's heads
    check_given(kind, system, dict.fromkeys(inner))


def test_a_number_that_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    given = {"kind": "audiomae", "checkpoint": "a.pth", "architecture": {"num_head": 4}}
    with pytest.raises(UsageError, match=r"architecture\.num_head: audiomae reads .* num_heads"):
        open_teacher(msgspec.convert(given, TeacherConfig), tmp_path)
