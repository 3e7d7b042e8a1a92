"""Kill the server and restart an MQTT broker at random moments while phones publish.

Every position that the broker acked is in the database exactly once, and phones send
the others again. The long form, 20 times on SQLite and 20 on PostgreSQL, kills the
broker as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from tests.background import in_background
from tests.factories.people import make_phones
from tests.faults.by_hand import by_hand
from tests.faults.comparison import PhonesReport
from tests.faults.randomness import new_rng, rng
from tests.faults.stores import (
    STORES,
    Store,
    acked,
    not_as_acked,
    started,
    stored_in,
    tracebacks,
)
from tests.intake.mqtt_phones import MqttPhone
from tests.services import Mosquitto
from tests.waiting import eventually

PHONE_COUNT = 4
# Per phone.
FIXES_PER_S = 20.0
# Time from a start to the next kill.
LIFETIME_S = (0.1, 1.0)
# Limit of the time until all positions are acked and stored in the end.
STORED_TIMEOUT_S = 120.0


@dataclass
class MqttReport(PhonesReport):
    store: str
    server_kills: int = 0
    broker_restarts: int = 0
    seconds: float = 0.0


async def mqtt(store: Store, long: bool) -> MqttReport:
    """Kill one of both repeatedly under load; compare what was acked and stored."""
    report = MqttReport(store)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Mosquitto())
        server = stack.enter_context(started(store, SPECTATE_MQTT_URL=broker.url))
        tokens = await server.adatabase(make_phones, PHONE_COUNT)
        # A broker keeps nothing for a server that has not yet subscribed.
        await eventually(lambda: "Receiving positions by MQTT" in server.log)
        phones = [
            stack.enter_context(MqttPhone(broker, *phone)) for phone in tokens.items()
        ]
        url = server.env["DATABASE_URL"]
        start = time.monotonic()
        async with in_background(*map(_publish, phones)):
            for number in range(20 if long else 2):
                before = acked(phones)
                while acked(phones) == before:  # until it is under load again
                    await asyncio.sleep(0.02)
                # Each at least once, then either.
                is_server = not number or (number > 1 and rng.random() < 0.5)
                # Mosquitto acks before it writes: what it loses has left for a server
                # that is connected and has caught up.
                while not is_server and stored_in(url).fixes < before:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(rng.uniform(*LIFETIME_S))
                if is_server:
                    report.server_kills += 1
                    server.kill()
                    await asyncio.to_thread(server.start)
                    continue
                report.broker_restarts += 1
                if long:
                    broker.kill()
                else:
                    broker.stop()
                await asyncio.to_thread(broker.start)
        report.made = sum(len(phone.made) for phone in phones)
        deadline = time.monotonic() + STORED_TIMEOUT_S
        while time.monotonic() < deadline and not (
            report.made == acked(phones) == stored_in(url).fixes
        ):
            await asyncio.sleep(0.1)
        report.seconds = round(time.monotonic() - start, 1)
        server.stop()
        stored = stored_in(url)
        report.acked, report.stored = acked(phones), stored.fixes
        report.wrong = not_as_acked(phones, stored) + tracebacks(server)
    return report


async def _publish(phone: MqttPhone) -> None:
    """Publish a position at a steady rate; OwnTracks' times are seconds."""
    random = new_rng()
    t = int(time.time()) - 10_000
    while True:
        t += 1
        phone.locate(t, (round(random.uniform(40, 60), 5), 2.5))
        await asyncio.sleep(random.uniform(0, 2 / FIXES_PER_S))


if __name__ == "__main__":
    by_hand(mqtt, STORES)
