"""Settings of servers for browsers: static files are collected, as in production.

The live page loads one file instead of some 70, and a browser keeps what it has loaded.
"""

import os
from pathlib import Path

from spectate.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["STATIC_ROOT"])
WHITENOISE_AUTOREFRESH = False
WHITENOISE_USE_FINDERS = False
WHITENOISE_MAX_AGE = 60  # seconds
