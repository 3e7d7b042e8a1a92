from __future__ import annotations

from django.apps import AppConfig


class RunnersConfig(AppConfig):
    name = "runners"
    verbose_name = "Spectate"

    def ready(self) -> None:
        from runners.models import rights_signals
        from spectate import checks  # noqa: F401  it registers them

        rights_signals.connect()
