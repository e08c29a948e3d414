"""Names of streams and labels where not every character may stand: in topics and paths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count


class Slugs:
    """Gives every name a slug of its own: where two would be equal, the later one is numbered."""

    def __init__(self, slug_of: Callable[[str], str]) -> None:
        """slug_of: the part of a name that may stand there; it may be empty."""
        self._slug_of = slug_of
        self._taken: set[str] = set()

    def __call__(self, name: str) -> str:
        base = self._slug_of(name) or "unnamed"
        numbered = (base if n == 1 else f"{base}-{n}" for n in count(1))
        slug = next(slug for slug in numbered if slug not in self._taken)
        self._taken.add(slug)
        return slug
