"""MQTT discovery of Home Assistant: a device for each stream, with a sensor for each label, an
event for all of them, and the latest sound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COMPONENTS = ("binary_sensor", "event", "sensor")  # of a stream
CONTROLS = ("select", "switch")  # of a run
_EVENT = (
    "{% if value_json.kind == 'start' %}"
    "{{ {'event_type': value_json.label, 'score': value_json.score} | tojson }}"
    "{% endif %}"
)
_LAST = "{{ value_json.label if value_json.kind == 'start' else this.state }}"


@dataclass(frozen=True)
class Discovery:
    """What Home Assistant is told about one stream.

    prefix: under which it looks for devices. status_topic: says whether the device is online.
    node: identifies the device, in the characters of slugs and "_". device: its name.
    """

    prefix: str
    status_topic: str
    node: str
    device: str

    def topic(self, component: str, slug: str) -> str:
        """Where the description of one sensor belongs; component: one of COMPONENTS or CONTROLS."""
        return f"{self.prefix}/{component}/{self.node}/{slug}/config"

    def sound(self, label: str, slug: str, state_topic: str) -> str:
        """The description of a label that sounds (ON) or not (OFF)."""
        return self._sensor(label, slug, state_topic, device_class="sound")

    def level(self, slug: str, state_topic: str) -> str:
        """The description of the level."""
        fields = {"unit_of_measurement": "dBFS", "state_class": "measurement"}
        return self._sensor("Level", slug, state_topic, entity_category="diagnostic", **fields)

    def events(self, slug: str, event_topic: str, labels: Sequence[str]) -> str:
        """The description of an entity that fires as one of the labels starts."""
        fields = {"event_types": list(labels), "value_template": _EVENT}
        return self._sensor("Sounds", slug, event_topic, **fields)

    def last(self, slug: str, event_topic: str) -> str:
        """The description of the sensor that has the label that started last."""
        return self._sensor("Last sound", slug, event_topic, value_template=_LAST)

    def choice(self, name: str, slug: str, topic: str, options: Sequence[str]) -> str:
        """The description of a setting that is one of several."""
        fields = {"command_topic": f"{topic}/set", "options": list(options)}
        return self._sensor(name, slug, topic, entity_category="config", **fields)

    def switch(self, name: str, slug: str, topic: str) -> str:
        """The description of what is ON or OFF."""
        return self._sensor(name, slug, topic, command_topic=f"{topic}/set")

    def _sensor(self, name: str, slug: str, state_topic: str, **fields: Any) -> str:
        description = {
            "name": name,
            "unique_id": f"{self.node}_{slug}",
            "state_topic": state_topic,
            "availability_topic": self.status_topic,
            "device": {"identifiers": [self.node], "name": self.device},
            "origin": {"name": "edge-audio"},
            **fields,
        }
        return json.dumps(description)
