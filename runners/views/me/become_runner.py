from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from runners.models import Runner
from runners.notifying.inviting import invitations_of
from runners.views.me.forms import BecomeRunnerForm


@login_required
def become_runner(request: HttpRequest) -> HttpResponse:
    """Make a signed-in user a runner; each account has at most one."""
    if Runner.objects.filter(account=request.user.pk).exists():
        return redirect("me")
    form = BecomeRunnerForm(request.POST or None, initial={"name": _name(request)})
    if request.method == "POST" and form.is_valid():
        runner = form.save(commit=False)
        runner.account_id = request.user.pk
        try:
            with transaction.atomic():
                runner.save()
        except IntegrityError:
            # The code was taken meanwhile, or a second request was faster.
            if Runner.objects.filter(account=request.user.pk).exists():
                return redirect("me")
            form.add_error(
                "code", _("This code has just been taken. Choose a different one.")
            )
        else:
            return redirect("me")
    context = {"form": form, "invitations": invitations_of(request.user)}
    return render(request, "runners/me/become.html", context)


def _name(request: HttpRequest) -> str:
    return request.user.get_full_name() if request.user.is_authenticated else ""
