from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runners.intake.endpoint import get_intake
from runners.models import Runner, RunnerToken
from runners.positions.pipeline import Pipeline
from runners.serving.admission import get_admission
from runners.sharing.access_monitor import get_access_monitor
from tests.api.capture import Capture
from tests.api.conversation import capture_all
from tests.api.documents import Document
from tests.api.faults import Faulty
from tests.positions.conftest import pipeline as pipeline


@pytest.fixture(scope="session")
def asyncapi() -> Document:
    return Document("asyncapi.yaml", "Draft7Validator")


@pytest.fixture(scope="session")
def openapi() -> Document:
    return Document("openapi.yaml", "Draft202012Validator")


@pytest.fixture(scope="session")
def capture() -> Capture:
    """The messages of a server that sends everything it can send."""
    return capture_all()


@pytest.fixture
def token(transactional_db: None) -> str:
    runner = Runner.objects.create(code="bob", name="Bob")
    return RunnerToken.objects.issue(runner, name="phone")[1]


@pytest.fixture
async def faulty(
    pipeline: Pipeline, token: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """The application without a server, whose parts can be broken."""
    yield Faulty(monkeypatch, token)
    monkeypatch.undo()
    get_intake().close()
    await get_admission().close()
    await get_access_monitor().close()
