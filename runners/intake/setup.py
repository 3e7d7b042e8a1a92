"""The set-up of each app for a race: links, QR codes and manual steps.

The apps' own defaults save battery; these settings report a position every few seconds.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import segno
from django.conf import settings
from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from runners.intake.gpslogger import TEMPLATE as GPSLOGGER_TEMPLATE
from runners.intake.profile import PROFILE_FILE
from runners.intake.traccar import ATTRIBUTE

# The interval and the distance of a phone's reports.
INTERVAL_S = 5
DISTANCE_M = 10
HEARTBEAT_S = 60


@dataclass(frozen=True, slots=True)
class Setup:
    """The content of the page of phones for one app, including the runner's token.

    `link` opens and configures the app on the phone that shows the page; `code` is the
    content of the QR code, for a different phone. `values` are (label, value) to enter
    or to compare.
    """

    link: str
    code: str
    values: Sequence[tuple[str, str]]

    @property
    def drawn(self) -> segno.QRCode:
        return segno.make(self.code, error="l", micro=False)

    @property
    def qr(self) -> SafeString:
        """Return the QR code as an SVG."""
        # Generated here. The text is not part of the SVG.
        return mark_safe(  # noqa: S308
            self.drawn.svg_inline(
                border=4, omitsize=True, svgclass="qr", lineclass=None
            )
        )


@dataclass(frozen=True, slots=True)
class PhoneApp:
    """An app that a runner can choose. `scan` names what reads its QR code."""

    key: str
    name: str | Promise
    phones: str | Promise
    home: str
    make: Callable[[str, str], Setup]
    scan: str | Promise
    steps: Sequence[str | Promise]


def address(door: str, token: str = "") -> str:
    """Return the absolute URL of an endpoint."""
    path = f"{token}/" if token else ""
    return f"{settings.PUBLIC_URL}/intake/{door}/{path}"


def owntracks(code: str, token: str) -> Setup:
    config = {
        "_type": "configuration",
        "mode": 3,  # HTTP
        "url": address("owntracks"),
        "auth": True,
        "username": code,
        "password": token,
        "deviceId": "phone",
        "tid": code[-2:].rjust(2, "0"),
        "monitoring": 2,  # move
        "locatorInterval": INTERVAL_S,
        "locatorDisplacement": DISTANCE_M,
    }
    packed = base64.b64encode(json.dumps(config, separators=(",", ":")).encode())
    link = f"owntracks:///config?inline={quote(packed.decode(), safe='')}"
    values = [
        ("Mode", "HTTP"),
        ("URL", config["url"]),
        ("User", code),
        ("Password", token),
        ("Monitoring", "Move"),
    ]
    return Setup(link, link, [(label, str(value)) for label, value in values])


def overland(code: str, token: str) -> Setup:
    url = address("overland")
    link = "overland://setup?" + urlencode(
        {"url": url, "token": token, "device_id": code}
    )
    values = [
        ("Receiver endpoint", url),
        ("Access token", token),
        ("Desired accuracy", "Best"),
        ("Activity type", "Fitness"),
        ("Pause updates automatically", "Off"),
        ("Send interval", "10 s"),
    ]
    return Setup(link, link, values)


def traccar_client(code: str, token: str) -> Setup:
    url = address("osmand", token)
    race = {
        "id": code,
        "accuracy": "highest",
        "distance": DISTANCE_M,
        "interval": INTERVAL_S,
        "fastest_interval": INTERVAL_S,
        "heartbeat": HEARTBEAT_S,
        "buffer": "true",
        "wakelock": "true",
        "stop_detection": "false",
        "service": "true",
    }
    values = [
        ("Server URL", url),
        ("Location accuracy", "Highest"),
        ("Distance", f"{DISTANCE_M} m"),
        ("Interval", f"{INTERVAL_S} s"),
        ("Fastest interval", f"{INTERVAL_S} s"),
        ("Heartbeat", f"{HEARTBEAT_S} s"),
        ("Offline buffering", "On"),
        ("Stop detection", "Off"),
    ]
    return Setup(
        f"org.traccar.client://config?{urlencode({'url': url} | race)}",
        # The app takes the part of a web address before the question mark as its
        # server.
        f"{url}?{urlencode(race)}",
        values,
    )


def osmand(code: str, token: str) -> Setup:
    url = (
        address("osmand", token) + "?lat={0}&lon={1}&timestamp={2}&hdop={3}"
        "&altitude={4}&speed={5}&bearing={6}&unit=mps"
    )
    values = [
        ("Web address", url),
        ("Tracking interval", f"{INTERVAL_S} s"),
        ("Time buffer", "As long as possible"),
    ]
    return Setup("", url, values)


def gpslogger(code: str, token: str) -> Setup:
    profile = f"{settings.PUBLIC_URL}/intake/gpslogger/{token}/{PROFILE_FILE}"
    link = f"gpslogger://properties/{profile}"
    values = [
        ("URL", address("gpslogger")),
        ("HTTP method", "POST"),
        ("HTTP body", GPSLOGGER_TEMPLATE),
        ("User", code),
        ("Password", token),
        ("Logging interval", f"{INTERVAL_S} s"),
        ("Keep GPS on between fixes", "On"),
        ("Discard offline locations", "Off"),
    ]
    return Setup(link, link, values)


def traccar_server(code: str, token: str) -> Setup:
    values = [
        ("In traccar.xml", "<entry key='forward.type'>json</entry>"),
        ("and", f"<entry key='forward.url'>{address('traccar')}</entry>"),
        ("Attribute of the device", ATTRIBUTE),
        ("Its value", token),
    ]
    return Setup("", token, values)


def generic(code: str, token: str) -> Setup:
    url = address("generic", token)
    values = [
        ("URL", url),
        ("Fields", "lat, lon, timestamp, acc, alt, bat, speed (m/s), bearing"),
        ("As", "query string, form or JSON; several as a JSON list"),
    ]
    return Setup("", url, values)


def browser(code: str, token: str) -> Setup:
    # The part after # stays in the browser: no server and no log gets it.
    link = f"{settings.PUBLIC_URL}/share/#token={token}"
    return Setup(link, link, [("Address", link)])


_CAMERA = _("the phone's camera")
_ALWAYS = _("Allow the app to use the precise location always.")
_BATTERY = _("Exclude the app from battery saving.")

PHONE_APPS = {
    app.key: app
    for app in (
        PhoneApp(
            "owntracks",
            "OwnTracks",
            _("iPhone and Android"),
            "https://owntracks.org/",
            owntracks,
            _CAMERA,
            (_ALWAYS, _BATTERY, _("Keep the app in Move mode.")),
        ),
        PhoneApp(
            "overland",
            "Overland",
            "iPhone",
            "https://overland.p3k.app/",
            overland,
            _CAMERA,
            (
                _ALWAYS,
                _(
                    "Set accuracy, activity and pauses as shown below. The link "
                    "cannot set these."
                ),
                _("Switch tracking on."),
            ),
        ),
        PhoneApp(
            "traccar",
            "Traccar Client",
            _("iPhone and Android"),
            "https://www.traccar.org/client/",
            traccar_client,
            _("the app: Settings, then the QR symbol"),
            (_ALWAYS, _BATTERY, _("Switch continuous tracking on.")),
        ),
        PhoneApp(
            "gpslogger",
            "GPSLogger",
            "Android",
            "https://gpslogger.app/",
            gpslogger,
            _("an app for QR codes"),
            (_ALWAYS, _BATTERY, _("Choose the profile spectate and start logging.")),
        ),
        PhoneApp(
            "osmand",
            "OsmAnd",
            _("iPhone and Android"),
            "https://osmand.net/",
            osmand,
            _("an app for QR codes, to copy the address"),
            (
                _("Switch the plug-in Trip recording on."),
                _("Paste the address below under Online tracking, Web address."),
                _ALWAYS,
                _BATTERY,
                _("Start recording with online tracking."),
            ),
        ),
        PhoneApp(
            "browser",
            _("Browser"),
            _("any phone, while its screen is on"),
            "",
            browser,
            _CAMERA,
            (
                _("Allow the page to use the precise location."),
                _(
                    "Press Start and keep the page visible. It shows which positions "
                    "have arrived."
                ),
            ),
        ),
        PhoneApp(
            "tracker",
            _("Hardware tracker"),
            _("behind a Traccar server"),
            "https://www.traccar.org/",
            traccar_server,
            _("an app for QR codes, to copy the token"),
            (
                _(
                    "Configure the Traccar server to forward its positions here, as "
                    "shown below."
                ),
                _("Add the attribute below to the device in Traccar."),
            ),
        ),
        PhoneApp(
            "generic",
            _("Something else"),
            _("anything that can send HTTP"),
            "",
            generic,
            _("an app for QR codes, to copy the address"),
            (_("Configure it to send its position to the address below."),),
        ),
    )
}
