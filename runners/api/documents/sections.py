"""A document as a page shows it: chapters, sections, parts and fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from runners.api.documents.words import words_of

Schema = Mapping[str, Any]
CODE = re.compile(r"`([^`]+)`")
METHODS = {"get", "post", "put", "patch", "delete"}
# Operations as the document has them, by who sends their messages.
SENDERS = {"receive": "clients send", "send": "the server sends"}


@dataclass(frozen=True)
class Field:
    """A field of an object; the name of an inner one is its path."""

    name: str
    type: str
    required: bool
    text: str


@dataclass(frozen=True)
class Part:
    """A body, a response, or the parameters of an operation."""

    title: str
    text: str = ""
    type: str = ""
    fields: list[Field] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """An operation, a message or a schema."""

    anchor: str
    title: str
    text: str
    parts: list[Part]


@dataclass(frozen=True)
class Chapter:
    anchor: str
    title: str
    text: str
    sections: list[Section]


class Reader:
    """Reads the chapters of an OpenAPI or AsyncAPI document."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self._schemas: Schema = content["components"]["schemas"]

    def chapters(self) -> Iterator[Chapter]:
        """Yield the chapters of a document, its schemas at the end."""
        if "asyncapi" in self._content:
            yield from self._channels()
        else:
            yield from self._tags()
        sections = [self._schema(*item) for item in self._schemas.items()]
        yield Chapter("schemas", "Types", "", sections)

    def marked(self, text: str) -> SafeString:
        """Return a text as HTML: code in backticks, and a link to each type's name."""
        return mark_safe(CODE.sub(self._code, escape(" ".join(text.split()))))

    def _code(self, match: re.Match[str]) -> str:
        name = match[1]
        code = f"<code>{name}</code>"
        return f'<a href="#{name}">{code}</a>' if name in self._schemas else code

    # -- OpenAPI

    def _tags(self) -> Iterator[Chapter]:
        described = {tag["name"]: tag for tag in self._content.get("tags", ())}
        found: dict[str, list[Section]] = {}
        for path, item in self._content["paths"].items():
            for method in filter(METHODS.__contains__, item):
                section = self._operation(method, path, item)
                found.setdefault(item[method]["tags"][0], []).append(section)
        for name, sections in found.items():
            text = described.get(name, {}).get("description", "")
            yield Chapter(name, name.capitalize(), self.marked(text), sections)

    def _operation(self, method: str, path: str, item: Schema) -> Section:
        operation = item[method]
        named = [*item.get("parameters", ()), *operation.get("parameters", ())]
        parts = [self._parameters(map(self._followed, named))] if named else []
        body = self._followed(operation.get("requestBody", {}))
        parts += self._contents("Body", body)
        for status in sorted(operation["responses"], key=str):
            answer = self._followed(operation["responses"][status])
            title = "Errors" if status == "default" else str(status)
            parts += self._contents(title, answer) or [
                Part(title, self.marked(answer["description"]))
            ]
        text = operation.get("description") or operation["summary"]
        title = f"{method.upper()} {path}"
        return Section(operation["operationId"], title, self.marked(text), parts)

    def _parameters(self, parameters: Iterable[Schema]) -> Part:
        fields = [
            self._field(
                each["name"],
                each["schema"],
                each.get("description") or each["schema"].get("description", ""),
                required=each.get("required", False),
            )
            for each in parameters
        ]
        return Part("Parameters", fields=fields)

    def _contents(self, title: str, body: Schema) -> list[Part]:
        text = body.get("description", "")
        return [
            self._part(f"{title}, {type_}", text, content["schema"])
            for type_, content in body.get("content", {}).items()
        ]

    # -- AsyncAPI

    def _channels(self) -> Iterator[Chapter]:
        for name, channel in self._content["channels"].items():
            for action, sender in SENDERS.items():
                sections = list(self._messages(f"#/channels/{name}", action))
                title = f"{channel['title']}: {sender}"
                text = self.marked(channel["description"])
                yield Chapter(f"{name}-{action}", title, text, sections)
        codes = self._content["x-close-codes"]
        fields = [
            Field(code, "", required=False, text=self.marked(each["reason"]))
            for code, each in codes.items()
        ]
        section = Section("closes", "Close codes", "", [Part("Codes", fields=fields)])
        yield Chapter("close", "The end of a connection", "", [section])

    def _messages(self, channel: str, action: str) -> Iterator[Section]:
        """Yield the messages of a channel that one side sends, replies included."""
        pointers: dict[str, None] = {}  # in their order, once each
        for operation in self._content["operations"].values():
            if operation["channel"]["$ref"] == channel:
                is_sender = operation["action"] == action
                sent = operation if is_sender else operation.get("reply", {})
                pointers |= {each["$ref"]: None for each in sent.get("messages", ())}
        for pointer in pointers:
            message = self._followed({"$ref": pointer})
            name = pointer.rpartition("/")[2]
            anchor = f"{channel.rpartition('/')[2]}-{name}"
            part = self._part("Fields", "", message["payload"])
            yield Section(anchor, name, self.marked(message["summary"]), [part])

    # -- schemas

    def _schema(self, name: str, schema: Schema) -> Section:
        text = self.marked(schema.get("description", ""))
        return Section(name, name, text, [self._part("Value", "", schema)])

    def _part(self, title: str, text: str, schema: Schema) -> Part:
        type_ = "" if "properties" in schema else self.marked(words_of(schema))
        return Part(title, self.marked(text), type_, list(self._fields(schema)))

    def _fields(self, schema: Schema, path: str = "") -> Iterator[Field]:
        for place, inner in _objects(schema, path):
            for name, value in inner["properties"].items():
                where = f"{place}.{name}" if place else name
                yield self._field(
                    where,
                    value,
                    value.get("description", ""),
                    required=name in inner.get("required", ()),
                )
                yield from self._fields(value, where)

    def _field(self, name: str, schema: Schema, text: str, *, required: bool) -> Field:
        return Field(name, self.marked(words_of(schema)), required, self.marked(text))

    def _followed(self, value: Schema) -> Any:
        """Return the target of a reference, or the value itself."""
        while "$ref" in value:
            target: Any = self._content
            for step in value["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            value = target
        return value


def _objects(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield the objects written out inside a schema, each with its path."""
    if "properties" in schema:
        yield path, schema
    elif isinstance(items := schema.get("items"), Mapping):
        yield from _objects(items, f"{path}[]")
    for choice in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _objects(choice, path)
