"""A local push service, and browsers that are subscribed to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import User
from py_vapid import Vapid02

from runners.models import Subscription
from runners.notifying.subscribing import browser_subscribe
from runners.notifying.webpush import decode, encode
from tests.http_server import Handler, http_server
from tests.waiting import PATIENCE_S

AUTH = b"sixteen bytes!!!"


class Browser:
    """Has the private key for messages to its subscription."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def subscription(self) -> dict[str, Any]:
        """The result of `PushSubscription.toJSON()`."""
        point = self.key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        return {
            "endpoint": self.endpoint,
            "expirationTime": None,
            "keys": {"p256dh": encode(point), "auth": encode(AUTH)},
        }

    def subscribe(self, user: User | None = None, language: str = "en") -> Subscription:
        return browser_subscribe(
            push=self.subscription,
            user=user,
            session="",
            device="Firefox, Android",
            language=language,
        )

    def read(self, body: bytes) -> dict[str, Any]:
        """Decrypt a message, as the browser does."""
        plain = http_ece.decrypt(
            body, private_key=self.key, auth_secret=AUTH, version="aes128gcm"
        )
        message: dict[str, Any] = json.loads(plain)
        return message


@dataclass
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


def claims_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims of VAPID, after checking the signature."""
    authorization = headers["authorization"]
    assert Vapid02.verify(authorization)
    token = authorization.removeprefix("vapid t=").partition(",")[0]
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


# Instead of a status: the connection is closed without a reply.
SILENT = 0


@dataclass
class PushService:
    """Replies to each post with the next status, of its path or of all, finally 201.

    Posts to `held` paths get no reply before `release`.
    """

    url: str
    posts: list[Post] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    by_path: dict[str, list[int]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)

    def clear(self) -> None:
        """Forget all posts, and reply with 201."""
        self.posts.clear()
        self.statuses.clear()
        self.headers.clear()
        self.by_path.clear()
        self.held.clear()
        self.release.clear()

    def posts_at(self, path: str) -> list[Post]:
        return [post for post in self.posts if post.path == path]

    def browser(self, name: str = "bob") -> Browser:
        return Browser(f"{self.url}/push/{name}")


@contextmanager
def push_service() -> Iterator[PushService]:
    service = PushService("")

    class Pushed(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            service.posts.append(Post(self.path, headers, body))
            if self.path in service.held:
                service.release.wait(PATIENCE_S)
            statuses = service.by_path.get(self.path) or service.statuses
            status = statuses.pop(0) if statuses else 201
            if status != SILENT:
                self.reply(status, headers=service.headers)

    with http_server(Pushed) as port:
        service.url = f"http://127.0.0.1:{port}"
        yield service
