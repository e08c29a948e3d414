"""What all calls of the API share: the run, its history and clips, sessions, readers."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.errors import EdgeAudioError
from edge_audio.history.destination import HistoryDestination
from edge_audio.history.recorder import HistoryRecorder
from edge_audio.history.store import History
from edge_audio.page.answers import (
    DestinationStatus,
    Disk,
    Load,
    Refusal,
    Status,
    StreamStatus,
)
from edge_audio.page.config import PageConfig
from edge_audio.page.hub import Hub, Message
from edge_audio.page.live import LiveSink, level_of
from edge_audio.page.others import Others
from edge_audio.page.password import PasswordHash
from edge_audio.page.run import ShownRun
from edge_audio.page.sessions import AttemptLimit, Sessions
from edge_audio.page.teaching import Teaching
from edge_audio.sinks.base import Change, Destination, LabelChange, NotifyChange, Wish
from edge_audio.sinks.clips.index import ClipIndex
from edge_audio.sinks.clips.recorder import ClipsDestination
from edge_audio.sinks.notify.destination import NotifyDestination
from edge_audio.support.text import encodable, one_line

MAX_WISHES = 20  # that wait; who sends more is refused
ANSWER_S = 10.0  # within which the run fulfils a wish
_SILENT_S = 3.0  # after which a live stream has a problem
_DISK_EVERY_S = 60.0
_REMARKS_EVERY_S = 5.0
STATUS_EVERY_S = 5.0
_MEMORY_S, _MEMORY_BYTES = 7 * 86_400.0, 20e6  # of the history where there is no [history]

Result = TypeVar("Result")


class Context:
    """config, password: those in force. sinks: of all streams. is_paused, sensitivity: how the run
    listens. remarks: lines for people that the run is to tell."""

    def __init__(
        self,
        config: PageConfig,
        password: PasswordHash | None,
        destinations: Iterable[Destination[Any]],
        run: ShownRun,
    ) -> None:
        self.config, self.password, self.run = config, password, run
        self.hub, self.sessions = Hub(), Sessions()
        self.csrf_token = secrets.token_urlsafe(32)  # where nobody has to log in
        self.logins, self.all_logins = AttemptLimit(5, 12.0), AttemptLimit(20, 3.0)
        self.sinks: list[LiveSink] = []
        self.wishes: deque[Wish] = deque()
        self.remarks: deque[str] = deque(maxlen=20)
        self.is_paused = False
        self.sensitivity: Sensitivity = "normal"
        self.recorder = HistoryRecorder(History(None), _MEMORY_S, _MEMORY_BYTES, 60.0)
        self._destinations = destinations
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="page")
        self.password_pool = ThreadPoolExecutor(1, thread_name_prefix="page password")
        self.teaching, self.others = Teaching(), Others()
        self.tests, self.test_pool = AttemptLimit(5, 20.0), ThreadPoolExecutor(2, "page test")
        self._began_s = time.monotonic()
        self._cpu = (time.monotonic(), time.process_time())
        self._disk, self._disk_due_s = Disk(), 0.0
        self._remarks_due_s = 0.0
        self._telling: asyncio.Future[None] | None = None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.password_pool.shutdown(wait=False, cancel_futures=True)
        self.test_pool.shutdown(wait=False, cancel_futures=True)
        self.recorder.close()
        self.teaching.close()

    async def in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """What a disk may hold up."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    # Where things are

    @property
    def stored_history(self) -> History | None:
        """That of [history]; None where there is none."""
        found = (x.history for x in self._destinations if isinstance(x, HistoryDestination))
        return next(found, None)

    @property
    def history(self) -> History:
        """That of [history], or else one in memory, of this run."""
        return self.stored_history or self.recorder.history

    @property
    def clips(self) -> ClipIndex | None:
        """Of the folder where clips are recorded; None where none are."""
        found = (x.index for x in self._destinations if isinstance(x, ClipsDestination))
        return next(found, None)

    @property
    def notify(self) -> NotifyDestination | None:
        """Who is told of events; None where nobody is."""
        return next((x for x in self._destinations if isinstance(x, NotifyDestination)), None)

    # What is asked of the run

    async def change(self, change: LabelChange | NotifyChange) -> None:
        """Writes it into the settings, where there is a file, and has the run go on by it. Raises
        Refusal."""
        await self.edit(change)
        await self.wish(Wish(change=change))

    async def edit(self, change: Change) -> None:
        """Writes it into the file of settings, where there is one. Raises Refusal."""
        if self.run.edit is None:
            return
        try:
            await self.in_thread(self.run.edit, change)
        except EdgeAudioError as error:
            raise Refusal(409, str(error)) from error

    async def wish(self, wish: Wish) -> None:
        """Has the run fulfil it. Raises Refusal where it cannot, or does not within ANSWER_S."""
        if len(self.wishes) >= MAX_WISHES:
            raise Refusal(503, "too much is asked for at once: try again in a moment")
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()

        def tell(text: str) -> None:
            if not told.done():
                told.set_result(text)

        def answer(text: str) -> None:
            loop.call_soon_threadsafe(tell, text)

        self.wishes.append(wish._replace(answer=answer))
        try:
            text = await asyncio.wait_for(told, ANSWER_S)
        except asyncio.TimeoutError:
            raise Refusal(503, "listening has ended, or is busy: try again in a moment") from None
        if text:
            raise Refusal(409, text)

    # What is told

    @property
    def is_stored(self) -> bool:
        """Whether a [history] remembers events."""
        return self.stored_history is not None

    def use(self, config: PageConfig, password: PasswordHash | None) -> None:
        """Goes on by other settings; another password ends all sessions."""
        if password != self.password:
            self.sessions.close_all()
        self.config, self.password = config, password
        self.tell_status()

    def tell_run(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        """Takes note of how the run listens. Called from the thread that listens, as `tell_status`
        and `take_remarks`."""
        if (sensitivity, is_paused) != (self.sensitivity, self.is_paused):
            self.sensitivity, self.is_paused = sensitivity, is_paused
            self.tell_status()

    def tell_status(self) -> None:
        """Tells readers soon."""
        if self.hub.has_readers:
            self.hub.hand(self._begin_telling)

    def take_remarks(self) -> list[str]:
        """Each once, with how often it came; never many, and the last when all is closed."""
        is_due = self.hub.is_closed or time.monotonic() >= self._remarks_due_s
        if not self.remarks or not is_due:
            return []
        self._remarks_due_s = time.monotonic() + _REMARKS_EVERY_S
        texts = Counter(self.remarks.popleft() for _ in range(len(self.remarks)))
        return [f"{text} ({n} times)" if n > 1 else text for text, n in texts.items()]

    async def beat(self) -> None:
        """Tells readers again and again, as long as the server runs."""
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            await self._tell_status()

    async def status_message(self) -> Message:
        """As all readers may have it, without tokens."""
        now = await self.status(None, self.password is not None)
        return Message("status", msgspec.json.encode(now))

    def _begin_telling(self) -> None:
        self._telling = asyncio.ensure_future(self._tell_status())

    async def _tell_status(self) -> None:
        if not self.hub.has_readers:
            return
        try:
            self.hub.tell(await self.status_message())
        except Exception as error:  # of a destination; the next status may be well again
            self.remarks.append(f"unexpected {type(error).__name__}: {one_line(str(error), 200)}")

    # How things are

    async def status(self, csrf_token: str | None, is_logged_in: bool) -> Status:
        """All that the top of the page shows."""
        return Status(
            version=self._version,
            model=self.run.title,
            uptime_s=round(time.monotonic() - self._began_s, 1),
            csrf_token=csrf_token,
            is_paused=self.is_paused,
            sensitivity=self.sensitivity,
            sensitivities=list(SENSITIVITIES),
            can_change=self.config.controls,
            needs_password=self.password is not None,
            is_logged_in=is_logged_in,
            history="memory" if self.stored_history is None else "file",
            has_clips=self.clips is not None,
            streams=[_stream_status(sink) for sink in self.sinks],
            destinations=[_destination_status(x) for x in self._destinations],
            disk=await self._disk_now(),
            load=self._load(),
        )

    @cached_property
    def _version(self) -> str:
        try:
            return version("edge-audio")
        except PackageNotFoundError:  # run from a folder
            return ""

    def _load(self) -> Load:
        before_s, before_cpu_s = self._cpu
        now_s, cpu_s = time.monotonic(), time.process_time()
        if now_s - before_s >= 5.0:
            self._cpu = (now_s, cpu_s)
        share = (cpu_s - before_cpu_s) / max(1e-3, now_s - before_s)
        factor = max((sink.stream.stats.load for sink in self.sinks), default=0.0)
        return Load(round(share, 3), round(factor, 4))

    async def _disk_now(self) -> Disk:
        if time.monotonic() >= self._disk_due_s:
            self._disk_due_s = time.monotonic() + _DISK_EVERY_S
            self._disk = await self.in_thread(self._measured_disk)
        return self._disk

    def _measured_disk(self) -> Disk:
        disk, clips = Disk(), self.clips
        history = self.stored_history
        if history is not None and history.path is not None:
            files = (Path(f"{history.path}{suffix}") for suffix in ("", "-wal", "-shm"))
            disk.history_bytes = sum(_size(file) for file in files)
            disk.free_bytes = _free(history.path.absolute().parent)
        if clips is not None:
            disk.clips_bytes = clips.n_bytes
            disk.free_bytes = disk.free_bytes or _free(clips.folder)
        return disk


def _stream_status(sink: LiveSink) -> StreamStatus:
    stream = sink.stream
    silent_s = sink.silent_s
    problem = ""
    if stream.live and silent_s > _SILENT_S:
        problem = sink.notice or f"nothing was heard for {silent_s:.0f} s"
    return StreamStatus(
        name=encodable(stream.name),
        is_live=stream.live,
        level_dbfs=level_of(stream),
        lost_s=round(stream.stats.lost_s, 3),
        problem=encodable(problem),
        n_events=stream.stats.n_events,
    )


def _destination_status(destination: Destination[Any]) -> DestinationStatus:
    name, problem = encodable(destination.name), encodable(destination.problem)
    return DestinationStatus(name, problem, destination.n_lost)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
