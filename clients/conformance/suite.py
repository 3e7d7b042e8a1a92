"""Plays all cases with a client package, at the same time and in one program."""

from __future__ import annotations

import asyncio
import traceback

from clients.conformance.cases import CASES, Case
from clients.conformance.packages import PACKAGES, UNOBSERVABLE
from clients.conformance.program import Program
from clients.conformance.server import ScriptedServer

# What went wrong, by case; empty if nothing did.
Outcome = dict[str, str]


def cases_of(package: str) -> list[str]:
    return [case for case in CASES if (package, case) not in UNOBSERVABLE]


async def play_cases(package: str) -> Outcome:
    async with ScriptedServer() as server, Program(PACKAGES[package]()) as program:
        playing = [_play(case, server, program) for case in cases_of(package)]
        return dict(await asyncio.gather(*playing))


async def _play(name: str, server: ScriptedServer, program: Program) -> tuple[str, str]:
    try:
        await CASES[name](Case(CASES[name].__name__, program, server))
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
    marks = {"": "yes", None: "—"}
    return [marks.get(outcome.get(case), "**no**") for outcome in outcomes.values()]
