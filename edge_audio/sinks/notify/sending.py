"""Has messages sent by other processes, one at a time for each recipient."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_audio.errors import UsageError
from edge_audio.sinks.delivery import Outcome
from edge_audio.sinks.notify.recipients import Recipient, require_all_known
from edge_audio.support.child import Child

SEND_LIMIT_S = 60
_MODULE = "edge_audio.sinks.notify.sender"
_ALARM = -getattr(signal, "SIGALRM", 0)  # what a process ends with that took too long
_GRACE_S = 5.0  # in which a sender ends by itself


@dataclass(frozen=True)
class Message:
    """What is told. event_id, at: of the event, by which its clip is found; none of a test.
    give_up_s: the clip is waited for until then, by time.monotonic; 0: no clip goes out."""

    label: str
    title: str
    text: str
    is_urgent: bool = False
    event_id: int | None = None
    at: datetime | None = None
    give_up_s: float = 0.0


class Sender:
    """Sends messages to one recipient. clip_of: finds the clip that goes with one, if any."""

    def __init__(self, recipient: Recipient, clip_of: Callable[[Message], Path | None]) -> None:
        self._recipient, self._clip_of = recipient, clip_of
        self._child = Child()

    def __call__(self, message: Message) -> Outcome:
        """Waits for what comes of it, SEND_LIMIT_S at most; raises nothing."""
        try:
            clip = self._clip_of(message)
            task = {
                "url": self._recipient.url.reveal(),
                "title": message.title,
                "body": message.text,
                "is_urgent": message.is_urgent,
                "clip": None if clip is None else str(clip.absolute()),
            }
            answer = _answer(self._child, task)
            if answer is None:
                return Outcome("edge-audio ends")
            return Outcome(str(answer["problem"]), bool(answer["can_improve"]))
        except subprocess.TimeoutExpired:
            return Outcome(f"no answer for {SEND_LIMIT_S} s")
        except ValueError:
            return Outcome("the message could not be sent: its answer is too much")
        except Exception as error:  # whatever a server does must not end the delivery
            return Outcome(f"the message could not be sent ({type(error).__name__})")

    def stop(self) -> None:
        """Ends what is being sent, and sends no more."""
        self._child.stop()


def require_apprise() -> None:
    """Raises UsageError where it is not installed."""
    if find_spec("apprise") is None:
        raise UsageError("notifications need Apprise: pip install 'edge-audio[notify]'")


def check_addresses(recipients: Sequence[Recipient]) -> None:
    """Raises UsageError where Apprise is missing, or cannot use one of them."""
    require_apprise()
    try:
        answer = _answer(Child(), {"urls": [each.url.reveal() for each in recipients]})
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UsageError(f"notify: Apprise does not run ({type(error).__name__})") from error
    require_all_known(recipients, answer)


def _answer(child: Child, task: dict[str, object]) -> Any:
    """None once the child is stopped. What is on its way when Ctrl-C is pressed may arrive. No
    command line has the address: other users could read it there."""
    asked = json.dumps({**task, "limit_s": SEND_LIMIT_S}).encode()
    done = child.run([sys.executable, "-m", _MODULE], SEND_LIMIT_S + _GRACE_S, asked=asked)
    if done is None:
        return None
    if done.returncode and done.returncode == _ALARM:
        raise subprocess.TimeoutExpired(_MODULE, SEND_LIMIT_S)
    return json.loads(done.stdout)
