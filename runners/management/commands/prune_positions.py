from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from runners.positions.retention import prune


class Command(BaseCommand):
    help = "Delete positions older than SPECTATE_RETENTION_DAYS, or --days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="Keep this many days.")
        parser.add_argument(
            "--keep-line",
            action="store_true",
            help="Keep the points that the line of a track needs to be "
            "accurate to 10 metres.",
        )

    def handle(self, *, days: int | None, keep_line: bool, **options: Any) -> None:
        days = settings.SPECTATE_RETENTION_DAYS if days is None else days
        if not days:
            raise CommandError(
                "Use --days N, or set SPECTATE_RETENTION_DAYS, to the number "
                "of days to keep."
            )
        if days < 0:
            raise CommandError("--days must be 1 or more.")
        pruned = prune(days=days, keep_line=keep_line or settings.SPECTATE_KEEP_LINE)
        self.stdout.write(
            f"{pruned.deleted:,} positions of {pruned.runners:,} runners from before "
            f"{pruned.before:%Y-%m-%d %H:%M} UTC were deleted; {pruned.kept:,} were "
            "kept for their line."
        )
