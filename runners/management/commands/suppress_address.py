from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from runners.management.errors import database_needed
from runners.models import SuppressedAddress
from runners.notifying.suppression import address_suppress

Reason = SuppressedAddress.Reason


class Command(BaseCommand):
    help = "Send no mail to these addresses any more, and delete them everywhere."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
        parser.add_argument("--reason", choices=Reason.values, default=Reason.BOUNCED)

    def handle(self, *args: Any, **options: Any) -> None:
        for address in options["addresses"]:
            try:
                validate_email(address)
            except ValidationError:
                raise CommandError(f"{address!r} is not a mail address.") from None
        with database_needed():
            for address in options["addresses"]:
                address_suppress(address=address, reason=options["reason"])
        self.stdout.write(f"{len(options['addresses'])} suppressed.")
