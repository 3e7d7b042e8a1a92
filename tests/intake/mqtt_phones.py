"""Phones that publish by MQTT as OwnTracks does, and remember what was acked."""

from __future__ import annotations

import json
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.services import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

Place = tuple[float, float]


class MqttPhone:
    """A phone with a persistent session; paho sends unacked messages again."""

    def __init__(self, broker: Mosquitto, code: str, token: str) -> None:
        self.code = code
        self.topic = f"owntracks/phones/{token}"
        self.made: dict[int, Place] = {}
        # What this phone has received, and the broker's answers to subscriptions.
        self.received: list[MQTTMessage] = []
        self.granted: list[int] = []
        # Ids of messages, which are not used twice before 65,535 messages.
        self._times: dict[int, int] = {}
        self._acked: set[int] = set()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"phone-{code}",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.username_pw_set("phones", broker.password)
        client.reconnect_delay_set(1, 1)
        client.max_queued_messages_set(0)
        client.on_publish = lambda client, data, mid, reason, properties: (
            self._acked.add(mid)
        )
        client.on_message = lambda client, data, message: self.received.append(message)
        client.on_subscribe = lambda client, data, mid, reasons, properties: (
            self.granted.extend(reason.value for reason in reasons)
        )
        client.connect("127.0.0.1", broker.port)
        client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def acked(self) -> set[int]:
        """Return the times of positions that the broker has acked, in milliseconds."""
        return {t for mid, t in list(self._times.items()) if mid in self._acked}

    def subscribe(self, topic: str) -> None:
        """Subscribe to a topic and wait for the broker's answer."""
        self._client.subscribe(topic, qos=1)
        wait_until(lambda: self.granted)

    def locate(self, t: int, place: Place, **more: Any) -> None:
        """Publish a position of this time, in seconds; returns before the ack."""
        self.made[t * 1000] = place
        lat, lng = place
        location = {"_type": "location", "tst": t, "lat": lat, "lon": lng, "batt": 64}
        info = self._client.publish(self.topic, json.dumps(location), qos=1, **more)
        self._times[info.mid] = t * 1000

    def send(self, payload: Any, **more: Any) -> None:
        """Publish anything and wait for the broker's ack."""
        info = self._client.publish(self.topic, json.dumps(payload), qos=1, **more)
        info.wait_for_publish(PATIENCE_S)
