"""The database: runners, followers, positions, races."""

from runners.models.api_key import ApiKey
from runners.models.entry import Entry, Split
from runners.models.follow import Follow
from runners.models.news import Alert, ArrivalAlert, Delivery, News, Subscription
from runners.models.phone import Phone
from runners.models.position import LatestPosition, Position
from runners.models.race import Checkpoint, Race, Wave
from runners.models.race_map import MapTile, RaceMap
from runners.models.race_role import Invitation, RaceRole
from runners.models.rights import RightsChange
from runners.models.runner import Runner, RunnerToken
from runners.models.share import LinkViewers, Pause, ShareLink, Zone
from runners.models.sos import Contact, Sos
from runners.models.suppression import SuppressedAddress
from runners.models.timing import Chip, Passing, Station
from runners.models.webhook import Webhook, WebhookMessage

__all__ = [
    "Alert",
    "ApiKey",
    "ArrivalAlert",
    "Checkpoint",
    "Chip",
    "Contact",
    "Delivery",
    "Entry",
    "Follow",
    "Invitation",
    "LatestPosition",
    "LinkViewers",
    "MapTile",
    "News",
    "Passing",
    "Pause",
    "Phone",
    "Position",
    "Race",
    "RaceMap",
    "RaceRole",
    "RightsChange",
    "Runner",
    "RunnerToken",
    "ShareLink",
    "Sos",
    "Split",
    "Station",
    "Subscription",
    "SuppressedAddress",
    "Wave",
    "Webhook",
    "WebhookMessage",
    "Zone",
]
