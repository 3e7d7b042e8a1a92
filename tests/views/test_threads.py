"""How often a request changes threads, which costs more than most middleware."""

from __future__ import annotations

from typing import Any

import asgiref.sync
import pytest
from django.test import AsyncClient


async def test_the_middleware_of_a_request_shares_a_thread(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []
    enter = asgiref.sync.SyncToAsync.__call__

    async def recorded(self: Any, *args: object, **named: object) -> object:
        entered.append(self.func.__qualname__)
        return await enter(self, *args, **named)

    monkeypatch.setattr(asgiref.sync.SyncToAsync, "__call__", recorded)
    answer = await async_client.get("/nowhere")
    assert answer.status_code == 404
    assert "content_policy.<locals>.middleware" in entered
    assert not [name for name in entered if ".process_" in name]
