"""Factories for the rows of a server's database, called by `Server.database`."""

from __future__ import annotations

import tests.servers  # noqa: F401  it sets Django up in scripts that are run by hand
