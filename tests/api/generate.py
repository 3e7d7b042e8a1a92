"""Writes the parts of docs/ that are made from the messages' structs.

    python -m tests.api.generate

These are the messages and schemas of `spectate.v1` in asyncapi.yaml, and the tables of
fields in protocol.md. They stand between the lines `generated: NAME` and `end of NAME`.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable
from typing import Any, get_args

import django
import msgspec
import yaml

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    django.setup()

from runners.api.documents.words import REF, words_of
from runners.consumers.messages import ClientMessage
from runners.live.encoding import error_codes, messages
from runners.positions.fix import Fix
from tests.servers import ROOT

Schema = dict[str, Any]
CODES = (error_codes.ErrorCode, error_codes.TypedErrorCode, error_codes.FixErrorCode)
RECEIVED: tuple[type, ...] = get_args(ClientMessage)
SENT = messages.SERVER_MESSAGES
ITEMS = ("Runner", "Estimate", "Race", "Course", "Checkpoint", "RaceChange")
# `after` is there exactly with these codes.
RETRY = {
    "if": {"properties": {"code": {"enum": [*error_codes.RETRIED]}}},
    "then": {"required": ["after"]},
    "else": {"not": {"required": ["after"]}},
}


class Schemas:
    """The messages by name, and what they refer to, in JSON schema draft 7."""

    def __init__(self) -> None:
        types = (Fix, *CODES, *RECEIVED, *SENT)
        roots, named = msgspec.json.schema_components(
            types, ref_template=REF + "{name}"
        )
        self.named: dict[str, Schema] = {}
        self._tidied(list(roots))
        found = {name: self._tidied(schema) for name, schema in named.items()}
        self.messages = {
            _name_of(type_): _message(type_, found.pop(type_.__name__))
            for type_ in (*RECEIVED, *SENT)
        }
        self.named |= {name: _in_order(name, found[name]) for name in found}

    def _tidied(self, schema: Any) -> Any:
        """Return a schema of msgspec in draft 7; collect what has a title."""
        if isinstance(schema, list):
            return [self._tidied(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        schema = {k: self._tidied(v) for k, v in schema.items() if k != "default"}
        if "properties" in schema:
            schema["additionalProperties"] = False
            del schema["title"]
        if "prefixItems" in schema:
            schema["items"] = schema.pop("prefixItems")
            schema["additionalItems"] = False
            schema.pop("title", None)
            schema.pop("maxItems", None)
        if len(schema.get("enum", ())) == 1:
            schema["const"] = schema.pop("enum")[0]
        schema = _with_two_types(schema)
        name = schema.pop("title", None)
        if not isinstance(name, str):
            return schema
        self.named[name] = schema
        return {"$ref": REF + name}


def _with_two_types(schema: Schema) -> Schema:
    """Write a simple type or null as two types."""
    match schema:
        case {"anyOf": [{"type": str(kind), **others}, {"type": "null"}]}:
            return {"type": [kind, "null"], **{str(k): v for k, v in others.items()}}
    return schema


def _message(type_: type, schema: Schema) -> Schema:
    fields = schema["properties"]
    # These have a default, and are sent.
    constant = [name for name, field in fields.items() if "const" in field]
    schema["required"] = list(dict.fromkeys([*constant, *schema["required"]]))
    if _name_of(type_) in ("ping", "pong"):
        del schema["additionalProperties"]
    if type_ is messages.Error:
        schema |= RETRY
    return {"summary": schema.pop("description"), "payload": schema}


def _in_order(name: str, schema: Schema) -> Schema:
    """Return the schema with its fields as declared; those of a dict come sorted."""
    type_ = vars(messages).get(name)
    if type_ is not None and "properties" in schema:
        fields = schema["properties"]
        schema["properties"] = {key: fields[key] for key in type_.__annotations__}
        schema["required"] = list(schema["properties"])
    return schema


def _name_of(type_: type) -> str:
    return type_.__name__[0].lower() + type_.__name__[1:]


# -- texts


def generated() -> dict[str, dict[str, str]]:
    """Map files of docs/ to their generated parts by name."""
    schemas = Schemas()
    named = schemas.named
    received = [schemas.messages[_name_of(type_)] for type_ in RECEIVED]
    sent = [schemas.messages[_name_of(type_)] for type_ in SENT]
    return {
        "asyncapi.yaml": {
            "messages": _yaml(schemas.messages),
            "schemas": _yaml(dict(sorted(named.items()))),
        },
        "protocol.md": {
            "runners and races": _table((f"`{name}`", named[name]) for name in ITEMS),
            "what clients send": _table(
                [*map(_labelled, received), ("`Fix`", named["Fix"])]
            ),
            "what the server sends": _table(map(_labelled, sent)),
            "types": _types(named),
        },
    }


def _labelled(message: Schema) -> tuple[str, Schema]:
    """Return what a message is in a table, and the fields that its label lacks."""
    payload = message["payload"]
    fields = payload["properties"]
    constants = [name for name in ("type", "kind", "change") if name in fields]
    words = [fields[name]["const"] for name in constants if "const" in fields[name]]
    others = {
        name: field
        for name, field in fields.items()
        if "const" not in field and field != {"$ref": f"{REF}MessageId"}
    }
    label = " ".join(f"`{word}`" for word in words)
    return f"{label}: {message['summary']}", payload | {"properties": others}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(content: Any) -> str:
    text = yaml.dump(
        content,
        Dumper=_Dumper,
        sort_keys=False,
        width=84,
        allow_unicode=True,
        default_flow_style=None,
    )
    return textwrap.indent(text, "    ")


def _table(rows: Iterable[tuple[str, Schema]]) -> str:
    lines = ["| | field | type | |", "|---|---|---|---|"]
    for label, schema in rows:
        if not schema["properties"]:
            lines.append(f"| {label} | | | |")
        for name, field in schema["properties"].items():
            optional = "" if name in schema["required"] else "optional "
            meaning = field.get("description", "")
            lines.append(
                f"| {label} | `{name}` | {optional}{_text(field)} | {meaning} |"
            )
            label = ""
    return _joined(lines)


def _types(named: Schema) -> str:
    lines = ["| type | | |", "|---|---|---|"]
    for name, schema in sorted(named.items()):
        if "properties" not in schema and not name.endswith("ErrorCode"):
            lines.append(
                f"| `{name}` | {_text(schema)} | {schema.get('description', '')} |"
            )
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    return re.sub(" +", " ", "\n".join(lines)) + "\n"


def _text(schema: Schema) -> str:
    """Return what a value may be, for a cell of a table."""
    return words_of(schema).replace("|", "\\|")


def with_generated(text: str, parts: dict[str, str]) -> str:
    """Return a document with its generated parts as they are now."""
    for name, part in parts.items():
        lines = re.compile(
            rf"^([^\n]*generated: {name}\b[^\n]*\n).*?^([^\n]*end of {name}\b)",
            re.DOTALL | re.MULTILINE,
        )
        match = lines.search(text)
        assert match is not None, name
        text = text[: match.end(1)] + part + text[match.start(2) :]
    return text


def main() -> None:
    for name, parts in generated().items():
        path = ROOT / "docs" / name
        path.write_text(with_generated(path.read_text(), parts))


if __name__ == "__main__":
    main()
