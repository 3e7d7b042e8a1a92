"""A shell beside a server, in which rights change while sockets are open."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from tests.servers import ROOT, Server, clean_environment


class Office:
    """A shell beside the server, kept open: starting one a change takes too long."""

    def __init__(self, server: Server) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", SHELL],
            cwd=ROOT,
            env=clean_environment(**server.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def do(self, code: str) -> str:
        """Run Python there; return what it printed."""
        return await asyncio.to_thread(self._do, code)

    def _do(self, code: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(code), file=stdin, flush=True)
        answer = json.loads(stdout.readline())
        assert answer["error"] is None, answer["error"]
        return str(answer["printed"]).strip()

    def close(self) -> None:
        self._process.communicate()


SHELL = """
import contextlib, io, json, sys, traceback
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from runners.models import *
from runners.sharing.runner_settings import *
User = get_user_model()
names = dict(globals())
for line in sys.stdin:
    out, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), names)
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps({"printed": out.getvalue(), "error": error}), flush=True)
"""
