"""What phones and spectators report in the end, compared with the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.phones import Phone
from tests.faults.spectators import Spectator, differences
from tests.faults.stores import Stored, acked, not_as_acked


@dataclass(kw_only=True)
class PhonesReport:
    """The counts of a test in which no fix of a phone may be lost."""

    made: int = 0
    acked: int = 0
    stored: int = 0
    wrong: list[str] = field(default_factory=list)

    def compare_phones(self, phones: Sequence[Phone], stored: Stored) -> None:
        self.made = sum(len(phone.made) for phone in phones)
        self.acked = acked(phones)
        self.stored = stored.fixes
        self.wrong += not_as_acked(phones, stored)

    def faults(self) -> list[str]:
        faults = list(self.wrong)
        if not self.made == self.acked == self.stored:
            faults.append(f"{self.made} made, {self.acked} acked, {self.stored} stored")
        return faults


@dataclass(kw_only=True)
class Comparison(PhonesReport):
    """The counts of a test in which spectators may not miss anything either."""

    # Connections that spectators have opened.
    connects: int = 0
    # Announced losses: runners in `truncated`, and positions merged away; and the
    # requests for their tracks.
    truncated: int = 0
    merged: int = 0
    fetches: int = 0
    went_back: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    # Spectators whose state differs from the database, and some of the differences.
    differing: int = 0

    def compare(
        self, phones: Sequence[Phone], spectators: Sequence[Spectator], stored: Stored
    ) -> None:
        self.compare_phones(phones, stored)
        errors: Counter[str] = Counter()
        for spectator in spectators:
            self.connects += spectator.connects
            self.truncated += spectator.truncated
            self.merged += spectator.merged
            self.fetches += spectator.fetches
            self.went_back += spectator.went_back
            errors += spectator.errors
            if found := differences(spectator, stored.tracks):
                self.differing += 1
                if self.differing <= 3:
                    self.wrong.append(f"{spectator.follow}: {'; '.join(found)}")
        self.errors = dict(errors)

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.differing:
            faults.append(f"{self.differing} spectators see something else")
        if self.went_back:
            faults.append(f"{self.went_back} times a marker went back")
        return faults
