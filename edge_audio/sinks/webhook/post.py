"""One HTTP request and what came of it; a file for what could not be sent."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_audio.errors import UsageError
from edge_audio.sinks.delivery import Outcome
from edge_audio.support.plain_files import (
    append_line,
    check_for_lines,
    check_plain,
    delete_if_empty,
    end_torn_line,
    open_for_lines,
    reason_of,
)
from edge_audio.support.secrets import Secret

MAX_RETRY_AFTER_S = 600.0  # as a server may ask for
MAX_DEAD_LETTER_BYTES = 10_000_000
_TRY_AGAIN = frozenset({408, 429})  # of those that blame the client


class Poster:
    """Posts JSON to one address. Follows no redirects, which could lead a token elsewhere, and
    does not read what is answered beyond status and headers."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        token: Secret | None,
        ca_file: str | None,
        timeout_s: float,
    ) -> None:
        """Raises UsageError where urllib3 or the certificates are missing."""
        self._url, self._headers = url, {"Content-Type": "application/json", **headers}
        self._token, self._timeout_s = token, timeout_s
        self._urllib3 = _import_urllib3()
        try:
            check_plain(ca_file)
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise UsageError(f"cannot use the certificates in {ca_file}: {error}") from error
        self._pool = self._urllib3.PoolManager(ssl_context=context, retries=False)

    def __call__(self, body: str) -> Outcome:
        """Waits for the answer; raises nothing."""
        headers = dict(self._headers)
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=body.encode(),
                headers=headers,
                timeout=self._timeout_s,
                redirect=False,
                preload_content=False,
            )
            response.close()
            return self._judged(response)
        except Exception as error:  # whatever a server answers must not end the delivery
            return Outcome(_reason(error, self._timeout_s))

    def _judged(self, response: Any) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return Outcome()
        if 300 <= status < 400:
            text = f"it answers with a redirect ({status}): give the address that it leads to"
            return Outcome(text, can_improve=False)
        can_improve = status >= 500 or status in _TRY_AGAIN
        return Outcome(f"it answers with status {status}", can_improve, self._wanted(response))

    def _wanted(self, response: Any) -> float:
        """The seconds that the header Retry-After asks for."""
        try:
            seconds = self._urllib3.Retry().get_retry_after(response) or 0.0
        except (self._urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return 0.0
        return min(MAX_RETRY_AFTER_S, max(0.0, float(seconds)))


class DeadLetters:
    """A file of JSON lines that grows up to 10 MB."""

    def __init__(self, path: str) -> None:
        """Raises UsageError if the file cannot be written."""
        self._path = Path(path)
        try:
            descriptor, self._is_new = open_for_lines(self._path)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {reason_of(error)}") from error
        os.close(descriptor)

    @staticmethod
    def check(path: str) -> None:
        """Whether the file could be written. Raises UsageError."""
        try:
            check_for_lines(Path(path))
        except OSError as error:
            raise UsageError(f"cannot write {path}: {reason_of(error)}") from error

    def discard(self) -> None:
        """Takes the file back if it is new and empty. Raises OSError."""
        if self._is_new:
            descriptor, _ = open_for_lines(self._path)
            try:
                delete_if_empty(descriptor, self._path)
            finally:
                os.close(descriptor)

    def append(self, line: str) -> None:
        """Raises OSError where there is no room."""
        descriptor, _ = open_for_lines(self._path)
        try:
            end_torn_line(descriptor)
            content = line.encode() + b"\n"
            if os.fstat(descriptor).st_size + len(content) > MAX_DEAD_LETTER_BYTES:
                raise OSError(f"{self._path} is full")
            append_line(descriptor, content)
        finally:
            os.close(descriptor)


def _reason(error: Exception, timeout_s: float) -> str:
    """One line for people, without the address, whose path may be a secret."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS fails: {cause.reason}"
        if isinstance(cause, TimeoutError):
            return f"no answer for {timeout_s:g} s"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return f"its answer is no HTTP ({type(error).__name__})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _import_urllib3() -> ModuleType:
    try:
        import urllib3
    except ImportError as error:
        raise UsageError(
            "webhooks need the urllib3 package: pip install 'edge-audio[webhook]'"
        ) from error
    return urllib3
