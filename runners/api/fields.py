"""Types of the bodies and paths of several resources."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from ninja import Path, Schema
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

# Years that neither a time zone nor the duration of a race takes out of the calendar.
YEARS = range(1970, 9000)


def _in_utc(moment: datetime) -> datetime:
    if moment.year not in YEARS:
        raise ValueError(f"A year is from {YEARS[0]} to {YEARS[-1]}.")
    return moment.astimezone(UTC)


def without_empty(schema: dict[str, Any]) -> None:
    """Leave the empty word, which is as no value, out of a schema.

    Generated code has no name for it.
    """
    schema["enum"].remove(schema.pop("default"))


# In UTC, so that what is written and what is read later have one representation.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
# One line: databases store no NUL, and no page shows the others.
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Slug = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,60}$")]
Bib = Annotated[str, Path(pattern=r"^[^\x00-\x1f\x7f]{1,12}$")]


class Strict(Schema):
    """A body without unknown fields, so that a mistyped name is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
