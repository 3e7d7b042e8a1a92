"""What is kept: who runs, who follows, where they were, which race it was."""

from runners.models.follow import Follow
from runners.models.phone import Phone
from runners.models.position import LatestPosition, Position
from runners.models.race import Checkpoint, Entry, Race, Split, Wave
from runners.models.rights import RightsChange
from runners.models.runner import Runner, RunnerToken
from runners.models.share import LinkViewers, Pause, ShareLink, Zone

__all__ = [
    "Checkpoint",
    "Entry",
    "Follow",
    "LatestPosition",
    "LinkViewers",
    "Pause",
    "Phone",
    "Position",
    "Race",
    "RightsChange",
    "Runner",
    "RunnerToken",
    "ShareLink",
    "Split",
    "Wave",
    "Zone",
]
