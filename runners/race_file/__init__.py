"""A race as one file, for backup or for a different installation.

docs/race_file.md describes the format.

It contains what the race has shown. It does not contain the runners' own data:
accounts, tokens, followers, zones and positions outside the race. Entries without their
runner's consent are omitted, because the importing installation could not know that.
"""

FORMAT = 1
KINDS = ("race", "wave", "checkpoint", "runner", "entry", "split", "track", "end")

# The fields that are copied without conversion, by kind.
RACE = (
    *("slug", "name", "start", "ends", "timezone", "line", "length", "top_speed"),
    *("visibility", "pacing"),
)
WAVE = ("name", "start")
CHECKPOINT = ("name", "distance", "kind")
RUNNER = ("code", "name", "colour", "visibility", "cheers", "sharing_ends_at")
ENTRY = (
    *("bib", "category", "club", "status", "accepted", "started_at", "finished_at"),
    *("out_at", "shows_estimate"),
)
SPLIT = ("pass_number", "time", "uncertainty", "by_hand", "by_mat", "by_file")
# The fields of a fix in a track, in this order. The time is in milliseconds since the
# epoch.
FIX = (
    *("recorded_at", "lat", "lng", "accuracy", "altitude", "speed", "heading"),
    *("battery", "progress", "source", "held"),
)
