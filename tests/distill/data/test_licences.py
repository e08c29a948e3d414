"""No recording may train shipped weights whose licence does not allow it."""

from __future__ import annotations

import pytest

from distill.data.licences import licence_name, licence_tier


@pytest.mark.parametrize(
    "licence",
    [
        "CC0 1.0",
        "CC0",
        "CC-0",
        "CC0 1.0 Universal",
        "Creative Commons Zero",
        "http://creativecommons.org/publicdomain/zero/1.0/",
        "Public domain",
        "https://creativecommons.org/publicdomain/mark/1.0/",
        "CC BY",
        "CC BY 3.0",
        "cc-by-4.0",
        "CC BY 2.0 UK",
        "CC BY-SA 4.0",
        "CC-BY-SA-4.0",
        "Attribution 4.0 International",
        "Creative Commons Attribution-ShareAlike 3.0 Unported",
        "https://creativecommons.org/licenses/by/4.0/",
        "http://creativecommons.org/licenses/by-sa/3.0/deed.de",
        "MIT",
        "MIT License",
        "BSD-3-Clause",
    ],
)
def test_licences_that_ask_for_attribution_at_most_may_train(licence: str) -> None:
    assert licence_tier(licence) == "A"


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY-NC 3.0",
        "CC BY-ND 4.0",
        "cc by nd",
        "CC BY-NC-ND 4.0",
        "CC BY-NC-SA 4.0",
        "CC BYNC 4.0",
        "CC BYNCND",
        "CC_BY_NC",
        "Attribution-NoDerivs 3.0 Unported",
        "Attribution-NoDerivatives 4.0 International",
        "Attribution-NonCommercial 4.0",
        "Attribution Non Commercial",
        "Creative Commons Attribution, no derivatives",
        "http://creativecommons.org/licenses/by-nd/3.0/",
        "http://creativecommons.org/licenses/by-nc/3.0/",
        "http://creativecommons.org/licenses/sampling+/1.0/",
        "https://creativecommons.org/licenses/nc-sampling+/1.0/",
        "CC Sampling+ 1.0",
        "Sampling Plus 1.0",
        "CC BY 3.0 (dataset); clip: Sampling+",
        "Public domain, not for commercial use",
        "free for personal use",
        "research use only",
    ],
)
def test_licences_that_forbid_commercial_or_derived_works_never_train(licence: str) -> None:
    assert licence_tier(licence) == "E"


@pytest.mark.parametrize(
    "licence",
    [
        "",
        "unknown",
        "?",
        "All rights reserved",
        "CC",
        "CC BY 4.0, no redistribution of the audio",
        "CC BY 4.0 for the annotations",
        "CC BYE",
        "not in the public domain",
        "Public domain in the US only",
        "GPL-3.0",
        "YouTube, terms of the uploader",
        "https://example.org/licenses/by/4.0/",
    ],
)
def test_what_is_not_known_to_be_free_does_not_train(licence: str) -> None:
    assert licence_tier(licence) == "C"


def test_deeds_have_the_names_of_their_licences() -> None:
    assert licence_name("http://creativecommons.org/licenses/by-nc/3.0/") == "CC BY-NC 3.0"
    assert licence_name("HTTPS://CreativeCommons.org/licenses/BY/4.0") == "CC BY 4.0"
    assert licence_name("https://creativecommons.org/publicdomain/mark/1.0/") == (
        "Public domain mark 1.0"
    )
    assert licence_name("mine") == "mine"
