"""Cheers: short texts from spectators for a runner.

They are sent like positions, to all followers of the runner and to the runner's own
phones, and are not stored.
"""

from __future__ import annotations

from runners.live.events import Cheered
from runners.live.hub import Hub
from runners.models import Runner
from runners.positions.rate_limits import Bucket, Limits
from runners.quotas import network_of
from runners.rights.access import Viewer, followable
from runners.units.clock import now_ms
from runners.units.errors import CodedError

# Limit of the text, in characters.
TEXT_LIMIT = 80
# The rate of cheers for one runner in a process, as each goes to all followers.
RUNNER_CHEERS_PER_S = 2.0
RUNNER_BURST = 10.0

# The rate of one sender for one runner in a process, so that others can cheer as well.
# A sender is an account, or the network of visitors without one.
SENDER_CHEERS_PER_S = 0.5
SENDER_BURST = 3.0

cheers_for = Limits(RUNNER_CHEERS_PER_S, RUNNER_BURST)
cheers_of_sender = Limits(SENDER_CHEERS_PER_S, SENDER_BURST)


def cheer_text(text: object) -> str:
    """Return the text of a cheer without markup; raises `CodedError`."""
    # Emoji are joined by U+200D, which is not printable.
    if (
        not isinstance(text, str)
        or not text.replace("\u200d", "").isprintable()
        or not 1 <= len(text := text.strip()) <= TEXT_LIMIT
    ):
        raise CodedError(
            "cheer.invalid",
            f"`text` is 1 to {TEXT_LIMIT} characters on one line, without control "
            "characters.",
        )
    return text


def sender_limit(viewer: Viewer, address: str, runner: int) -> Bucket:
    """Return the bucket of a socket's sender, for cheers for one runner."""
    sender = viewer.user or network_of(address)
    return cheers_of_sender.of(hash((sender, runner)))


def cheered_runner(viewer: Viewer, code: str) -> int:
    """Return the primary key of a runner that a viewer may cheer.

    Raises `CodedError`. Causes two queries.
    """
    grants, refused = followable(viewer, [code], create=False)
    if not grants:
        reason = refused[code]
        raise CodedError(
            reason, "There is no such runner, or they are not shown to you."
        )
    if not Runner.objects.filter(pk=grants[0].pk, cheers=True).exists():
        raise CodedError("cheer.off", "This runner accepts no cheers.")
    return grants[0].pk


async def cheer(hub: Hub, *, runner: int, code: str, text: str) -> None:
    """Send a cheer to all followers; raises the layer's errors if it is unavailable."""
    await hub.publish([Cheered(runner, code, text, now_ms())])
