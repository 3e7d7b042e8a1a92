"""Web push messages: encrypted for a browser and signed by this server.

RFC 8291 (encryption) and RFC 8292 (VAPID, which identifies this server).
"""

from __future__ import annotations

import base64
import hashlib
import time
from email.utils import parseaddr
from functools import cache, lru_cache
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from py_vapid import Vapid02

CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Push services accept signatures for at most a day. One is used for an hour and is
# valid longer.
USED_FOR_S = 3_600
VALID_FOR_S = 12 * 3_600
AUTH_BYTES = 16


class KeysRefused(ValueError):
    """Keys of a browser that cannot be used for encryption."""


def public_key() -> str:
    """Return the public key with which a browser subscribes: base64url."""
    point = _vapid().public_key.public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    return encode(point)


def check_keys(p256dh: str, auth: str) -> None:
    """Check the type of keys; raises `KeysRefused`."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, decode(p256dh))
        right = len(decode(auth)) == AUTH_BYTES
    except ValueError:
        right = False
    if not right:
        raise KeysRefused("The keys are not those of a browser's push subscription.")


def encrypt(payload: bytes, *, p256dh: str, auth: str) -> bytes:
    """Encrypt a message for the browser with these keys."""
    encrypted: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(CURVE),
        dh=decode(p256dh),
        auth_secret=decode(auth),
        version="aes128gcm",
    )
    return encrypted


def headers(endpoint: str, *, ttl: int, urgent: bool, topic: str) -> dict[str, str]:
    """Return the HTTP headers of a message that expires after `ttl` seconds.

    While the browser is offline, a later message with the same topic replaces it.
    """
    parts = urlsplit(endpoint)
    audience = f"{parts.scheme}://{parts.netloc}"
    digest = hashlib.sha256(topic.encode()).digest()
    return {
        "Authorization": _signature(audience, int(time.time() // USED_FOR_S)),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(ttl),
        "Urgency": "high" if urgent else "normal",
        # At most 32 characters of base64url, as specified.
        "Topic": encode(digest[:24]),
    }


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode base64url; raises ValueError."""
    return base64.b64decode(
        text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
    )


@lru_cache(maxsize=64)
def _signature(audience: str, hour: int) -> str:
    # The contact for push services; Apple's accepts no address at a local name.
    public = urlsplit(settings.PUBLIC_URL)
    sender = f"mailto:{parseaddr(settings.DEFAULT_FROM_EMAIL)[1]}"
    claims = {
        "aud": audience,
        "exp": hour * USED_FOR_S + VALID_FOR_S,
        "sub": f"https://{public.hostname}" if public.scheme == "https" else sender,
    }
    signed: str = _vapid().sign(claims)["Authorization"]
    return signed


@cache
def _vapid() -> Vapid02:
    if settings.SPECTATE_VAPID_KEY:
        number = int.from_bytes(decode(settings.SPECTATE_VAPID_KEY))
    else:
        # Derived from SECRET_KEY, so that all workers have the same key. More bytes
        # than the curve's order make all numbers almost equally likely.
        derived = HKDF(SHA256(), 48, salt=None, info=b"spectate web push")
        number = int.from_bytes(derived.derive(settings.SECRET_KEY.encode()))
        number = number % (ORDER - 1) + 1
    # The library's check of `sub` accepts too few host names.
    return Vapid02(ec.derive_private_key(number, CURVE), conf={"no-strict": True})
