"""Publish positions to a Spectate server and follow runners, over its websocket."""

from .connection import Ended
from .publisher import Publisher
from .spectator import Spectator

__all__ = ["Ended", "Publisher", "Spectator"]
