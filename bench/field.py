"""Fill a database with a race to watch: `python -m bench.field`.

Prints one JSON object: the race's slug, and a code and a token per runner.
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta

import orjson

from runners.units.earth import METRES_PER_DEGREE

SLUG = "city"
# The course leads due north from here, so that the load generator needs no map to
# follow it.
START = (48.0, 11.0)
LENGTH_M = 42_195.0


def fill(runners: int) -> dict[str, object]:
    """Create a race, its runners and their tokens. Return their names."""
    from django.utils import timezone

    from runners.models import Entry, Runner, RunnerToken
    from runners.models.runner import token_digest
    from runners.races.course import Course
    from runners.races.setup import race_create

    lat, lng = START
    steps = 420
    course = Course(
        (lat + LENGTH_M * step / steps / METRES_PER_DEGREE, lng)
        for step in range(steps + 1)
    )
    race = race_create(
        slug=SLUG,
        name="City marathon",
        course=course,
        start=timezone.now() - timedelta(hours=1),
    )
    codes = [f"r{number}" for number in range(1, runners + 1)]
    made = Runner.objects.bulk_create(
        Runner(code=code, name=f"Runner {code[1:]}") for code in codes
    )
    Entry.objects.bulk_create(
        Entry(race=race, runner=runner, bib=runner.code[1:]) for runner in made
    )
    tokens = [f"token-of-{code}-in-the-benchmark" for code in codes]
    RunnerToken.objects.bulk_create(
        RunnerToken(runner=runner, name="benchmark", digest=token_digest(token))
        for runner, token in zip(made, tokens, strict=True)
    )
    return {"race": SLUG, "codes": codes, "tokens": tokens}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.field", description=__doc__)
    parser.add_argument("--runners", type=int, default=200)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    import django

    django.setup()
    print(orjson.dumps(fill(options.runners)).decode())


if __name__ == "__main__":
    main()
