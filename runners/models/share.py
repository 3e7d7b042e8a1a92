from __future__ import annotations

import math
import secrets
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.crypto import salted_hmac

from runners.models.race import Race
from runners.models.rights import NotingQuerySet, RightsChange
from runners.models.runner import TOKEN_BYTES, Runner, token_digest

# How long a count of viewers that a process reported is valid.
VIEWERS_AGE = timedelta(seconds=15)


class ShareLinkQuerySet(NotingQuerySet["ShareLink"]):
    def issue(
        self,
        *,
        label: str,
        expires_at: datetime,
        runners: list[Runner] | None = None,
        race: Race | None = None,
        pin: str = "",
        earlier: bool = False,
        created_by: User | None = None,
    ) -> tuple[ShareLink, str]:
        """Create a link to runners or to a race; return its row and the plain token.

        With `earlier`, it also shows the runners' positions from before.
        """
        plain = secrets.token_urlsafe(TOKEN_BYTES)
        link = ShareLink(
            label=label,
            expires_at=expires_at,
            race=race,
            digest=token_digest(plain),
            pin=make_password(pin) if pin else "",
            shown_from=None if earlier else timezone.now(),
            created_by=created_by,
        )
        if bool(runners) == bool(race):
            raise ValidationError("A link is for runners or for a race, not both.")
        link.save()
        link.runners.set(runners or [])
        return link, plain

    def usable(self) -> ShareLinkQuerySet:
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())

    def count_view(self) -> None:
        """Count a view of a link, without recording a change of rights."""
        models.QuerySet.update(
            self, views=models.F("views") + 1, last_viewed_at=timezone.now()
        )

    def with_viewers(self) -> ShareLinkQuerySet:
        """Annotate each link with `viewers`, the number of open sockets that use it."""
        lately = Q(presence__seen_at__gt=timezone.now() - VIEWERS_AGE)
        return self.annotate(
            viewers=Coalesce(models.Sum("presence__viewers", filter=lately), 0)
        )

    def of_token(self, plain: str) -> ShareLinkQuerySet:
        return self.filter(digest=token_digest(plain))


class ShareLink(models.Model):
    """A secret link that shows named runners, or a race, to everybody who has it."""

    label = models.CharField(max_length=80, help_text="Who the link is for.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    runners = models.ManyToManyField(Runner, blank=True, related_name="links")
    race = models.ForeignKey(
        Race, on_delete=models.CASCADE, null=True, blank=True, related_name="links"
    )
    pin = models.CharField(max_length=128, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="links",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    shown_from = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        default=timezone.now,
        help_text="The link shows positions of runners from this time on; empty: all.",
    )
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    views = models.PositiveIntegerField(
        default=0, editable=False, help_text="How often the link was opened."
    )
    last_viewed_at = models.DateTimeField(null=True, blank=True, editable=False)

    rights_kind, rights_key = RightsChange.Kind.LINK, "pk"
    objects = ShareLinkQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.label

    def revoke(self) -> None:
        """Revoke the link. A second call changes nothing."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


class LinkViewersQuerySet(models.QuerySet["LinkViewers"]):
    def say(self, process: str, viewers: Mapping[int, int]) -> None:
        """Store the number of sockets of a process that use each link, by its key.

        Call it more often than `VIEWERS_AGE`, and with an empty dict once the last
        socket has closed. Causes three queries.
        """
        now = timezone.now()
        links = ShareLink.objects.filter(pk__in=list(viewers))
        LinkViewers.objects.bulk_create(
            [
                LinkViewers(
                    link_id=link, process=process, viewers=viewers[link], seen_at=now
                )
                for link in links.values_list("pk", flat=True)
            ],
            update_conflicts=True,
            unique_fields=["link", "process"],
            update_fields=["viewers", "seen_at"],
        )
        gone = Q(process=process) & ~Q(link__in=list(viewers))
        self.filter(gone | Q(seen_at__lt=now - VIEWERS_AGE)).delete()


class LinkViewers(models.Model):
    """The number of sockets of one process that use a link.

    Rows of dead processes expire.
    """

    link = models.ForeignKey(
        ShareLink, on_delete=models.CASCADE, related_name="presence"
    )
    process = models.CharField(max_length=32)
    viewers = models.PositiveIntegerField()
    seen_at = models.DateTimeField()

    objects = LinkViewersQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["link", "process"], name="a_process_counts_a_link_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.viewers} of {self.link}"


class Pause(models.Model):
    """A period in which a runner shares nothing, even if its fixes arrive later."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="pauses")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "runner_id"
    objects: ClassVar = NotingQuerySet["Pause"].as_manager()

    class Meta:
        ordering: ClassVar = ["started_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["runner"],
                condition=models.Q(ended_at=None),
                name="a_runner_is_paused_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.runner_id} from {self.started_at:%Y-%m-%d %H:%M}"


class Zone(models.Model):
    """A place around which a runner is never shown, such as their home.

    The circle that is hidden has `HIDDEN_RADII` radii. Its centre is anywhere within
    `FARTHEST_SHIFT` radii of the place, each point with the same probability, and stays
    the same. The circle, which the ends of tracks reveal, thus does not reveal where
    inside the place is. docs/privacy.md has what attackers find nevertheless.
    """

    HIDDEN_RADII = 6.0
    FARTHEST_SHIFT = 2.0

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="zones")
    name = models.CharField(max_length=40, default="Home")
    lat = models.FloatField()
    lng = models.FloatField()
    radius = models.FloatField(default=300, help_text="Metres, 100 to 5,000.")
    # The shift of the centre: in radii, and degrees from north.
    shift = models.FloatField(editable=False)
    bearing = models.FloatField(editable=False)

    rights_kind, rights_key = RightsChange.Kind.RUNNER, "runner_id"
    objects: ClassVar = NotingQuerySet["Zone"].as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(radius__gte=100, radius__lte=5000),
                name="a_zone_is_neither_tiny_nor_huge",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        if self.shift is None:
            self.draw_shift()
        super().save(**kwargs)

    @classmethod
    def hidden_range(cls, radius: float) -> tuple[int, int]:
        """Return how far around a place is hidden, at least and at most, in metres."""
        least = (cls.HIDDEN_RADII - cls.FARTHEST_SHIFT) * radius
        return round(least), round((cls.HIDDEN_RADII + cls.FARTHEST_SHIFT) * radius)

    def draw_shift(self) -> None:
        """Choose the centre of the hidden circle: the same again for the same zone.

        A zone that is removed and made again would otherwise get a second circle, and
        both together reveal more. The place counts to about 100 m.
        """
        zone = f"{self.runner_id} {self.lat:.3f} {self.lng:.3f} {self.radius:.0f}"
        digest = salted_hmac("runners.zone", zone, algorithm="sha256").digest()
        distance, angle = struct.unpack("2Q", digest[:16])
        self.shift = self.FARTHEST_SHIFT * math.sqrt(distance / 2**64)
        self.bearing = 360 * angle / 2**64
