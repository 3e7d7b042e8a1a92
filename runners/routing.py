from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from runners.consumers import refuse, speak
from runners.intake.endpoint import PREFIX, intake
from runners.serving.bodies import with_bounded_bodies
from runners.serving.liveness import PATH as HEALTH
from runners.serving.liveness import healthz
from runners.views.live_json import with_live_json
from runners.views.races.eta import with_arrivals


def websocket_application(
    scope: Any, receive: Any, send: Any
) -> Coroutine[Any, Any, None]:
    """Serve the websocket at / and /ws/.

    Channels' router would keep a coroutine and a copy of the scope for each socket.
    """
    path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
    return (speak if path in ("", "ws/") else refuse)(scope, receive, send)


def http_application(pages: Any) -> Any:
    """Return the HTTP application: what needs no middleware, and `pages` for the rest.

    That is the intake for phones, the liveness check, and what crowds ask for.
    """
    pages = with_live_json(with_arrivals(pages))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith(PREFIX):
            application = intake
        else:
            application = healthz if scope["path"] == HEALTH else pages
        await application(scope, receive, send)

    return with_bounded_bodies(answer)
