from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from runners.consumers import refuse, speak

# Channels routes ASGI applications by Django's patterns, whose types know views only.
_speak: Any = speak
_refuse: Any = refuse

websocket_application = URLRouter(
    [re_path(r"^(?:ws/)?$", _speak), re_path("", _refuse)]
)
