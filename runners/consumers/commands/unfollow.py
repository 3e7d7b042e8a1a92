"""`unfollow`: ends subscriptions."""

from __future__ import annotations

from typing import Any

from runners.consumers.commands.fields import followed_of
from runners.consumers.typed_dialect import Typed
from runners.live.encoding.ids import code_of


async def unfollow(typed: Typed, command: dict[str, Any]) -> None:
    followed = typed.session.followed
    runners, races, public = followed_of(command)
    codes = {code_of(wire_id) for wire_id in runners}
    ended = followed.remove_runners(
        {pk for code, pk in followed.runners.items() if code in codes}
    )
    topic_names = [
        topic_name
        for topic_name in followed.topics
        if (topic_name.slug in races if topic_name.race is not None else public)
    ]
    followed.remove_topics(topic_names)
    typed.answer(
        "unfollowed",
        command,
        runners=ended,
        races=[
            topic_name.slug for topic_name in topic_names if topic_name.race is not None
        ],
        public=any(topic_name.race is None for topic_name in topic_names),
    )
