from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from runners.models import Runner
from runners.preferences.runner_settings import TooManyTokens, token_issue
from runners.views.me.forms import TokenForm
from runners.views.me.page import back_to, own_form, own_page


@sensitive_variables("plain", "context")
@own_form
def issue(request: HttpRequest, runner: Runner) -> HttpResponse:
    """Create a token and show it; no later page can."""
    form = TokenForm(request.POST, auto_id="token_%s")
    if not form.is_valid():
        return own_page(request, runner, token_form=form)
    try:
        token, plain = token_issue(runner=runner, name=form.cleaned_data["name"])
    except TooManyTokens as error:
        form.add_error(None, str(error))
        return own_page(request, runner, token_form=form)
    context = {
        "token": token,
        "plain": plain,
        # ws: instead of http:, and wss: instead of https:.
        "websocket": f"ws{settings.PUBLIC_URL.removeprefix('http')}/ws/",
    }
    return render(request, "runners/me/token.html", context)


@own_form
def revoke(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    token = get_object_or_404(runner.tokens, pk=pk)
    token.revoke()
    messages.success(request, _("“{name}” can no longer send.").format(name=token.name))
    return back_to("tokens")
