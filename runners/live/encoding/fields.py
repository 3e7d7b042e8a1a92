"""Types of the fields of messages, with their constraints.

A `title` makes a type a schema of its own in docs/asyncapi.yaml. Types that are `Any`
here are checked by what uses them, so that one bad item does not refuse a message:
`extra_json_schema` documents them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta, UnsetType, ValidationError

from runners.live.encoding.ids import CODE, MAX_NUMBER


def one_of(
    *words: str, title: str | None = None, description: str | None = None
) -> Meta:
    """Return the constraint of a text that is one of these words."""
    return Meta(
        title=title, description=description, extra_json_schema={"enum": [*words]}
    )


# Limit of the characters of an `id`, because replies repeat it.
ID_LIMIT = 200
_CODE = f"^{CODE.pattern}$"
_SLUG = "^[a-z0-9-]+$"

Text200 = Annotated[str, Meta(max_length=ID_LIMIT)]
MessageId = Annotated[
    Text200 | float | int | bool | None,
    Meta(title="MessageId", description="The reply and its errors repeat it."),
]
OptionalId = MessageId | UnsetType
Time = Annotated[
    int,
    Meta(title="Time", description="Milliseconds since the epoch.", ge=0),
]
SafeTime = Annotated[
    int,
    Meta(description="Milliseconds since the epoch.", ge=0, le=MAX_NUMBER),
]
Code = Annotated[
    str, Meta(title="Code", description="A runner's public id.", pattern=_CODE)
]
Slug = Annotated[
    str, Meta(title="Slug", description="A race's name in links.", pattern=_SLUG)
]
WireId = Annotated[
    Any,
    Meta(
        title="WireId",
        description="A code. A whole number stands for its digits.",
        extra_json_schema={
            "type": ["string", "integer"],
            "pattern": _CODE,
            "minimum": 0,
            "maximum": MAX_NUMBER,
        },
    ),
]
State = Annotated[
    str,
    one_of(
        *("registered", "started", "off_course", "finished", "dnf", "dns", "dsq"),
        title="State",
    ),
]
AnySlug = Annotated[Any, Meta(extra_json_schema={"$ref": "#/components/schemas/Slug"})]
Latitude = Annotated[float, Meta(title="Latitude", ge=-90, le=90)]
Longitude = Annotated[float, Meta(title="Longitude", ge=-180, le=180)]

_FIELD = re.compile(r"`(?:\$\.)?(\w+)[^`]*`$")


def invalid_field(error: ValidationError) -> str:
    """Return the field of an object that an error is about; may be empty."""
    return _field_in(str(error))


# Cached, because a faulty client repeats its error.
@lru_cache(256)
def _field_in(text: str) -> str:
    found = _FIELD.search(text)
    return found[1] if found else ""
