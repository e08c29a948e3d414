"""Teaching a sound from clips of the history, by `edge-audio learn` in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from edge_audio.page.run import TeachPlan
from edge_audio.support.child import Child
from edge_audio.support.text import one_line

TEACH_LIMIT_S = 600.0
MAX_CLIPS = 40  # of a sound, and of what it is not
_MAX_LINES, _MAX_LINE_CHARS = 60, 500
_NICENESS = 10  # listening goes first
_PROGRAM = "edge-audio: "  # before remarks of commands

State = Literal["idle", "running", "done", "failed"]
Clip = tuple[int, Path]  # id of an event


class Lesson(NamedTuple):
    """Clips of a sound, and of what it is not, that it has not learned from yet. n_taken: those
    that it has."""

    name: str
    takes: list[Clip]
    others: list[Clip]
    n_taken: int


class Teaching:
    """One lesson at a time.

    state, name, lines: of the latest one: how it stands, what is taught, and what `learn` said.
    """

    def __init__(self) -> None:
        self.state: State = "idle"
        self.name = ""
        self.lines: list[str] = []
        self._child = Child()
        self._lock = threading.Lock()

    def begin(self, plan: TeachPlan, lesson: Lesson, finished: Callable[[], list[str]]) -> bool:
        """Whether the lesson begins: another one may be going on. finished: called in another
        thread once all is learned, gives lines to add, and raises nothing."""
        with self._lock:
            if self.state == "running" or self._child.is_stopped:
                return False
            self.state, self.name, self.lines = "running", lesson.name, []
        arguments = (plan, lesson, finished)
        threading.Thread(target=self._teach, args=arguments, name="teach", daemon=True).start()
        return True

    def close(self) -> None:
        """Ends what is going on; the file stays as it was then."""
        self._child.stop()

    def _teach(self, plan: TeachPlan, lesson: Lesson, finished: Callable[[], list[str]]) -> None:
        is_learned = False
        try:
            with tempfile.TemporaryDirectory(prefix="edge-audio-") as folder:
                is_learned, lines = self._run(_command(plan, lesson, Path(folder)))
            lines += finished() if is_learned else []
        except subprocess.TimeoutExpired:
            lines = [f"it took longer than {TEACH_LIMIT_S:g} s"]
        except OSError as error:
            lines = [f"it could not be taught: {error.strerror or error}"]
        with self._lock:
            self.lines = lines
            self.state = "done" if is_learned else "failed"

    def _run(self, command: Sequence[str]) -> tuple[bool, list[str]]:
        """Whether it was learned, and what was said."""
        limit_s, stderr = TEACH_LIMIT_S, subprocess.STDOUT
        done = self._child.run(command, limit_s, stderr=stderr, niceness=_NICENESS)
        if done is None:
            return False, []
        said = done.stdout.decode(errors="replace").splitlines()
        lines = [line.removeprefix(_PROGRAM) for line in said]
        shown = [one_line(line, _MAX_LINE_CHARS) for line in lines if line.strip()]
        return done.returncode == 0, shown[:_MAX_LINES]


def _command(plan: TeachPlan, lesson: Lesson, folder: Path) -> list[str]:
    """Names may begin like options. folder: for copies of the clips."""
    words = [sys.executable, "-m", "edge_audio", "learn", "--model", plan.model]
    words += ["--backend", plan.backend, "--sounds", str(plan.sounds)]
    for path in _copied(lesson.others, folder):
        words += ["--not", str(path)]
    return [*words, "--", lesson.name, *map(str, _copied(lesson.takes, folder))]


def _copied(clips: Sequence[Clip], folder: Path) -> list[Path]:
    """Copies, which nobody deletes for want of room, called by their events; those that are gone
    are left out."""
    made = []
    for event_id, path in clips[:MAX_CLIPS]:
        copy = folder / source_name(event_id)
        with suppress(OSError):
            shutil.copyfile(path, copy, follow_symlinks=False)
            made.append(copy)
    return made


def source_name(event_id: int) -> str:
    """What a take of that event is called in a file of sounds."""
    return f"event-{event_id}.flac"
