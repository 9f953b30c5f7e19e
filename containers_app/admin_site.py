"""The admin site behind the panel's own log-in and forced password change. Apart from admin.py, which needs it while it loads."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect


class TerrariumAdminSite(AdminSite):
    site_header = "Terrarium"
    site_title = "Terrarium"
    index_title = "Administration"
    site_url = "/containers/"

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Everyone who gets here is logged in (middleware.py), so it is for want of the staff role."""
        raise PermissionDenied

    def logout(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return HttpResponseRedirect("/logout/", status=307)  # still a POST: the one way out, which also ends the sockets

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return HttpResponseRedirect("/password/")
