"""People of a race: invitations, and roles that begin, change and end."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from runners.models import Invitation, Race, RaceRole
from runners.models.race_role import Role
from runners.models.runner import token_digest
from runners.notifying import mail
from runners.notifying.suppression import check_first_mail, too_many_unasked
from runners.rights.roles import Action, may, races_of, role_set
from runners.units.errors import CodedError


def account_invite(*, race: Race, username: str, role: Role, invited_by: User) -> None:
    """Invite the account of a username, if there is one, to a role.

    Raises `CodedError` after as many as by mail, whether there is an account or not.
    """
    if too_many_unasked(username, invited_by.pk):
        detail = "Too many invitations today. Try again tomorrow."
        raise CodedError("rate.limited", detail)
    Invitation.objects.issue(
        race=race, username=username, role=role, invited_by=invited_by
    )


def person_invite(
    *, race: Race, email: str, role: Role, invited_by: User, language: str
) -> Invitation:
    """Invite an address to a role by a mail in a language.

    A second invitation replaces the first one, whose link ends. Raises `CodedError`,
    and OSError if the mail server is unavailable; the address is not invited then.
    The mail is sent outside a transaction, which would keep other writers out.
    """
    if not mail.is_offered():
        raise CodedError("mail.off", _("This server does not send emails."))
    check_first_mail(email, account=invited_by.pk)
    invitation, plain = Invitation.objects.issue(
        race=race, email=email, role=role, invited_by=invited_by
    )
    try:
        with translation.override(language):
            mail.invitation_mail(invitation, plain).send()
    except OSError:
        Invitation.objects.filter(digest=invitation.digest).delete()
        raise
    return invitation


def invitation_of(plain: str) -> Invitation | None:
    """Return the invitation of a link, or None if it gives nothing (any more)."""
    invitations = Invitation.objects.open().select_related("race", "invited_by")
    found = invitations.filter(digest=token_digest(plain)).first()
    return found if found and _may_invite(found) else None


def invitations_of(user: User | AnonymousUser) -> list[Invitation]:
    """Return the invitations of an account by its username that can be accepted.

    Causes two queries, and at most three per inviter.
    """
    if user.pk is None:
        return []
    invitations = Invitation.objects.open().filter(user=user.pk)
    found = invitations.select_related("race").defer("race__line")
    # Inviters are shared, with their permissions.
    found = found.prefetch_related("invited_by")
    may_invite = {
        inviter: set(
            races_of(inviter, Action.PEOPLE)
            .filter(invitations__user=user.pk)
            .values_list("pk", flat=True)
        )
        for inviter in {each.invited_by for each in found}
    }
    return [each for each in found if each.race_id in may_invite[each.invited_by]]


def _may_invite(invitation: Invitation) -> bool:
    """Return whether the inviter may still add people: they may have been removed."""
    return may(invitation.invited_by, invitation.race, Action.PEOPLE)


@transaction.atomic
def invitation_accept(*, invitation: Invitation, user: User) -> None:
    """Give an account the role of an invitation, which ends by that.

    Raises `CodedError` if somebody else was faster, if the inviter may not add people
    any more, or if the account has a role.
    """
    if RaceRole.objects.filter(race=invitation.race_id, user=user).exists():
        detail = _("This account has a role in the race already. Use a different one.")
        raise CodedError("role.held", detail)
    still = Invitation.objects.open().filter(digest=invitation.digest)
    if not (_may_invite(invitation) and still.delete()[0]):
        raise CodedError("invitation.used", _("This invitation has been used."))
    role_set(race=invitation.race, user=user, role=Role(invitation.role))


@transaction.atomic
def role_change(*, held: RaceRole, role: Role | None) -> None:
    """Change the role of a person, or remove them; raises `CodedError`.

    The last owner of a race stays: nobody else could add people.
    """
    owners = RaceRole.objects.select_for_update().filter(
        race=held.race_id, role=Role.OWNER
    )
    if role != Role.OWNER and [owner.pk for owner in owners] == [held.pk]:
        detail = "A race needs an owner. Make somebody else an owner first."
        raise CodedError("owner.last", detail)
    if role is None:
        held.delete()
    else:
        role_set(race=held.race, user=held.user, role=role)
