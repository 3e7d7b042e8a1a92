"""Payloads of GPSLogger with our template."""

from __future__ import annotations

from tests.intake.payloads.case import FORM, Case, fix
from tests.intake.phones import ISO, SECONDS

LOGGER = (
    f"lat=53.3566&lon=-6.3285&time={SECONDS}&s=3.1&acc=4.7&alt=21.5&batt=81.0&dir=184.0"
)
LOGGED = fix(accuracy=4.7, altitude=21.5, speed=3.1, heading=184, battery=81)
CASES = [
    Case(
        "gpslogger, our template",
        "/intake/gpslogger/",
        LOGGER.encode(),
        headers=FORM | {"Authorization": "Basic BASIC"},
        stored=(LOGGED,),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, by GET",
        f"/intake/gpslogger/TOKEN/?{LOGGER}",
        method="GET",
        stored=(LOGGED,),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, empty values",
        "/intake/gpslogger/TOKEN",
        f"lat=53.3566&lon=-6.3285&time={ISO}&s=&acc=&alt=&batt=&dir=".encode(),
        headers=FORM,
        stored=(fix(),),
        app="GPSLogger",
    ),
    Case(
        "gpslogger, 0.0, 0.0",
        "/intake/gpslogger/TOKEN",
        f"lat=0.0&lon=0.0&time={ISO}".encode(),
        headers=FORM,
        app="GPSLogger",
        reply=b"Refused: 0, 0 is not a position: phones send it before they "
        b"have one.\n",
        reasons={"position.invalid": 1},
    ),
    Case(
        "gpslogger, wrong password",
        "/intake/gpslogger/",
        LOGGER.encode(),
        headers=FORM | {"Authorization": "Basic Ym9iOndyb25n"},
        status=401,
        reply=b"This token is unknown or was revoked. Ask for a new one.\n",
    ),
]
