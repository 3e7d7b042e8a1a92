"""`unfollow`: ends subscriptions."""

from __future__ import annotations

from runners.consumers.messages import Unfollow
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.ids import code_of
from runners.live.encoding.messages import Unfollowed


async def unfollow(typed: Typed, command: Unfollow) -> None:
    followed = typed.session.followed
    codes = {code_of(wire_id) for wire_id in command.runners}
    ended = followed.remove_runners(
        {pk for code, pk in followed.runners.items() if code in codes}
    )
    topic_names = [
        topic_name
        for topic_name in followed.topics
        if (
            topic_name.slug in command.races
            if topic_name.race is not None
            else command.public
        )
    ]
    followed.remove_topics(topic_names)
    unfollowed = Unfollowed(
        runners=ended,
        races=[
            topic_name.slug for topic_name in topic_names if topic_name.race is not None
        ],
        public=any(topic_name.race is None for topic_name in topic_names),
    )
    typed.answer(unfollowed, command)
