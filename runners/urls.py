from __future__ import annotations

from django.urls import include, path, register_converter

from runners.api.documents import pages as api_pages
from runners.api.v1 import api
from runners.models.runner import CODE_PATTERN
from runners.views import (
    browser_phone,
    follows,
    health,
    language,
    live,
    overview,
    phones,
    share,
    stop,
    track,
)
from runners.views.invitation import invitation
from runners.views.live_json import live_json
from runners.views.notifications import bell, links
from runners.views.races import course, standings
from runners.views.races.embed import race_embed
from runners.views.races.eta import eta_json
from runners.views.races.preview import entry_preview, race_preview
from runners.views.races.replay import replay_json
from runners.views.races.tiles import map_tile


class CodeConverter:
    """A runner's code in a path."""

    regex = CODE_PATTERN

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(CodeConverter, "code")

urlpatterns = [
    path("", live.live, name="live"),
    path("live.json", live_json, name="live_json"),
    path("races/", overview.races_page, name="races"),
    path("races/<slug:slug>/", live.race, name="race"),
    path("races/<slug:slug>/embed/", race_embed, name="race_embed"),
    path("races/<slug:slug>/preview.png", race_preview, name="race_preview"),
    path("races/<slug:slug>/course.gpx", course.course_gpx, name="course_gpx"),
    path(
        "races/<slug:slug>/course.geojson", course.course_geojson, name="course_geojson"
    ),
    path("races/<slug:slug>/replay.json", replay_json, name="replay_json"),
    path("races/<slug:slug>/eta.json", eta_json, name="eta_json"),
    path(
        "races/<slug:slug>/map/<int:pk>/<int:z>/<int:x>/<int:y>.mvt",
        map_tile,
        name="map_tile",
    ),
    path("races/<slug:slug>/standings/", standings.standings_page, name="standings"),
    path(
        "races/<slug:slug>/standings.json",
        standings.standings_json,
        name="standings_json",
    ),
    path("races/<slug:slug>/standings.csv", standings.standings_csv, name="results"),
    path(
        "races/<slug:slug>/runners/<path:bib>/card.png",
        entry_preview,
        name="entry_preview",
    ),
    path("races/<slug:slug>/runners/<path:bib>/", standings.entry_page, name="entry"),
    path("runners/<code:code>/", live.runner, name="runner"),
    path("runners/<code:code>/track.json", track.track_json, name="track_json"),
    path("runners/<code:code>/track.gpx", track.track_gpx, name="track_gpx"),
    path("runners/<code:code>/follow/", follows.follow, name="follow"),
    path("runners/<code:code>/unfollow/", follows.unfollow, name="unfollow"),
    path("runners/<code:code>/phones/", phones.phones, name="phones"),
    path("runners/<code:code>/phones/<int:token>/", phones.phone, name="phone"),
    path("share/", browser_phone.browser_phone, name="browser_phone"),
    path("share/me.json", browser_phone.browser_account, name="browser_account"),
    path("share/token/", browser_phone.browser_token, name="browser_token"),
    path("api/", api_pages.documents, name="documents"),
    path("api/openapi.json", api_pages.openapi_json, name="openapi_json"),
    path("api/asyncapi.json", api_pages.asyncapi_json, name="asyncapi_json"),
    path("api/v1/", api.urls),
    path("api/<slug:name>/", api_pages.document, name="document"),
    path("me/", include("runners.views.me.urls")),
    path("notifications/", bell.choose, name="notifications_choose"),
    path(
        "notifications/arrivals/", bell.choose_arrivals, name="notifications_arrivals"
    ),
    path("notifications/bell.json", bell.bell_json, name="bell_json"),
    path("notifications/stop/<str:signed>/", links.stop, name="notifications_stop"),
    path(
        "notifications/confirm/<str:signed>/",
        links.confirm,
        name="notifications_confirm",
    ),
    path("s/<str:token>/", share.share, name="share"),
    path(
        "s/<str:token>/standings/", standings.shared_standings, name="shared_standings"
    ),
    path("s/<str:token>/standings.csv", standings.shared_csv),
    path("s/<str:token>/runners/<path:bib>/", standings.shared_entry),
    path("", include("runners.views.account.urls")),
    path("stop/<str:token>/", stop.stop, name="stop"),
    path("invitations/<str:token>/", invitation, name="invitation"),
    path("words/<str:language>/<slug:version>.json", language.words, name="words"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("favicon.ico", live.favicon, name="favicon"),
]
