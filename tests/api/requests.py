"""HTTP requests of programs, and reports of phones."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

from runners.intake.values import KNOWN_NAMES
from runners.serving.bodies import BODY_LIMIT_BYTES
from tests.api.capture import Capture
from tests.factories.people import Keys

JSON = {"Content_Type": "application/json"}
FORM = {"Content_Type": "application/x-www-form-urlencoded"}
# Every name of a field, in the query of one position.
ALL_NAMES = "&".join(f"{name}=1" for name in sorted(KNOWN_NAMES))
# Paths of responses about a race.
RACE_PATHS = (
    "eta.json?at=9000",
    "standings.json",
    "standings.csv",
    "replay.json?from=0",
)
COURSE_PATHS = ("course.gpx", "course.geojson")


class Requests:
    """Sends requests whose responses are captured."""

    def __init__(self, capture: Capture, keys: Keys) -> None:
        self.request = capture.request
        self.tokens, self.links = keys.tokens, keys.links

    async def request_all(self) -> None:
        """Send every request that a healthy server replies to."""
        await self.publish()
        await self.report_as_apps()
        await self.request_live_data()
        await self.request_races()
        await self.request_by_a_guessed_link()
        await self.request_health()

    async def publish(self) -> None:
        bearer = {"Authorization": f"Bearer {self.tokens['eve']}"}
        path = f"/intake/generic/{self.tokens['eve']}/"
        fix = {"lat": 48, "lon": 2.5, "acc": 5, "alt": 35, "speed": 3, "bearing": 9}
        now = time.time()
        await self.request(
            "/intake/generic/", method="POST", body=json.dumps(fix), **JSON, **bearer
        )
        refused = [
            fix | {"batt": 81, "timestamp": now},
            fix | {"lat": 50, "lon": 3},
            fix | {"timestamp": now + 900},
            fix | {"timestamp": now - 2.5 * 3600},
            fix | {"timestamp": now - 48 * 3600},
            {key: str(value) for key, value in fix.items()} | {"timestamp": "never"},
        ]
        answer = await self.request(
            path, method="POST", body=json.dumps(refused), **JSON
        )
        assert json.loads(answer.body)["stored"] == 1
        await self.request(path, method="POST", body="lat=48&lon=2&batt=80", **FORM)
        await self.request(path, method="POST", body="[", **JSON)
        await self.request(path, method="POST", body=json.dumps([fix] * 10_001), **JSON)
        one = "lat=48&lon=2&timestamp=2026-01-01T00:00Z&acc=5&alt=3&speed=1&bearing=9"
        await self.request(f"{path}?{one}&batt=80")
        await self.request(f"/intake/generic/?{ALL_NAMES}&token={self.tokens['eve']}")
        await self.request("/intake/generic/", body="<gpx/>", **bearer)
        for app, more in (
            *(("gpslogger", ""), ("osmand", "&unit=mps&valid=0")),
            ("traccar", "&valid=0&attributes={}"),
        ):
            await self.request(f"/intake/{app}/{self.tokens['eve']}/?{ALL_NAMES}{more}")
        for app, method in (
            ("gpslogger", "POST"),
            ("gpslogger", "PUT"),
            ("osmand", "POST"),
        ):
            address = f"/intake/{app}/{self.tokens['eve']}/?{ALL_NAMES}"
            await self.request(address, method=method)
        await self.request(path, body="<gpx/>")
        await self.request(
            "/intake/generic/", method="POST", body="[", **JSON, **bearer
        )
        # A token that has ended: replies to guesses are delayed longer each time.
        ended = f"/intake/generic/{self.tokens['gone']}/"
        await self.request(ended)
        await self.request(ended, method="POST", body="lat=48&lon=2", **FORM)
        await self.request("/intake/generic/?token=", method="POST")
        # A separate token, so that later requests are not limited.
        fast = f"/intake/generic/{self.tokens['phony']}/"
        for _ in range(2):
            many = json.dumps([fix | {"timestamp": now - n} for n in range(700)])
            await self.request(fast, method="POST", body=many, **JSON)

    async def report_as_apps(self) -> None:
        token, ended = self.tokens["8"], self.tokens["gone"]
        t = int(time.time())
        place = {"_type": "location", "lat": 48, "lon": 2, "tst": t}
        basic = base64.b64encode(f"bob:{token}".encode()).decode()
        feature = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [2, 48]},
            "properties": {"timestamp": "2026-01-01T00:00:00Z"},
        }
        nowhere: dict[str, Any] = {"geometry": {"coordinates": []}, "properties": {}}
        fields = f"lat=48&lon=2&time={t}&s=3&acc=5&alt=35&batt=81&dir=9"
        location = {"location": {"coords": {"latitude": 48, "longitude": 2}}}
        position = {"position": {"latitude": 48, "longitude": 2, "fixTime": t}}
        for name, body, type_ in (
            ("owntracks", json.dumps(place), JSON),
            ("owntracks", json.dumps([place]), JSON),
            ("overland", json.dumps({"locations": [feature]}), JSON),
            ("overland", json.dumps({"locations": [feature, nowhere]}), JSON),
            ("overland", "[", JSON),
            ("overland", json.dumps({"locations": [nowhere] * 10_001}), JSON),
            ("osmand", json.dumps(location), JSON),
            ("osmand", fields, FORM),
            ("gpslogger", fields, FORM),
            ("gpslogger", "lat=&lon=", FORM),
            ("traccar", json.dumps(position), JSON),
        ):
            for own in (token, ended):
                path = f"/intake/{name}/{own}/"
                await self.request(path, method="POST", body=body, **type_)
        await self.request(
            "/intake/generic/",
            **{"method": "POST", "body": json.dumps([{"lat": "48", "lon": "2"}])},
            **JSON,
            Authorization=f"Basic {basic}",
        )
        osmand = f"lat=48&lon=2&timestamp={t}&unit=mps"
        await self.request(f"/intake/osmand/{token}/?{osmand}")
        await self.request(f"/intake/osmand/{ended}/?{osmand}")
        await self.request(f"/intake/gpslogger/{token}/spectate.properties")
        await self.request("/intake/gpslogger/no+token/spectate.properties")

    async def request_live_data(self) -> None:
        await self.request("/live.json?public=1&race=ten,city,plain,nowhere")
        await self.request("/live.json?runners=7,8,bob,nobody,a+b&since=1")
        await self.request("/live.json?runners=many&since=1")
        await self.request("/live.json?since=never")
        await self.request_by_links("/live.json")
        for track in ("track.json?since=1", "track.json?detail=5", "track.gpx"):
            answer = await self.request(f"/runners/7/{track}")
            etag = answer.headers["etag"]
            await self.request(f"/runners/7/{track}", If_None_Match=etag)
            await self.request(f"/runners/nobody/{track}")
            await self.request(
                f"/runners/linked/{track}",
                Spectate_Share=self.links["locked"],
                Spectate_Share_Pin="1234",
            )
        await self.request("/runners/eve/track.json")
        await self.request("/runners/7/track.json?since=never")

    async def request_races(self) -> None:
        now = time.time_ns() // 1_000_000
        await self.request("/races/ten/eta.json?at=9000")
        named = (
            "first,second,slow,waiting,silent,astray,finished,dnf,dns,dsq,nobody,a+b"
        )
        await self.request(f"/races/ten/eta.json?at=48.081,2.0&runners={named}")
        await self.request("/races/ten/eta.json?at=10,20")
        await self.request("/races/ten/eta.json?at=nowhere")
        await self.request("/races/plain/eta.json?at=0")
        for course in COURSE_PATHS:
            await self.request(f"/races/ten/{course}")
            await self.request(f"/races/plain/{course}")
        await self.request("/races/ten/course.gpx", body=bytes(BODY_LIMIT_BYTES + 1))
        for query in (
            "splits=1&rows=50",
            "brief=1&rows=50",
            "by=chip&category=W40&wave=Elite&club=Mill&q=first&from=1",
            "by=gun&category=M",
        ):
            await self.request(f"/races/ten/standings.json?{query}")
        await self.request(
            "/races/ten/standings.csv?by=chip&category=W40&wave=Elite&q=fir"
        )
        await self.request("/races/ten/standings.json?runners=ann,bob")
        await self.request("/races/plain/standings.json")
        await self.request("/races/ten/standings.json?by=sun")
        await self.request("/races/ten/standings.csv?by=sun")
        await self.request(f"/races/ten/replay.json?from={now - 600_000}")
        await self.request(f"/races/plain/replay.json?from={now - 600_000}")
        await self.request("/races/ten/replay.json")
        for answer in RACE_PATHS + COURSE_PATHS:
            await self.request(f"/races/nowhere/{answer}")
            await self.request_by_links(f"/races/ten/{answer}")

    async def request_by_links(self, path: str) -> None:
        for link in ("expired", "revoked", "locked", "none"):
            await self.request(path, Spectate_Share=self.links.get(link, link))
        await self.request(
            path, Spectate_Share=self.links["locked"], Spectate_Share_Pin="1234"
        )

    async def request_by_a_guessed_link(self) -> None:
        """Try PINs until the link is locked, then send each request with the link."""
        link = self.links["guessed"]
        for guess in range(10):
            pin = f"{guess:06}"
            await self.request(
                "/live.json", Spectate_Share=link, Spectate_Share_Pin=pin
            )
        for path in (
            *("/live.json", "/runners/7/track.json", "/runners/7/track.gpx"),
            *("/races/ten/eta.json?at=0", "/races/ten/replay.json?from=0"),
            *("/races/ten/standings.json", "/races/ten/standings.csv"),
            *("/races/ten/course.gpx", "/races/ten/course.geojson"),
        ):
            await self.request(path, Spectate_Share=link, Spectate_Share_Pin="473829")

    async def request_health(self) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            await self.request(path)

    async def request_without_database(self) -> None:
        """Send requests while the database is unavailable."""
        # Otherwise this second's reads would be served from the cache.
        await asyncio.sleep(1.1)
        for path in (
            "/live.json?public=1",
            "/runners/7/track.json",
            "/runners/7/track.gpx",
            *(f"/races/ten/{answer}" for answer in RACE_PATHS),
        ):
            assert (await self.request(path)).status == 503, path
        await self.request(
            f"/intake/generic/{self.tokens['full']}/",
            **{"method": "POST", "body": "lat=48&lon=2"},
            **FORM,
        )

    async def request_during_drain(self) -> None:
        assert (await self.request("/readyz")).status == 503
