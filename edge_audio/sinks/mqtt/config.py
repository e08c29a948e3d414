"""Settings of a connection to an MQTT broker."""

from __future__ import annotations

import socket
import ssl
from types import ModuleType
from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.sinks.level import check_level_every_s
from edge_audio.support.address import MAX_PORT, take_host_apart
from edge_audio.support.machine import machine_id
from edge_audio.support.paths import expand_fields
from edge_audio.support.plain_files import check_plain
from edge_audio.support.secrets import Secret, read_secret
from edge_audio.support.slugs import digest_of, topic_slug
from edge_audio.support.text import CONTROL

if TYPE_CHECKING:
    from paho.mqtt.client import Client

MAX_TOPIC_CHARS = 200
HOST_FIELD = "{host}"
SCHEMES = {"mqtt": False, "mqtts": True}  # whether it means TLS


class MqttConfig(Spec, frozen=True):
    """A broker, and where in its topics events belong.

    host: a name or an address; mqtt://HOST, mqtts://HOST (which is tls) and HOST:PORT do as well.
    port: by default 1883, with tls 8883.
    topic: what all topics begin with; {host} in it stands for the name of this machine, as no two
        may share one.
    client_id: by default made from topic and host name.
    password_env, password_file: a variable of the environment, or a file, that holds the password.
    ca_file: certificates to trust in place of the system's.
    discovery_prefix: under which Home Assistant looks for devices; empty = it is told nothing.
    buffer: events that wait while the broker is away. keepalive_s: silence after which the
        connection counts as lost. level_every_s: seconds between two levels, 0 = none.
    controls: whether others may choose the sensitivity and pause the run, over the broker.
    """

    host: str = "localhost"
    port: int | None = None
    topic: str = "edge-audio/{host}"
    client_id: str = ""
    username: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca_file: str | None = None
    discovery_prefix: str = "homeassistant"
    buffer: int = 1000
    keepalive_s: int = 30
    level_every_s: float = 10.0
    controls: bool = True

    def __post_init__(self) -> None:
        self._take_host_apart()
        if self.port is not None and not 1 <= self.port <= MAX_PORT:
            raise ValueError(f"need 1 <= port <= {MAX_PORT}")
        force_setattr(self, "topic", self.topic.replace(HOST_FIELD, host_slug()))
        _check_topic(self.topic, "topic")
        if self.discovery_prefix:
            _check_topic(self.discovery_prefix, "discovery_prefix")
        for text in (self.client_id, self.username or ""):
            if len(text) > MAX_TOPIC_CHARS or CONTROL.search(text):
                raise ValueError("client_id and username must be short, without control codes")
        expand_fields(self, "password_file", "ca_file")
        self._check_security()
        if not (1 <= self.buffer <= 1_000_000 and 1 <= self.keepalive_s <= 65_535):
            raise ValueError("need 1 <= buffer <= 1000000 and 1 <= keepalive_s <= 65535")
        check_level_every_s(self.level_every_s)

    def _take_host_apart(self) -> None:
        """Puts what stands beside the host into the fields that it belongs to."""
        scheme, host, port = take_host_apart(self.host, self.port, SCHEMES)
        force_setattr(self, "host", host)
        force_setattr(self, "port", port)
        if SCHEMES.get(scheme):
            force_setattr(self, "tls", True)

    def _check_security(self) -> None:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        has_password = self.password_env is not None or self.password_file is not None
        if has_password and self.username is None:
            raise ValueError("a password needs a username")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file belongs to tls = true")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (8883 if self.tls else 1883)

    @property
    def status_topic(self) -> str:
        """Says "online" or "offline"."""
        return f"{self.topic}/status"

    @property
    def presence_topic(self) -> str:
        """Where each that sends under `topic` says so, for the others to hear."""
        return f"{self.topic}/presence"

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says "online" when it needs to be told everything again."""
        return f"{self.discovery_prefix}/status" if self.discovery_prefix else ""


class ClientFactory:
    """Makes clients for one broker, each for one connection."""

    def __init__(self, config: MqttConfig) -> None:
        """Raises UsageError where paho-mqtt, the password or the certificates are missing."""
        self._mqtt = _import_paho()
        self._config = config
        self._password = read_secret(config.password_env, config.password_file)
        self._tls = _tls_context(config.ca_file) if config.tls else None
        self._id = config.client_id or default_client_id(config.topic)

    def __call__(self) -> Client:
        client: Client = self._mqtt.Client(
            self._mqtt.CallbackAPIVersion.VERSION2, self._id, reconnect_on_failure=False
        )
        config = self._config
        client.will_set(config.status_topic, "offline", qos=1, retain=True)
        if config.username is not None:
            client.username_pw_set(config.username, _revealed(self._password))
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client


def default_client_id(topic: str) -> str:
    """Of this machine and topic alone, as a broker throws out the first of two clients that have
    the same: two hosts may have one name (raspberrypi), and two topics one slug."""
    names = f"{topic_slug(topic)}-{host_slug()}"
    return f"{names}-{digest_of(f'{machine_id()} {topic}')}"


def host_slug() -> str:
    """The name of this machine, as it stands in topics."""
    return topic_slug(socket.gethostname()) or "unnamed"


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        check_plain(ca_file)
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # also that of OpenSSL, for a file without certificates
        raise UsageError(f"cannot use the certificates in {ca_file}: {error}") from error


def _import_paho() -> ModuleType:
    try:
        from paho.mqtt import client
    except ImportError as error:
        raise UsageError(
            "MQTT needs the paho-mqtt package: pip install 'edge-audio[mqtt]'"
        ) from error
    return client


def _check_topic(topic: str, what: str) -> None:
    """Raises ValueError unless a client may publish under `topic`."""
    is_plain = not (set("+#") & set(topic) or CONTROL.search(topic) or topic.startswith("$"))
    if not is_plain or not all(topic.split("/")) or len(topic) > MAX_TOPIC_CHARS:
        raise ValueError(
            f"{what} must have up to {MAX_TOPIC_CHARS} characters, without + and #, such as "
            "edge-audio/kitchen"
        )
