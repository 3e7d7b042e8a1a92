"""Production settings with a different application."""

from __future__ import annotations

from spectate.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.faults.unrecorded.application"
