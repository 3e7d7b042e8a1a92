from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from runners.positions.retention import prune, prune_as_set


class Command(BaseCommand):
    help = (
        "Delete positions older than SPECTATE_RETENTION_DAYS, and outside of races "
        "older than SPECTATE_RETENTION_DAYS_OUTSIDE_RACES; or all older than --days."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="Keep this many days.")
        parser.add_argument(
            "--keep-line",
            action="store_true",
            help="Keep the points that the line of a track needs to be "
            "accurate to 10 metres.",
        )

    def handle(self, *, days: int | None, keep_line: bool, **options: Any) -> None:
        if days is not None and days < 1:
            raise CommandError("--days must be 1 or more.")
        if days is None:
            pruned = prune_as_set()
        else:
            keep_line = keep_line or settings.SPECTATE_KEEP_LINE
            pruned = [prune(days=days, keep_line=keep_line)]
        if not pruned:
            raise CommandError(
                "Use --days N, or set SPECTATE_RETENTION_DAYS, to the number "
                "of days to keep."
            )
        self.stdout.write("\n".join(map(str, pruned)))
