"""Plays all cases with a client package, at the same time and in one program."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence

from clients.conformance.cases import CASES, Case
from clients.conformance.program import Program
from clients.conformance.server import ScriptedServer

# What went wrong, by case; empty if nothing did.
Outcome = dict[str, str]


async def play_cases(command: Sequence[str]) -> Outcome:
    async with ScriptedServer() as server, Program(command) as program:
        return dict(
            await asyncio.gather(*[_play(name, server, program) for name in CASES])
        )


async def _play(name: str, server: ScriptedServer, program: Program) -> tuple[str, str]:
    path = name.replace(" ", "-").replace("`", "")
    try:
        await CASES[name](Case(path, program, server))
    except Exception:
        return name, traceback.format_exc()
    return name, ""


def table(outcomes: dict[str, Outcome]) -> str:
    """Return a Markdown table, package × case."""
    rows = [
        ["case", "the client", *outcomes],
        ["---"] * (2 + len(outcomes)),
        *(
            [name, (case.__doc__ or "").strip(), *_marks(outcomes, name)]
            for name, case in CASES.items()
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _marks(outcomes: dict[str, Outcome], case: str) -> list[str]:
    return ["**no**" if outcome[case] else "yes" for outcome in outcomes.values()]
