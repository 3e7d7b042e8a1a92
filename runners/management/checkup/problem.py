from __future__ import annotations


class Problem(Exception):
    """A fault that would disturb a race: a description, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.args[0]} {self.remedy}".strip()
