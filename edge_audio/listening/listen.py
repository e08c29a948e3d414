"""Events of a microphone, or of any other source, as they come, for programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.events.policy import ONE_SOUND, REPORT_ALL, EventPolicy, PolicySpec
from edge_audio.listening.audio_hearing import AudioHearing
from edge_audio.listening.hearing import HeardStep, Wanted
from edge_audio.listening.pushed import PushedSamples
from edge_audio.serial.port import SERIAL_PREFIX
from edge_audio.sources.base import Source
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.interleave import interleaved
from edge_audio.sources.opening import make_source
from edge_audio.support.arrays import is_number
from edge_audio.tagging.settings import TaggerSettings
from edge_audio.tagging.step_reporter import Step
from edge_audio.tagging.tagger import Tagger
from edge_audio.tagging.turns import Turns

if TYPE_CHECKING:
    from typing_extensions import Unpack

AnySource = str | Path | Source | Iterable[NDArray[Any]]


def listen(
    source: AnySource = "mic",
    *,
    device: str | None = None,
    rate_hz: int | None = None,
    realtime: bool | None = None,
    duration_s: float | None = None,
    **settings: Unpack[TaggerSettings],
) -> Listening:
    """Listens, and gives each event as it comes:

        for event in edge_audio.listen():
            print(event.time_s, event.kind, event.label)

    source: "mic"; "demo"; the path of a file; the address of a stream (rtsp://, http://); "-" for
        raw samples, or a file, on standard input; or an iterable of arrays of samples, mono at the
        model's rate or, with rate_hz, of any rate and number of channels.
    device: which microphone, as `edge-audio devices` lists them.
    realtime: plays what is not live at the speed of sound; None = the demo scene alone.
    duration_s: ends after so much audio.
    settings: keywords of `Tagger.open`, as for `tag`.

    The model is loaded at once, the source opened by the first event that is asked for. Raises
    UsageError, BundleError or BackendError here, SourceError where audio cannot be had.
    """
    if duration_s is not None and not (is_number(duration_s) and duration_s > 0.0):
        raise UsageError(f"duration_s is {duration_s!r}: give seconds above 0")
    policy = settings.get("policy", ONE_SOUND) or REPORT_ALL
    settings["policy"] = None  # which knows the clock of the source, here below
    tagger = Tagger.open(**settings)
    opened = _source(source, device, rate_hz, tagger.sample_rate_hz)
    if realtime is None:
        realtime = isinstance(opened, DemoScene)
    bundle = tagger.bundle
    hearing = AudioHearing(opened.name, opened, bundle, lambda *_: tagger, realtime, duration_s)
    hearing.begin(Wanted(bundle.manifest.events))
    return Listening(hearing, policy)


def _source(source: AnySource, device: str | None, rate_hz: int | None, model_hz: int) -> Source:
    if isinstance(source, str | Path):
        if rate_hz is not None:
            raise UsageError("this source knows its rate: leave out rate_hz")
        return _named(str(source), device, model_hz)
    if device is not None:
        raise UsageError("device names a microphone: leave out the source")
    if isinstance(source, Iterable):
        chunks = [source] if isinstance(source, np.ndarray) else source
        return PushedSamples(chunks, model_hz, rate_hz)
    if not hasattr(source, "blocks"):
        given = type(source).__name__
        raise UsageError(f"source is {given}: give the name of one, or arrays of samples")
    return source


def _named(source: str, device: str | None, model_hz: int) -> Source:
    if source.startswith(SERIAL_PREFIX):
        raise UsageError(f"{source} tags by itself: edge-audio listen --source {source} follows it")
    if device is not None and source != "mic":
        raise UsageError("device names a microphone: leave out the source")
    return make_source(source, device, model_hz, {})


class Listening:
    """One stream that is listened to: an iterator over its events, once.

    `for event in listening`, in one thread at a time; `async for event in listening`; `run` and
    `start` for callbacks; `steps` for the scores as well. `stop` may be called from any thread, and
    ends it within half a second, with the ends of all events that are open. Leaving a `with` or
    `async with` statement stops it too.

    tagger: follows the stream; its scores, `top` and embedding are those of the latest step.
    """

    def __init__(self, hearing: AudioHearing, policy: PolicySpec) -> None:
        """hearing: which has begun."""
        self.tagger = hearing.tagger
        self._hearing, parents = hearing, hearing.stream.parents
        self._policy = EventPolicy(policy, parents, hearing.tagger.watched)
        self._turns = Turns("listening", "one takes its events", "call edge_audio.listen again")
        self._steps = self._listen()
        self._events = self._each_event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Listening:
        return self

    async def __aexit__(self, *_: object) -> None:
        """At once, however the loop over its events was left: `break` alone does not end one."""
        self.stop()
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self.close))

    def __iter__(self) -> Listening:
        return self

    def __next__(self) -> Event:
        with self._turns:
            return next(self._events)

    def steps(self) -> Iterator[Step]:
        """What each step brought, in place of its events alone; times are those of the source."""
        while True:
            with self._turns:
                step = next(self._steps, None)
            if step is None:
                return
            yield step

    def run(
        self,
        on_event: Callable[[Event], object] = lambda event: None,
        on_step: Callable[[Step], object] = lambda step: None,
    ) -> None:
        """Listens until the source ends or `stop`, and calls these, in this thread. What they raise
        ends it, and is raised here."""
        try:
            with self._turns:  # all along, so that nobody else takes events meanwhile
                for step in self._steps:
                    for event in step.events:
                        on_event(event)
                    on_step(step)
        finally:
            self.close()

    def start(
        self,
        on_event: Callable[[Event], object] = lambda event: None,
        on_step: Callable[[Step], object] = lambda step: None,
        on_end: Callable[[], object] = lambda: None,
    ) -> Listening:
        """Does `run` in a thread, which calls these, and on_end at its end. `wait`, `close` or the
        end of a `with` statement raise what ended it, if that was an error."""
        if self._thread is not None:
            raise UsageError("this listening has started already: call edge_audio.listen again")
        calls = on_event, on_step, on_end
        self._thread = threading.Thread(
            target=self._run_and_keep, args=calls, name="listening", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends it soon, from any thread."""
        self._stopped.set()  # of a source that never waits
        self._hearing.stop()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for what `start` began, and raises what ended it, if that was an error. Returns
        whether it has ended. Raises UsageError in a callback, which it would wait for."""
        if self._thread is None:
            return True
        if self._thread is threading.current_thread():
            raise UsageError("a callback cannot wait for its own end: call stop, or leave it")
        self._thread.join(timeout_s)
        error, self._error = self._error, None
        if error is not None:
            raise error
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stops and closes the source. May be called again."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self.wait()
            return
        try:
            self._turns.close()
        except UsageError:  # the thread that takes its events ends soon
            return
        self._steps.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._in_background()

    async def _in_background(self) -> AsyncIterator[Event]:
        """The events, awaited by a thread. Where the loop over them is left or its task is
        cancelled, the source is stopped and the thread has ended before that goes on."""
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[Event | None] = asyncio.Queue()

        def tell(event: Event | None = None) -> None:
            loop.call_soon_threadsafe(came.put_nowait, event)

        self.start(on_event=tell, on_end=tell)
        try:
            while (event := await came.get()) is not None:
                yield event
            self.wait()
        finally:
            self.stop()
            await asyncio.shield(loop.run_in_executor(None, self._join))

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run_and_keep(
        self,
        on_event: Callable[[Event], object],
        on_step: Callable[[Step], object],
        on_end: Callable[[], object],
    ) -> None:
        try:
            self.run(on_event, on_step)
        except BaseException as error:
            self._error = error
        finally:
            on_end()

    def _each_event(self) -> Iterator[Event]:
        for step in self._steps:
            yield from step.events

    def _listen(self) -> Generator[Step, None, None]:
        hearing, errors = self._hearing, list[Exception | None]()
        with hearing:
            pieces = interleaved([hearing.feed()], lambda _, error: errors.append(error))
            with closing(pieces):
                for _, piece in pieces:
                    if self._stopped.is_set():
                        break
                    yield from self._heard(piece)
            ended = self._policy.flush(hearing.finish(), hearing.time_s)
            yield Step(hearing.time_s, self.tagger.scores, ended)
        for error in filter(None, errors):
            raise error

    def _heard(self, piece: Any) -> Iterator[Step]:
        for item in self._hearing.hear(piece):
            if isinstance(item, HeardStep):
                events = self._policy.push(item.events, item.time_s)
                scores = item.scores if item.scores is not None else np.zeros(0, np.float32)
                yield Step(item.time_s, scores, events)
