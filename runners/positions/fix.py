"""A fix: a position at one moment."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from runners.live.encoding.fields import Latitude, Longitude, Time


class Fix(Struct, frozen=True, gc=False):
    """A position at one moment, as phones send it; unknown values are null."""

    t: Time
    lat: Latitude
    lng: Longitude
    accuracy: Annotated[float, Meta(description="Metres.", ge=0, le=1e7)] | None = None
    altitude: Annotated[float, Meta(description="Metres.", ge=-1e5, le=1e5)] | None = (
        None
    )
    speed: (
        Annotated[float, Meta(description="Metres per second.", ge=0, le=1e4)] | None
    ) = None
    heading: Annotated[float, Meta(description="Degrees.", ge=0, le=360)] | None = None
    battery: Annotated[float, Meta(description="Per cent.", ge=0, le=100)] | None = None
