"""MQTT discovery of Home Assistant: a device for each stream, with a sensor for each label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


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
        """Where the description of one sensor belongs; component: binary_sensor or sensor."""
        return f"{self.prefix}/{component}/{self.node}/{slug}/config"

    def sound(self, label: str, slug: str, state_topic: str) -> str:
        """The description of a label that sounds (ON) or not (OFF)."""
        return self._sensor(label, slug, state_topic, device_class="sound")

    def level(self, slug: str, state_topic: str) -> str:
        """The description of the level."""
        fields = {"unit_of_measurement": "dBFS", "state_class": "measurement"}
        return self._sensor("Level", slug, state_topic, entity_category="diagnostic", **fields)

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
