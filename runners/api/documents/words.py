"""What a value may be, in words: the text of a JSON schema's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REF = "#/components/schemas/"


def words_of(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, with names and constants in backticks."""
    match schema:
        case {"$ref": str(pointer)}:
            return f"`{pointer.removeprefix(REF)}`"
        case {"const": str(constant)}:
            return f'`"{constant}"`'
        case {"const": constant}:
            return f"`{constant}`"
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"anyOf": choices} | {"oneOf": choices}:
            return " or ".join(map(words_of, choices))
        case {"items": list(items)} | {"prefixItems": list(items)}:
            return f"[{', '.join(map(words_of, items))}]"
        case {"items": items}:
            return f"list of {words_of(items)}{_limits(schema)}"
        case {"type": list(kinds)}:
            return " or ".join(kinds) + _limits(schema)
    return f"{schema.get('type', 'any value')}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    found = [
        _range(schema, "minimum", "maximum", ""),
        _range(schema, "minLength", "maxLength", " characters"),
        _range(schema, "minItems", "maxItems", " items"),
    ]
    if "pattern" in schema:
        found.append(f", as `{schema['pattern']}`")
    return "".join(found)


def _range(schema: Mapping[str, Any], least: str, most: str, unit: str) -> str:
    low, high = (
        f"{int(schema[key]):,}" if key in schema else "" for key in (least, most)
    )
    if low and high:
        return f", {low} to {high}{unit}"
    if low:
        return f", {low} or more{unit}"
    return f", up to {high}{unit}" if high else ""
