"""A race as one file, to keep it or to take it to another installation.

JSON, a line each, packed by gzip: `zcat FILE` shows it. The first line says
`{"spectate": "race", "format": 1}`, each of the others is an object with one key, its
kind, in this order: `race`, `wave`, `checkpoint`, `runner`, `entry`, `split`, `track`,
`end`. Runners are known by their codes, waves by their names, checkpoints by an `id` of
the file's own.

It holds what the race showed. What is the runners' own stays where it is: accounts,
tokens, followers, zones, and where they were outside the race. Whoever has not accepted
an entry is left out, since nobody would know any more that they have not.
"""

FORMAT = 1
KINDS = ("race", "wave", "checkpoint", "runner", "entry", "split", "track", "end")

# The fields that are copied without conversion, by kind.
RACE = (
    *("slug", "name", "start", "ends", "timezone", "line", "length", "top_speed"),
    "visibility",
)
WAVE = ("name", "start")
CHECKPOINT = ("name", "distance", "kind")
RUNNER = ("code", "name", "colour", "visibility", "cheers", "sharing_ends_at")
ENTRY = (
    *("bib", "category", "status", "accepted", "started_at", "finished_at"),
    "out_at",
)
SPLIT = ("pass_number", "time", "uncertainty", "by_hand")
# The fields of a fix in a track, in this order. The time is in milliseconds since the
# epoch.
FIX = (
    *("recorded_at", "lat", "lng", "accuracy", "altitude", "speed", "heading"),
    *("battery", "progress", "source", "held"),
)
