"""Sign-in, sign-up and sign-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView, RedirectURLMixin
from django.http import HttpResponse, HttpResponseRedirect
from django.views.generic import CreateView

if TYPE_CHECKING:
    SignUpForm = UserCreationForm[User]
    SignUpView = CreateView[User, SignUpForm]
else:  # Django's classes accept no type arguments at run time.
    SignUpForm = UserCreationForm
    SignUpView = CreateView


class SignIn(LoginView):
    template_name = "runners/sign_in.html"
    redirect_authenticated_user = True


class SignUp(RedirectURLMixin, SignUpView):
    """Create an account and sign in."""

    form_class = SignUpForm
    template_name = "runners/sign_up.html"
    next_page = "live"

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        login(self.request, form.save())
        return HttpResponseRedirect(self.get_success_url())


class SignOut(LogoutView):
    """End the session (POST only, as in Django) and redirect to the live page."""
