"""The check of the MQTT broker: its address, and the account of this server."""

from __future__ import annotations

import queue
import secrets
from collections.abc import Iterator

from django.conf import settings
from paho.mqtt.reasoncodes import ReasonCode

from runners.intake.mqtt import KEEPALIVE_S, broker_address, new_client
from runners.management.checkup.problem import Problem

# How long the broker may take for its reply.
PATIENCE_S = 10.0


def check_broker() -> Iterator[str | Problem]:
    """Check that the broker is reachable and accepts the account of this server."""
    if not settings.SPECTATE_MQTT_URL:
        yield "none: SPECTATE_MQTT_URL is not set"
        return
    host, port = broker_address()
    try:
        reply = login(host, port)
    except (OSError, queue.Empty) as error:
        reason = str(error) or f"no reply in {PATIENCE_S:.0f} s"
        raise Problem(
            f"The MQTT broker at {host}:{port} cannot be reached: {reason}.",
            "Is it running, and are the host, the port and the certificate right "
            "(SPECTATE_MQTT_URL)?",
        ) from error
    if reply.is_failure:
        raise Problem(
            f"The MQTT broker at {host}:{port} refuses this server: {reply}.",
            "Are the name and the password in SPECTATE_MQTT_URL those of its account "
            "at the broker (docs/mqtt.md)?",
        )
    yield f"{host}:{port} accepts this server"


def login(host: str, port: int) -> ReasonCode:
    """Log in to the broker and return its reply.

    Raises `OSError`, or `queue.Empty` if there is no reply.
    """
    replies: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
    # Not the name of the server's session, which this would take over.
    client = new_client(f"spectate-doctor-{secrets.token_hex(8)}")
    client.on_connect = lambda client, data, flags, reply, props: replies.put(reply)
    client.connect(host, port, KEEPALIVE_S)
    client.loop_start()
    try:
        return replies.get(timeout=PATIENCE_S)
    finally:
        client.disconnect()
        client.loop_stop()
