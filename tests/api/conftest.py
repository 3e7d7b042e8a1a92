from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from runners.api.v1 import api
from runners.serving.process import Process
from tests.api.capture import Capture
from tests.api.conversation import capture_all
from tests.api.documents import Document, file_content
from tests.api.faults import Faulty
from tests.factories.people import make_phone


@pytest.fixture(scope="session")
def asyncapi() -> Document:
    return Document(file_content("asyncapi.yaml"), "Draft7Validator")


@pytest.fixture(scope="session")
def openapi() -> Document:
    return Document(file_content("openapi.yaml"), "Draft202012Validator")


@pytest.fixture(scope="session")
def organisers_api() -> Document:
    """The description of /api/v1/, which is generated from its code."""
    content = json.loads(json.dumps(api.get_openapi_schema()))
    return Document(content, "Draft202012Validator")


@pytest.fixture(scope="session")
def capture() -> Capture:
    """The messages of a server that sends everything it can send."""
    return capture_all()


@pytest.fixture
def token(transactional_db: None) -> str:
    return make_phone("bob")


@pytest.fixture
async def faulty(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """The application without a server, whose parts can be broken."""
    yield Faulty(process, monkeypatch, token)
    monkeypatch.undo()
