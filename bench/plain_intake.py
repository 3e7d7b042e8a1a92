"""The endpoints of `runners.intake` as an async view behind Django's middleware.

Only for comparison: `python -m bench.intake --plain`.
"""

from __future__ import annotations

from typing import Any

from spectate.asgi import django_application  # noqa: F401  it sets Django up
from tests.asgi import exchange

# isort: split
from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from runners.intake.endpoint import intake
from runners.serving.lifespan import lifespan


@csrf_exempt
async def view(request: HttpRequest) -> HttpResponse:
    scope: dict[str, Any] = request.scope  # type: ignore[attr-defined]
    sent = await exchange(intake, scope, request.body)
    return HttpResponse(sent[1]["body"], status=sent[0]["status"])


urlpatterns: list[URLPattern | URLResolver] = [
    re_path("^intake/", view),
    path("", include("runners.urls")),
]
settings.ROOT_URLCONF = "bench.plain_intake"
application = ProtocolTypeRouter({"http": get_asgi_application(), "lifespan": lifespan})
