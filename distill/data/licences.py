"""What a licence allows of training, by its name or address."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

Tier = Literal["A", "C", "E"]
SHIPPED_TIERS = ("A", "B")
"""Licence tiers that may train published weights."""

_DEED = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([^/]+)/([\d.]+)", re.I)
_DEED_KINDS = {"zero": "CC0", "sampling+": "CC Sampling+", "mark": "Public domain mark"}

# Each must be found nowhere in a licence: (CC) BY-NC, BYNC, ND, "NoDerivs", "Sampling Plus" ...
_FORBIDS = re.compile(
    r"""(?<![a-z])(by)?(nc|nd)(nd|sa)?(?![a-z])
    | non[\s_-]*commercial | \b(no|not|without)\b[^.;]*\bcommercial
    | no[nt]?[\s_-]*deriv
    | \bsampling
    | \b(personal|private|academic|educational|research)\b[^.;]*\b(only|use)\b""",
    re.X,
)
# The whole of a licence must be one of these: what else it says may be a condition.
_FREE = re.compile(
    r"""(cc[\s-]?0|(cc|creative\scommons)[\s-]zero)([\s-]v?1\.0)?(\suniversal)?
    | (cc[\s-]by|((cc|creative\scommons)\s)?attribution)
      ([\s-](sa|share[\s-]?alike))?([\s-]v?\d(\.\d)?)?(\s(international|unported|generic))?
      ([\s-][a-z]{2})?
    | public\sdomain(\smark(\s1\.0)?|\sdedication)?
    | mit | (0|[234][\s-]clause[\s-])?bsd([\s-][0234][\s-]clause)?""",
    re.X,
)


@cache
def licence_tier(licence: str) -> Tier:
    """What a licence allows: "A" may train shipped weights, with attribution; "E" forbids
    commercial use or works derived from the recording; "C" is anything weaker or unknown."""
    text = " ".join(licence_name(licence).casefold().split())
    if _FORBIDS.search(text):
        return "E"
    return "A" if _FREE.fullmatch(re.sub(r"[\s-]licen[cs]e$", "", text)) else "C"


def licence_name(licence: str) -> str:
    """ "CC BY-NC 3.0" for the address of its deed; other texts as they are."""
    found = _DEED.search(licence)
    if found is None:
        return licence
    kind, version = found[1].lower(), found[2].rstrip(".")
    return f"{_DEED_KINDS.get(kind, f'CC {kind.upper()}')} {version}"
