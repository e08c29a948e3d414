"""Thresholds of all labels together: as many right events as a share of wrong ones allows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from distill.calibration.clip_evidence import ClipEvidence

Columns = Sequence[int | None]
"""Of each label the column of its threshold; None = off."""

PULL = 0.2
"""What it costs a label to have another threshold than the common one, in recordings with a right
event, for each squared unit of log-odds: one with two recordings stays near it."""

N_ROUNDS = 2
PRICES: tuple[float, ...] = tuple(np.geomspace(0.25, 32.0, 85).tolist())
"""How many clips with a right event one with a wrong event may cost."""


Pair = tuple[Columns, Sequence[Columns]]
"""What is chosen on all clips, and without each fold."""


class Shares(NamedTuple):
    """Of the clips, those with an event that is right, and those with one that is wrong."""

    right: float
    wrong: float


def choose_by_price(
    points: NDArray[np.float64], evidence: ClipEvidence, lowest: Pair, max_wrong: float
) -> Pair:
    """Thresholds by the lowest price at which at most max_wrong of the clips have a wrong event,
    each clip judged by what is chosen without its fold; by the highest price if none keeps to it.
    Shares count clips; what is chosen weighs them by `weights`.

    points f64[n] rise. lowest: the lowest column that each label may have, None = off.
    """

    @cache
    def without_folds(price: float) -> list[list[int | None]]:
        return [
            spend(points, evidence.rows(evidence.folds != fold), mine, price)
            for fold, mine in enumerate(lowest[1])
        ]

    def is_within(price: float) -> bool:
        return shares_left_out(points, evidence, without_folds(price)).wrong <= max_wrong

    price = PRICES[bisect_left(PRICES[:-1], True, key=is_within)]
    return spend(points, evidence, lowest[0], price), without_folds(price)


def spend(
    points: NDArray[np.float64], evidence: ClipEvidence, lowest: Columns, price: float
) -> list[int | None]:
    """The column of each label's threshold, none below its lowest.

    All begin at the one point that is best for all. Then every label in turn, those with most clips
    first, takes the point at which the clips with a right event, less `price` times those with a
    wrong one, less PULL, are most. So an event in a clip that has a right one already gains
    nothing, and a second wrong one costs nothing.
    """
    common = _common_column(points, evidence, lowest, price)
    columns = [None if low is None else max(low, common) for low in lowest]
    pull = PULL * (logit(points) - logit(points[common])) ** 2
    counts = _Counts(points, evidence, columns)
    for _ in range(N_ROUNDS):
        for row in np.argsort(-evidence.fits.sum(0), kind="stable").tolist():
            if (low := lowest[row]) is not None:
                counts.take_out(row)
                worth = counts.worth(row, price) - pull
                columns[row] = best = low + int(np.argmax(worth[low:]))
                counts.put_back(row, points[best])
    return columns


def stricter(first: Columns, second: Columns) -> list[int | None]:
    """Of each label the higher column; None where either is."""
    return [
        None if one is None or other is None else max(one, other)
        for one, other in zip(first, second, strict=True)
    ]


def reported_left_out(
    points: NDArray[np.float64], evidence: ClipEvidence, left_out: Sequence[Columns]
) -> NDArray[np.bool_]:
    """[n_clips, n_labels]: what is reported of the clips of each fold by the columns that were
    chosen without it."""
    ons = np.stack([_thresholds(points, columns) for columns in left_out])
    reported: NDArray[np.bool_] = evidence.peaks >= ons[evidence.folds]
    return reported


def shares_left_out(
    points: NDArray[np.float64], evidence: ClipEvidence, left_out: Sequence[Columns]
) -> Shares:
    """Shares of the clips by what is chosen without the fold of each."""
    reported = reported_left_out(points, evidence, left_out)
    right, wrong = _right_and_wrong(reported, evidence)
    return Shares(float(right.mean()), float(wrong.mean()))


class _Counts:
    """Which labels are reported in which clips, and how many of them are right and wrong."""

    def __init__(
        self, points: NDArray[np.float64], evidence: ClipEvidence, columns: Columns
    ) -> None:
        self._points, self._evidence = points, evidence
        self._on = evidence.peaks >= _thresholds(points, columns)
        self._n_right = (self._on & evidence.fits).sum(1)
        self._n_wrong = (self._on & ~evidence.fits).sum(1)
        self._orders: dict[int, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}

    def take_out(self, row: int) -> None:
        """Counts as if the label were off, until it is put back."""
        self._add(row, -1)

    def worth(self, row: int, price: float) -> NDArray[np.float64]:
        """f64[n_points]: what a label that was taken out would add with each point."""
        fits, weights = self._evidence.fits[:, row], self._evidence.weights
        gained, lost = weights * (self._n_right == 0), price * weights * (self._n_wrong == 0)
        worth = np.where(fits, gained, -lost)
        order, n_reported = self._order(row)
        result: NDArray[np.float64] = np.append(0.0, np.cumsum(worth[order]))[n_reported]
        return result

    def put_back(self, row: int, on: float) -> None:
        """Puts a label that was taken out back, with another threshold."""
        self._on[:, row] = self._evidence.peaks[:, row] >= on
        self._add(row, 1)

    def _add(self, row: int, sign: int) -> None:
        on, fits = self._on[:, row], self._evidence.fits[:, row]
        self._n_right += sign * (on & fits)
        self._n_wrong += sign * (on & ~fits)

    def _order(self, row: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The clips by falling peak, and how many of them each point reports."""
        if row not in self._orders:
            peaks = self._evidence.peaks[:, row]
            n_below = np.searchsorted(np.sort(peaks), self._points, "left")
            self._orders[row] = np.argsort(-peaks, kind="stable"), len(peaks) - n_below
        return self._orders[row]


def _common_column(
    points: NDArray[np.float64], evidence: ClipEvidence, lowest: Columns, price: float
) -> int:
    """The one point that is best for all labels that may be on."""

    def worth(column: int) -> float:
        columns = [None if low is None else max(low, column) for low in lowest]
        on = evidence.peaks >= _thresholds(points, columns)
        right, wrong = _right_and_wrong(on, evidence)
        return float(evidence.weights @ right - price * evidence.weights @ wrong)

    return max(range(len(points)), key=worth)


def _thresholds(points: NDArray[np.float64], columns: Columns) -> NDArray[np.float64]:
    return np.array([np.inf if column is None else points[column] for column in columns])


def _right_and_wrong(
    on: NDArray[np.bool_], evidence: ClipEvidence
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """bool[n_clips] each: whether a clip has a right event, and whether it has a wrong one.
    on: what is reported, [n_clips, n_labels]."""
    right: NDArray[np.bool_] = np.any(on & evidence.fits, axis=1)
    wrong: NDArray[np.bool_] = np.any(on & ~evidence.fits, axis=1)
    return right, wrong
