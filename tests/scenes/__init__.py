"""What a test finds in a server's database: functions for `Server.database`."""

from __future__ import annotations

import os

import django
from django.apps import apps

from tests.servers import SECRET_KEY

# Scripts that are run by hand have no pytest-django, which sets Django up.
if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spectate.settings")
    os.environ["SECRET_KEY"] = SECRET_KEY
    django.setup()
