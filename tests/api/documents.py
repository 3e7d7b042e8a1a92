"""The JSON schemas of docs/asyncapi.yaml, docs/openapi.yaml and /api/v1/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

from tests.servers import ROOT

Schema = Mapping[str, Any]
ANYTHING = object()


def file_content(name: str) -> Any:
    """Read a document of docs/."""
    return yaml.safe_load((ROOT / "docs" / name).read_text())


class Document:
    """A document whose schemas are addressed by JSON pointers, such as `#/a/b`."""

    def __init__(self, content: Any, draft: str) -> None:
        self.content = content
        self.validator: Any = getattr(jsonschema, draft)
        resource: Resource[Any] = Resource.opaque(self.content)
        self._registry: Registry[Any] = Registry().with_resource("urn:it", resource)

    def at(self, pointer: str) -> Any:
        """Return the content at a pointer."""
        found = self.content
        for step in pointer.removeprefix("#/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(name) if isinstance(found, list) else name]
        return found

    def follow(self, value: Any, pointer: str = "") -> tuple[Any, str]:
        """Return the target of a reference and its pointer, or the value itself."""
        while isinstance(value, dict) and "$ref" in value:
            pointer = value["$ref"]
            value = self.at(pointer)
        return value, pointer

    def faults(self, pointer: str, value: Any) -> list[str]:
        """Return the differences of a value from the schema at a pointer."""
        validator = self.validator(
            {"$ref": f"urn:it{pointer}"},
            registry=self._registry,
            format_checker=self.validator.FORMAT_CHECKER,
        )
        return [
            f"{error.json_path}: {error.message}"
            for error in validator.iter_errors(value)
        ]

    def parts(self, pointer: str, value: Any = ANYTHING) -> Iterator[str]:
        """Yield the parts of a schema that a value uses, or all parts.

        These are properties, items, the values of an enumeration, and the types if
        there are several. A document must not promise types that are never sent.
        """
        schema, pointer = self.follow(self.at(pointer), pointer)
        all_ = value is ANYTHING
        for word in schema.get("enum", ()):
            if all_ or value == word:
                yield f"{pointer} {word}"
        if isinstance(kinds := schema.get("type"), list):
            checker = self.validator.TYPE_CHECKER
            for kind in kinds:
                if all_ or checker.is_type(value, kind):
                    yield f"{pointer} {kind}"
        for choice in ("oneOf", "anyOf"):
            for number in range(len(schema.get(choice, ()))):
                branch = f"{pointer}/{choice}/{number}"
                if all_ or not self.faults(branch, value):
                    yield branch
                    yield from self.parts(branch, value)
        for name in schema.get("properties", ()):
            inner = f"{pointer}/properties/{_escaped(name)}"
            if all_:
                yield inner
                yield from self.parts(inner)
            elif isinstance(value, dict) and name in value:
                yield inner
                yield from self.parts(inner, value[name])
        if schema.get("maxItems") == 0:
            return
        for key in ("items", "prefixItems"):
            yield from self._item_parts(schema.get(key), f"{pointer}/{key}", value)

    def _item_parts(self, items: Any, pointer: str, value: Any) -> Iterator[str]:
        if isinstance(items, list):
            for number in range(len(items)):
                if value is ANYTHING:
                    yield from self.parts(f"{pointer}/{number}")
                elif isinstance(value, list) and number < len(value):
                    yield from self.parts(f"{pointer}/{number}", value[number])
        elif isinstance(items, dict):
            for item in [value] if value is ANYTHING else value:
                yield pointer
                yield from self.parts(pointer, item)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
