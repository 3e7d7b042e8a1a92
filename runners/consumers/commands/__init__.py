"""The commands of `spectate.v1`, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from runners.consumers.commands.auth import auth
from runners.consumers.commands.cheer import cheer
from runners.consumers.commands.follow import follow
from runners.consumers.commands.ping import ping
from runners.consumers.commands.publish import publish
from runners.consumers.commands.sos import sos
from runners.consumers.commands.unfollow import unfollow
from runners.consumers.messages import (
    Auth,
    Cheer,
    Echo,
    Follow,
    Message,
    Publish,
    Sos,
    Unfollow,
)
from runners.consumers.typed_dialect import Command

COMMANDS: Mapping[type[Message], Command] = {
    Auth: auth,
    Follow: follow,
    Unfollow: unfollow,
    Publish: publish,
    Cheer: cheer,
    Sos: sos,
    Echo: ping,
}
