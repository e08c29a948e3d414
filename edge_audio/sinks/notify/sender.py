"""Sends one message, in a process of its own: reads what to do on standard input, as JSON, and
answers there.

Apprise follows what a server says into its memory and takes the time that the server takes; here
that ends with this process, and nothing of it is ever in the one that listens.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

MAX_CLIP_BYTES = 8_000_000  # what is larger stays at home
_MAX_DATA_BYTES = 192 << 20  # with the listener it stays below MemoryMax= of the service
_STATUS = re.compile(r"error=(\d{3})\b")
_SYSTEM = re.compile(r"\[Errno -?\d+\] ([A-Za-z ]{3,60})")
_MAIL = re.compile(r"\((\d{3}), b['\"]")
_SIGNS = {  # in what Apprise says -> what that means
    "certificate verify failed": "its certificate is not accepted",
    "timed out": "no answer in time",
}
_TRY_AGAIN = (408, 429)  # of those that blame the client


class _Said(logging.Handler):
    """What Apprise says of what went wrong. It may have addresses in it, and goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            self.text = f"{self.text}\n{record.getMessage()}"[-20_000:]


def reason_of(said: str) -> tuple[str, bool]:
    """(one line for people, without addresses; whether the same may be taken later)."""
    if match := _STATUS.search(said):
        status = int(match[1])
        text = f"it answers with status {status}"
        if 300 <= status < 400:
            return f"{text}, a redirect: give the address that it leads to", False
        return text, status >= 500 or status in _TRY_AGAIN
    if match := _MAIL.search(said):
        return f"the mail server answers {match[1]}", True
    if match := _SYSTEM.search(said):
        return match[1].strip().lower(), True
    known = (reason for sign, reason in _SIGNS.items() if sign in said.lower())
    return next(known, "it does not take the message"), True


def sent(task: dict[str, Any], apprise: Any) -> dict[str, object]:
    """{"problem", "can_improve"}."""
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    notifier = apprise.Apprise(asset=_asset(apprise))
    if not notifier.add(task["url"]):
        return {"problem": "Apprise cannot use its address", "can_improve": False}
    message = {"title": task["title"], "body": task["body"], "body_format": "text"}
    if clip := task.get("clip"):
        message["attach"] = _attachment(apprise, Path(clip))
    if notifier.notify(**message, notify_type="warning" if task["is_urgent"] else "info"):
        return {"problem": "", "can_improve": True}
    problem, can_improve = reason_of(said.text)
    return {"problem": problem, "can_improve": can_improve}


def known(urls: list[str], apprise: Any) -> list[bool]:
    """Whether Apprise can use each address."""
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    asset = _asset(apprise)
    return [apprise.Apprise.instantiate(url, asset=asset) is not None for url in urls]


def _asset(apprise: Any) -> Any:
    """Redirects are not followed, which could lead tokens elsewhere; messages show no pictures
    from the network; nothing is stored."""
    return apprise.AppriseAsset(
        app_id="edge-audio",
        app_desc="edge-audio",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        secure_logging=True,
    )


def _attachment(apprise: Any, path: Path) -> Any:
    """The clip; None where it is gone, or too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CLIP_BYTES + 1)
    except OSError:
        return None
    if len(content) > MAX_CLIP_BYTES:
        return None
    kind: Any = import_module("apprise.attachment.memory").AttachMemory
    found = apprise.AppriseAttachment()
    found.add(kind(content=content, name=path.name, mimetype="audio/flac"))
    return found


def _confine(limit_s: int) -> None:
    """No server may have much of this machine."""
    with suppress(AttributeError):  # of Windows
        signal.alarm(limit_s)
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_DATA_BYTES, _MAX_DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """{"urls": [...]} -> [true, ...]; a message with "url" -> {"problem", "can_improve"}."""
    task = json.load(sys.stdin)
    _confine(task["limit_s"])
    import apprise

    answer = known(task["urls"], apprise) if "urls" in task else sent(task, apprise)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
