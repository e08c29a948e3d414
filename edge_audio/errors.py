"""Errors a user can act on: every message says what happened and what to do next."""


class EdgeAudioError(Exception):
    """Base of every error raised on purpose; the command line prints it as one line (exit 1)."""


class UsageError(EdgeAudioError):
    """The request itself is wrong (unknown label, missing file, bad option): exit 2."""


class SourceError(EdgeAudioError):
    """Audio cannot be read: corrupt file, unplugged microphone, broken pipe."""


class BundleError(EdgeAudioError):
    """A model bundle is missing a part, altered, or written by a newer version."""


class BackendError(EdgeAudioError):
    """An inference runtime is not installed or cannot run this model correctly."""
