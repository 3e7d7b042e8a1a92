"""What a test finds in a server's database: functions for `Server.database`."""

from __future__ import annotations

import tests.servers  # noqa: F401  it sets Django up in scripts that are run by hand
