"""Places a graph on given rows so that few arrows cross and most are straight.

The way of Sugiyama, Tagawa and Toda (1981): arrows over several rows get a stop in each row
between, rows are ordered by the average place of their neighbours, then shifted towards them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

GAP = 14.0
STOP_PX = 8.0
N_SWEEPS = 24


def width_of(node: str) -> float:
    """Pixels of a box with a name in it; of a stop, which has a `|` in its name, little."""
    return STOP_PX if "|" in node else 7.4 * len(node) + 18


class Layers:
    """Rows of nodes, 0 at the bottom, each with its x.

    row: node -> its row. x: node -> its centre, from 0. width: of the whole. chains: for each
    arrow its nodes from top to bottom, stops included.
    """

    def __init__(self, rows: Sequence[Sequence[str]], graph: Mapping[str, set[str]]) -> None:
        self.rows = [list(row) for row in rows]
        self.row = {node: i for i, row in enumerate(self.rows) for node in row}
        self.chains = [self._chain(a, b) for a in sorted(graph) for b in sorted(graph[a])]
        self._above: dict[str, list[str]] = defaultdict(list)
        self._below: dict[str, list[str]] = defaultdict(list)
        for chain in self.chains:
            for upper, lower in pairwise(chain):
                self._below[upper].append(lower)
                self._above[lower].append(upper)
        self._order()
        self.x = self._shifted()
        self.width = max(x + width_of(node) / 2 for node, x in self.x.items())

    def _chain(self, source: str, target: str) -> list[str]:
        stops = range(self.row[source] - 1, self.row[target], -1)
        chain = [source, *(f"{source}|{target}|{i}" for i in stops), target]
        for i, stop in zip(stops, chain[1:-1], strict=True):
            self.rows[i].append(stop)
            self.row[stop] = i
        return chain

    def _order(self) -> None:
        best = [list(row) for row in self.rows]
        for sweep in range(N_SWEEPS):
            down = sweep % 2 == 0
            for row in reversed(self.rows) if down else self.rows:
                self._sort(row, self._above if down else self._below)
            if self._n_crossings(self.rows) < self._n_crossings(best):
                best = [list(row) for row in self.rows]
        self.rows = best

    def _sort(self, row: list[str], neighbours: Mapping[str, list[str]]) -> None:
        place = {n: i / len(other) for other in self.rows for i, n in enumerate(other)}

        def average(node: str) -> float:
            found = [place[n] for n in neighbours.get(node, ())]
            return sum(found) / len(found) if found else place[node]

        row.sort(key=average)

    def _n_crossings(self, rows: Sequence[Sequence[str]]) -> int:
        place = {node: i for row in rows for i, node in enumerate(row)}
        n = 0
        for row in rows:
            ends = [(place[a], place[b]) for a in row for b in self._below.get(a, ())]
            n += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])
        return n

    def _shifted(self) -> dict[str, float]:
        x: dict[str, float] = {}
        for row in self.rows:
            x.update(zip(row, spread(row, [0.0] * len(row)), strict=True))
        for sweep in range(N_SWEEPS):
            for row in self.rows if sweep % 2 else reversed(self.rows):
                wanted = [self._wanted(node, x) for node in row]
                x.update(zip(row, spread(row, wanted), strict=True))
        left = min(centre - width_of(node) / 2 for node, centre in x.items())
        return {node: centre - left for node, centre in x.items()}

    def _wanted(self, node: str, x: Mapping[str, float]) -> float:
        near = [x[n] for n in (*self._above.get(node, ()), *self._below.get(node, ()))]
        return sum(near) / len(near) if near else x[node]


def spread(row: Sequence[str], wanted: Sequence[float]) -> list[float]:
    """The places nearest to `wanted`, by least squares, at which a row's boxes do not touch:
    neighbours that would are pooled and share their mean (pool adjacent violators)."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + (width_of(left) + width_of(right)) / 2 + GAP)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=False):
        mean, n = place - offset, 1
        while pools and pools[-1][0] >= mean:
            other, m = pools.pop()
            mean, n = (mean * n + other * m) / (n + m), n + m
        pools.append((mean, n))
    means = [mean for mean, n in pools for _ in range(n)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]
