"""The ASGI application: Django's pages, the intake for phones and the websocket."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

# Sets up Django before the consumers are imported, which need the models.
try:
    django_application = get_asgi_application()
except ImproperlyConfigured as error:
    # Logged for operators who start Daphne or uvicorn by hand.
    raise SystemExit(f"Spectate does not start: {error}") from None

from channels.routing import ProtocolTypeRouter
from django.conf import settings

from runners.routing import http_application, websocket_application
from runners.serving.daphne import prepare_daphne
from runners.serving.lifespan import lifespan
from runners.serving.logs import mask_logs
from runners.serving.process import sources

mask_logs()
prepare_daphne()
if settings.SPECTATE_MQTT_URL:
    from runners.intake.mqtt import Mqtt

    sources.append(Mqtt)

application = ProtocolTypeRouter(
    {
        "http": http_application(django_application),
        "websocket": websocket_application,
        "lifespan": lifespan,
    }
)
