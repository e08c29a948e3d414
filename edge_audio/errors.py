"""Errors a user can act on: every message says what happened and what to do next."""


class EdgeAudioError(Exception):
    """Base of every error that is raised on purpose. The command line prints it as one line and
    exits with 1."""


class UsageError(EdgeAudioError):
    """The request itself is wrong: an unknown label, a missing file, a bad option. The command line
    exits with 2."""


class SourceError(EdgeAudioError):
    """Audio cannot be read: a corrupt file, an unplugged microphone, a broken pipe."""


class BundleError(EdgeAudioError):
    """A model bundle is missing a part, altered, or written by a newer version."""


class BackendError(EdgeAudioError):
    """An inference runtime is not installed or cannot run this model correctly."""
