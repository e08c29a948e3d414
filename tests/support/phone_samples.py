"""Where the phone samples are, and which of them need no phone to compile."""

from __future__ import annotations

from tests.support.paths import REPOSITORY

MOBILE = REPOSITORY / "docs" / "mobile"
ANDROID, IOS = MOBILE / "android", MOBILE / "ios"
PURE = ("BundleManifest", "EventDetector", "EventPolicy", "StepModel", "Tagger")
