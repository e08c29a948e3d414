"""What recipes say of published teachers."""

from __future__ import annotations

import typing

import msgspec

from distill.teachers.config import TeacherConfig
from distill.teachers.published.config import AnyPublished, PublishedConfig
from distill.teachers.published.registry import kinds, system_of


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
