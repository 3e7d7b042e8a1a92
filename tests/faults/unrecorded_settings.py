"""As in production, but for the application served."""

from __future__ import annotations

from spectate.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.faults.unrecorded.application"
