"""The public interfaces, and programs that use them."""

from __future__ import annotations

import tests.servers  # noqa: F401  it sets Django up in scripts that are run by hand
