"""Clients that openapi-python-client made, with a server: `URL TOKEN KEY`."""

import sys
from datetime import UTC, datetime

import httpx
import live_client
import organisers_client
from live_client.api.intake import publish_one_fix
from live_client.api.live import get_snapshot
from live_client.models import GetSnapshotResponse200
from organisers_client.api.races import list_races, write_race
from organisers_client.models import ProblemBody, RaceIn, RacePage

url, token, key = sys.argv[1:]
# Of httpx, it is 5 s; a loaded machine needs longer.
patience = httpx.Timeout(120)
public = live_client.Client(url, timeout=patience)
assert publish_one_fix.sync(token, client=public, lat=48.5, lon=2.0) is not None
snapshot = get_snapshot.sync(client=public, runners="generated")
assert isinstance(snapshot, GetSnapshotResponse200)
assert snapshot.runners[0].fix is not None

office = organisers_client.AuthenticatedClient(url, key, timeout=patience)
race = RaceIn("Spring run", datetime(2027, 4, 3, 10, tzinfo=UTC))
assert write_race.sync("python", client=office, body=race) is not None
page = list_races.sync(client=office)
assert isinstance(page, RacePage)
assert "python" in [race.slug for race in page.items]
stranger = organisers_client.AuthenticatedClient(url, "wrong", timeout=patience)
assert isinstance(list_races.sync(client=stranger), ProblemBody)
