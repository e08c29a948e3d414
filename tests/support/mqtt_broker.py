"""A real mosquitto for tests, and somebody who listens to it."""

from __future__ import annotations

import getpass
import itertools
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.peers import DEADLINE_S, eventually, free_port

_NUMBERS = itertools.count(1)
MISSING = "" if shutil.which("mosquitto") else "no MQTT broker: apt install mosquitto"


class Broker:
    """Can be stopped and started again on the same port, and keeps sessions all the while."""

    def __init__(
        self, folder: Path, *lines: str, port: int | None = None, host: str = "127.0.0.1"
    ) -> None:
        """lines: of its settings; by default it takes everybody. port: by default a free one."""
        self._host = host
        self.port = port or free_port()
        folder.mkdir()
        self._settings = folder / "mosquitto.conf"
        common = (
            f"user {getpass.getuser()}",
            *("persistence true", f"persistence_location {folder}/"),
            f"listener {self.port} {host}",
        )
        self._settings.write_text("\n".join([*common, *(lines or ["allow_anonymous true"]), ""]))
        self._log = (folder / "log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["mosquitto", "-c", str(self._settings)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        eventually(self._is_there)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Takes connections and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()

    def _is_there(self) -> bool:
        try:
            socket.create_connection((self._host, self.port)).close()
        except OSError:
            return False
        return True


class Subscriber:
    """Collects (topic, payload) in the order in which the broker passes them on, through
    restarts of the broker as well."""

    def __init__(self, port: int, *topics: str, **login: str) -> None:
        """topics: by default all. login: username and password."""
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str]] = []
        self._is_ready = threading.Event()
        name = f"subscriber-{next(_NUMBERS)}"
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_subscribe = lambda *_: self._is_ready.set()
        self.client.on_message = self._keep
        if login:
            self.client.username_pw_set(login["username"], login["password"])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        eventually(self.client.is_connected)
        self.client.subscribe([(topic, 1) for topic in topics or ("#",)])
        assert self._is_ready.wait(DEADLINE_S)

    def _keep(self, client: Any, _: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload.decode()))

    def on(self, topic: str) -> list[str]:
        """All payloads on this topic so far."""
        return [payload for name, payload in list(self.messages) if name == topic]

    def states(self, topic: str) -> list[str]:
        """Payloads without repetitions: what is retained may be told again at any time."""
        return [payload for payload, _ in itertools.groupby(self.on(topic))]

    def latest(self) -> dict[str, str]:
        """The last payload of each topic that was not taken back."""
        return {topic: payload for topic, payload in dict(list(self.messages)).items() if payload}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def retained(port: int, topic: str = "#") -> dict[str, str]:
    """What the broker keeps, as somebody who comes now is told."""
    subscriber = Subscriber(port, topic, "end")
    subscriber.client.publish("end", qos=1)  # comes after all that is retained
    eventually(lambda: subscriber.on("end"))
    subscriber.close()
    return {name: payload for name, payload in subscriber.messages if name != "end"}
