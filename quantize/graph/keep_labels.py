"""A student that answers for some of its labels alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec
from torch import nn

from distill.students.student import Student
from edge_audio.errors import UsageError


def keep_labels(
    student: Student, labels: Sequence[str], wanted: Sequence[str]
) -> tuple[Student, tuple[str, ...]]:
    """The student with those rows of its head alone, in the order of all labels; their names.

    Raises UsageError for an unknown label.
    """
    if unknown := sorted(set(wanted) - set(labels)):
        raise UsageError(f"unknown label {unknown[0]!r}: `edge-audio inspect` lists them")
    rows = [index for index, label in enumerate(labels) if label in set(wanted)]
    kept = copy.deepcopy(student)
    kept.config = msgspec.structs.replace(student.config, n_classes=len(rows))
    kept.head = nn.Linear(student.head.in_features, len(rows))
    kept.head.weight.data = student.head.weight.data[rows].clone()
    kept.head.bias.data = student.head.bias.data[rows].clone()
    return kept, tuple(labels[row] for row in rows)
