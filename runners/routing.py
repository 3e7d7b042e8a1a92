from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from runners.consumers import refuse, speak
from runners.intake.endpoint import PREFIX, intake
from runners.serving.bodies import with_bounded_bodies

# Channels routes ASGI applications by Django's patterns, whose types expect views.
_speak: Any = speak
_refuse: Any = refuse

websocket_application = URLRouter(
    [re_path(r"^(?:ws/)?$", _speak), re_path("", _refuse)]
)


def http_application(pages: Any) -> Any:
    """Return the HTTP application: the intake for phones, and `pages` for the rest."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        is_report = scope["path"].startswith(PREFIX)
        await (intake if is_report else pages)(scope, receive, send)

    return with_bounded_bodies(answer)
