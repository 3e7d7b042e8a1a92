from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from runners.management.errors import database_needed
from runners.models import Runner, RunnerToken
from runners.models.errors import one_line


class Command(BaseCommand):
    help = "Create a runner and a token for their phone; print both as a line of JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", help="the public id, for example their bib")
        parser.add_argument("--name", required=True)
        parser.add_argument(
            "--visibility",
            choices=Runner.Visibility.values,
            default=Runner.Visibility.PUBLIC,
        )

    def handle(self, *args: Any, **options: Any) -> None:
        runner = Runner(
            code=options["code"],
            name=options["name"].strip(),
            visibility=options["visibility"],
        )
        with database_needed(), transaction.atomic():
            try:
                runner.full_clean()
            except ValidationError as error:
                raise CommandError(one_line(error)) from error
            runner.save()
            _, token = RunnerToken.objects.issue(runner, name="create_runner")
        self.stdout.write(json.dumps({"code": runner.code, "token": token}))
