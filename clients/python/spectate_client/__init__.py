"""Publish positions to a Spectate server and follow runners, over its websocket."""

from spectate_client.connection import Ended
from spectate_client.publisher import Publisher
from spectate_client.spectator import Spectator

__all__ = ["Ended", "Publisher", "Spectator"]
