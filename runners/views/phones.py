"""The page of a runner's phones: set one up, and check whether it works."""

from __future__ import annotations

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from runners.intake.diagnosis import diagnose, duration
from runners.intake.setup import PHONE_APPS
from runners.models import Runner, RunnerToken
from runners.preferences.runner_settings import TooManyTokens, token_issue
from runners.rights.roles import Action, runners_managed


def own_runner(request: HttpRequest, code: str) -> Runner:
    """Return a runner whose phones the visitor may set up.

    This is their own, or one of the race office's. Raises Http404 for all others.
    """
    user = request.user
    runner = get_object_or_404(Runner, code=code)
    managed = runners_managed(user, Action.ISSUE)
    if runner.account_id != user.pk and not managed.contains(runner):
        raise Http404
    return runner


def phones_of(runner: Runner) -> list[tuple[RunnerToken, str]]:
    """Return a runner's usable tokens, newest first, with the age of each last contact.

    For runners/_phones.html. Causes one query.
    """
    now = timezone.now()
    listed = []
    for token in (
        RunnerToken.objects.usable()
        .filter(runner=runner)
        .select_related("phone", "runner")
    ):
        phone = getattr(token, "phone", None)
        seen = phone.contact_at if phone else token.last_used_at
        listed.append((token, duration(now - seen) if seen else ""))
    return listed


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("plain", "setup")
def phones(request: HttpRequest, code: str) -> HttpResponseBase:
    """Choose an app and list the phones; with `app` posted, set one up."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    runner = own_runner(request, code)
    if request.method == "POST":
        app = PHONE_APPS.get(request.POST.get("app", ""))
        if app is not None:
            try:
                token, plain = token_issue(runner=runner, name=str(app.name))
            except TooManyTokens as error:
                return _list_phones(request, runner, problem=str(error))
            # Only this response can show the token, so there is no redirect.
            context = {
                "runner": runner,
                "app": app,
                "setup": app.make(runner.code, plain),
                "token": token,
                "diagnosis": diagnose(token),
            }
            return render(request, "runners/phones_setup.html", context)
    return _list_phones(request, runner)


def _list_phones(
    request: HttpRequest, runner: Runner, *, problem: str = ""
) -> HttpResponseBase:
    context = {
        "runner": runner,
        "apps": PHONE_APPS.values(),
        "phones": phones_of(runner),
        "problem": problem,
    }
    return render(request, "runners/phones.html", context)


@never_cache
@require_safe
def phone(request: HttpRequest, code: str, token: int) -> HttpResponseBase:
    """Show whether a phone works; the page's script requests only the changing part."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    runner = own_runner(request, code)
    row = get_object_or_404(RunnerToken, runner=runner, pk=token)
    context = {"runner": runner, "token": row, "diagnosis": diagnose(row)}
    part = "part" in request.GET
    template = "runners/_phone_test.html" if part else "runners/phones_test.html"
    return render(request, template, context)
