from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _

from runners.models import Runner
from runners.preferences.following import FollowAnswer, follow_answer
from runners.views.me.page import back_to, own_form

WORDS = {
    FollowAnswer.ACCEPT: _("{name} sees you now."),
    FollowAnswer.REFUSE: _("{name} was refused."),
    FollowAnswer.BLOCK: _("{name} is blocked and does not see you while signed in."),
    FollowAnswer.REMOVE: _("{name} is removed from your list."),
}


@own_form
def answer(request: HttpRequest, runner: Runner, pk: int) -> HttpResponse:
    """Answer a request, or change the answer to a follower."""
    follow = get_object_or_404(runner.followers.select_related("user"), pk=pk)
    try:
        chosen = FollowAnswer(request.POST.get("answer", ""))
    except ValueError:
        raise Http404("There is no such answer.") from None
    follow_answer(follow=follow, answer=chosen)
    messages.success(request, WORDS[chosen].format(name=follow.user.get_username()))
    return back_to("followers")
