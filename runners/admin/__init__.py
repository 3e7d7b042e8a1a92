"""The race office: Django's admin with what race day asks for first."""

from runners.admin import follow, position, race, runner, token

__all__ = ["follow", "position", "race", "runner", "token"]
