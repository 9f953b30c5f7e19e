"""Logging in and out, and one's password."""

from __future__ import annotations

import math
from typing import Any

from django.contrib.auth import aauthenticate, alogin, alogout, aupdate_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from .. import accounts, throttle
from ..forms import LogInForm, NewPasswordForm, PasswordChangeForm

_TRY_AGAIN = "The user name or the password is wrong."


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
async def log_in(request: Any) -> HttpResponse:
    address = request.META.get("REMOTE_ADDR") or ""
    target = _target(request)
    if request.method != "POST":
        if request.visitor is not None:
            return HttpResponseRedirect(target)
        return _log_in_page(request, LogInForm(), target)
    form = LogInForm(request.POST)
    if not form.is_valid():
        form.add_error(None, "Type a user name and a password.")
        return _log_in_page(request, form, target)
    username = form.cleaned_data["username"]
    seconds = math.ceil(throttle.wait(username, address))
    if seconds:
        form.add_error(None, f"Too many wrong passwords. Try again in {seconds} seconds.")
        response = _log_in_page(request, form, target, status=429)
        response["Retry-After"] = str(seconds)
        return response
    throttle.attempt(username, address)
    user = await aauthenticate(request, username=username, password=form.cleaned_data["password"])
    if user is None:
        form.add_error(None, _TRY_AGAIN)
        return _log_in_page(request, form, target)
    throttle.succeeded(username, address)
    if request.visitor is not None:
        await accounts.end_visit(request.visitor)
        await request.session.aflush()  # the same user, too, gets a new key
    await alogin(request, user)
    await accounts.note_log_in(user, address)
    return HttpResponseRedirect("/password/" if user.must_change_password else target)


def _log_in_page(request: HttpRequest, form: LogInForm, target: str, status: int = 200) -> HttpResponse:
    return render(request, "registration/login.html", {"form": form, "next": target}, status=status)


def _target(request: Any) -> str:
    """Where to go after the log-in: a page of ours, whatever the address says."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None, require_https=request.is_secure()):
        return wanted
    return "/containers/"


@require_POST
async def log_out(request: Any) -> HttpResponse:
    await accounts.end_visit(request.visitor)
    await alogout(request)
    return HttpResponseRedirect("/login/")


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
async def password(request: Any) -> HttpResponse:
    """Forced, without the old one, after a log-in with a one-time password; else at will."""
    user = request.user = await request.auser()
    forced = user.must_change_password
    make = NewPasswordForm if forced else PasswordChangeForm
    form = make(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and await accounts.change_password(form, request.visitor):
        await aupdate_session_auth_hash(request, user)
        return HttpResponseRedirect("/containers/")
    context = {"form": form, "forced": forced, "user": request.visitor}
    return render(request, "registration/password.html", context)
