"""Names of streams and labels where not every character may stand: in topics and paths."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from itertools import chain, count

from slugify import slugify

MAX_TOPIC_CHARS = 64
MAX_FILE_CHARS = 40


def topic_slug(name: str) -> str:
    """The name in the characters a-z, 0-9 and -, which mean nothing to brokers; may be empty."""
    return _slug(name, r"[^a-z0-9]+", lowercase=True)[:MAX_TOPIC_CHARS].strip("-")


def file_slug(name: str) -> str:
    """The name as part of a file's name: the characters A-Z, a-z, 0-9, - and _; may be empty."""
    return _slug(name, r"[^A-Za-z0-9_]+", lowercase=False)[:MAX_FILE_CHARS].strip("-_")


def digest_of(name: str) -> str:
    """Six characters that tell names apart whose slugs are equal."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def unique_slug(name: str) -> str:
    """The `topic_slug` of a name, with a part of its hash where that is not all of the name: no two
    names share it, whoever else has one."""
    slug = topic_slug(name)
    return slug if slug == name else f"{slug}-{digest_of(name)}".lstrip("-")


def _slug(name: str, unwanted: str, lowercase: bool) -> str:
    """The slug of a name; what is not ASCII is written as it sounds, as far as that is known."""
    return slugify(
        name.replace(",", " "),  # which slugify would drop between digits
        regex_pattern=unwanted,
        lowercase=lowercase,
        entities=False,
        decimal=False,
        hexadecimal=False,
    )


class Slugs:
    """Gives every name a slug of its own, which differs from others by more than case: not all
    disks tell a from A. The first of several names with the same slug has it as it is. Others are
    numbered where they are ASCII, as installations know them, and else have a part of their hash,
    which does not depend on what else has a name. Words that mean something where slugs stand are
    nobody's."""

    def __init__(self, slug_of: Callable[[str], str], reserved: Collection[str] = ()) -> None:
        """slug_of: `topic_slug` or `file_slug`. reserved: slugs that mean something else."""
        self._slug_of = slug_of
        self._taken = {word.casefold() for word in reserved}

    def __call__(self, name: str) -> str:
        base = self._slug_of(name) or "unnamed"
        stem = base if name.isascii() else f"{base}-{digest_of(name)}"
        numbered = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        candidates = chain([base], numbered)
        slug = next(slug for slug in candidates if slug.casefold() not in self._taken)
        self._taken.add(slug.casefold())
        return slug
