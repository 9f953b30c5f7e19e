"""Django's hooks into the panel."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ContainersConfig(AppConfig):
    name = "containers_app"
    verbose_name = "Terrarium"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks


class TerrariumAdminConfig(AdminConfig):
    default_site = "containers_app.admin_site.TerrariumAdminSite"
