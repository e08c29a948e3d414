"""A state is laid out in one order, and put together from nothing else."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from distill.students.slstm import SLSTMState
from distill.students.state import flatten, names, unflatten
from distill.students.student import Student, StudentConfig
from tests.support.student_zoo import MIXERS


class Nested(NamedTuple):
    first: tuple[torch.Tensor, ...]
    second: SLSTMState


def nested() -> Nested:
    tensors = [torch.full((1, size), float(size)) for size in range(1, 6)]
    return Nested(tuple(tensors[:2]), SLSTMState(*tensors[2:]))


def test_names_follow_the_fields_depth_first() -> None:
    assert names(nested()) == ("first_0", "first_1", "second_c", "second_n", "second_h")
    assert [int(tensor[0, 0]) for tensor in flatten(nested())] == [1, 2, 3, 4, 5]


def test_unflatten_is_the_inverse_of_flatten() -> None:
    again = unflatten(nested(), flatten(nested()))
    assert isinstance(again, Nested)
    assert isinstance(again.second, SLSTMState)
    assert all(map(torch.equal, flatten(again), flatten(nested())))


def test_tensors_that_have_changed_places_are_refused_by_name() -> None:
    first, second, *others = flatten(nested())
    with pytest.raises(ValueError, match=r"first_0 is \[2\], not \[1\]"):
        unflatten(nested(), [second, first, *others])
    with pytest.raises(ValueError, match="5 tensors cannot be made of 4"):
        unflatten(nested(), flatten(nested())[:4])


@pytest.mark.parametrize("family", MIXERS)
def test_a_students_state_has_the_names_of_its_specs_in_their_order(family: str) -> None:
    config = StudentConfig(channels=16, n_blocks=2, mixer=MIXERS[family])
    student = Student(config)
    state = student.initial_state(3)
    assert names(state) == tuple(spec.name for spec in student.state_specs())
    _, after = student.eval().step(torch.randn(3, 8, 64), state)
    assert names(after) == names(state)
    assert [x.shape for x in flatten(after)] == [x.shape for x in flatten(state)]
