"""Play a registration and timing system: `registration.py URL KEY [ENTRIES]`.

Creates a race, enters runners with tokens for their phones, sends times and prints the
results. A second run changes nothing and prints the same (docs/api.md).
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from math import cos, sin
from typing import Any

RACE = "/api/v1/races/spring-run"
START = datetime.fromisoformat("2027-04-03T10:00:00+02:00")
WAVES = {"Fast": START, "Fun": START + timedelta(minutes=10)}
TRACK = "".join(
    f'<trkpt lat="{48 + 0.02 * sin(n / 60)}" lon="{2 + 0.03 * cos(n / 60)}"/>'
    for n in range(370)
)
GPX = f'<gpx version="1.1" creator="us"><trk><trkseg>{TRACK}</trkseg></trk></gpx>'


def send(method: str, path: str, body: Any = None) -> Any:
    is_gpx = isinstance(body, str)
    text = body if is_gpx or body is None else json.dumps(body)
    data = None if text is None else text.encode()
    headers = {
        "Authorization": f"Bearer {sys.argv[2]}",
        "Content-Type": "application/gpx+xml" if is_gpx else "application/json",
    }
    request = urllib.request.Request(sys.argv[1] + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{method} {path}: {problem['code']}: {problem['detail']}")


send("PUT", RACE, {"name": "Spring run", "start": START.isoformat()})
send("PUT", f"{RACE}/course.gpx", GPX)
waves = [{"name": name, "start": start.isoformat()} for name, start in WAVES.items()]
send("PUT", f"{RACE}/waves", {"waves": waves})
entries, splits = [], []
for n in range(1, 1 + int(sys.argv[3] if len(sys.argv) > 3 else 2000)):
    wave = "Fun" if n % 2 else "Fast"
    entries.append({"bib": str(n), "name": f"Runner {n}", "wave": wave})
    time = (WAVES[wave] + timedelta(seconds=2400 + n)).isoformat()
    splits.append({"bib": str(n), "checkpoint": "Finish", "time": time})
done = send("POST", f"{RACE}/entries", {"entries": entries, "tokens": "missing"})
print(f"{len(done['tokens'])} tokens", file=sys.stderr)  # Send them to the runners.
send("POST", f"{RACE}/splits", {"splits": splits})
cursor = 0
while cursor is not None:
    page = send("GET", f"{RACE}/results?cursor={cursor}&limit=1000")
    for row in page["items"]:
        print(row["rank"], row["bib"], row["name"], row["status"], row["time"])
    cursor = page["next"]
