"""The settings file that GPSLogger downloads from the link on the page of phones."""

from __future__ import annotations

import re

from django.conf import settings

from runners.intake.app import Reply
from runners.intake.gpslogger import TEMPLATE

# The app names its profile after the file.
PROFILE_FILE = "spectate.properties"
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")


def gpslogger_profile(token: str) -> Reply:
    """Return the settings for a token.

    The token is not looked up: the client has sent it, and the settings contain nothing
    else.
    """
    if not TOKEN.fullmatch(token):
        return Reply(404, b"There is no such token.\n")
    lines = (
        "log_customurl_enabled=true",
        f"log_customurl_url={settings.PUBLIC_URL}/intake/gpslogger/",
        "log_customurl_method=POST",
        f"log_customurl_body={TEMPLATE}",
        "log_customurl_basicauth_username=spectate",
        f"log_customurl_basicauth_password={token}",
        # Positions that cannot be sent are queued.
        "log_customurl_discard_offline_locations_enabled=false",
        "log_satellite_locations=true",
        "log_network_locations=false",
        "time_before_logging=5",
        "distance_before_logging=0",
        "accuracy_before_logging=60",
        "keep_fix=true",
    )
    return Reply(200, ("\n".join(lines) + "\n").encode())
