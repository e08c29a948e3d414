"""Commands to a device, one at a time, each repeated until it is acknowledged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from edge_audio.errors import SourceError
from edge_audio.serial.line import Line
from edge_audio.serial.protocol import Ack, Message, SetRelated

_REFUSALS = {1: "a value out of range", 2: "an unknown command", 3: "a body of a wrong length"}
_RESEND_S = 0.5


@dataclass
class _Asked:
    """A command that was sent and not yet acknowledged."""

    command: Message
    sequence: int
    due_s: float  # when to send it again, by the monotonic clock


class Dialogue:
    """The commands that a device is to be told, in their order."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._commands: deque[Message] = deque()
        self._asked: _Asked | None = None
        self._next_sequence = 0
        self.progressed()

    @property
    def is_over(self) -> bool:
        """Whether every command was acknowledged."""
        return not self._commands

    def say(self, commands: Iterable[Message]) -> None:
        """Says these commands, in place of all that are still to be said."""
        self._commands = deque(commands)

    def forget_asked(self) -> None:
        """Asks the latest command again, which the device may not have received."""
        self._asked = None

    def progressed(self) -> None:
        """Notes that the device has told something new, so that it counts as answering."""
        self._progress_at_s = time.monotonic()

    def go_on(self, first: Message | None, limit_s: float) -> None:
        """Sends the next command, or repeats the latest one that was not acknowledged. first: is
        said before all others. Raises SourceError after limit_s without any progress."""
        now_s = time.monotonic()
        if self._asked is None:
            command = first or (self._commands[0] if self._commands else None)
            if command is None:
                self._progress_at_s = now_s
                return
            self._asked = _Asked(command, self._next_sequence, now_s)
            self._next_sequence = (self._next_sequence + 1) % 256
        if now_s - self._progress_at_s > limit_s:
            raise SourceError(self._line.no_answer())
        if now_s >= self._asked.due_s:
            self._asked.due_s = now_s + _RESEND_S
            self._line.send(self._asked.command.frame(self._asked.sequence))

    def take_ack(self, ack: Ack) -> Message | None:
        """The command that an acknowledgement is for, if it was asked. Raises SourceError for one
        that is refused, but for SetRelated, which a device may."""
        asked = self._asked
        if asked is None or (ack.sequence, ack.command) != (asked.sequence, asked.command.TYPE):
            return None
        if ack.status and not isinstance(asked.command, SetRelated):
            reason = _REFUSALS.get(ack.status, f"status {ack.status}")
            kind = type(asked.command).__name__
            raise SourceError(f"the device on {self._line.port} refused {kind}: {reason}")
        self._asked = None
        if self._commands and asked.command is self._commands[0]:
            self._commands.popleft()
            self.progressed()
        return asked.command
