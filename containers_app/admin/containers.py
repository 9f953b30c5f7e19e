"""Django's admin pages for templates, presets and containers, with actions on many: asked first, then an outcome each.

Everything goes through the same services as the panel's own pages, so it is permitted, checked and audited alike.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from .. import services, template_services
from ..errors import TerrariumError
from ..models import LimitPreset, ListedContainer, Template
from ..template_services import MOST_AT_ONCE, Outcome

Work = Callable[[Any, dict[str, Any], list[Any]], Coroutine[Any, Any, list[Outcome]]]


class CreateForm(forms.Form):
    prefix = forms.CharField(max_length=50, initial="box", help_text="Containers are called PREFIX-1, PREFIX-2 and so on.")
    count = forms.IntegerField(min_value=1, max_value=MOST_AT_ONCE, initial=1, label="How many of each")


class PresetForm(forms.Form):
    preset = forms.ModelChoiceField(LimitPreset.objects.all(), to_field_name="name", empty_label=None)


class ConfirmedAction:
    """An admin action in three steps: what is meant to happen, yes, what became of each."""

    def __init__(self, name: str, question: str, work: Work, form: type[forms.Form] = forms.Form) -> None:
        self.__name__, self.short_description = name, question
        self._work, self._form = work, form

    def __call__(self, page: admin.ModelAdmin[Any], request: Any, chosen: QuerySet[Any]) -> HttpResponse:
        rows = list(chosen[:MOST_AT_ONCE])
        form = self._form(request.POST if "confirmed" in request.POST else None)
        outcomes: list[Outcome] | None = None
        if "confirmed" in request.POST and form.is_valid():
            try:
                outcomes = async_to_sync(self._work)(request.visitor, form.cleaned_data, rows)
            except TerrariumError as error:
                messages.error(request, f"{error.message} {error.hint}")
        context = {
            **page.admin_site.each_context(request), "opts": page.model._meta, "title": self.short_description, "rows": rows,
            "form": form, "outcomes": outcomes, "action": self.__name__, "checkbox": ACTION_CHECKBOX_NAME,
            "failed": sum(not one.done for one in outcomes or ()), "more": chosen.count() - len(rows),
        }  # fmt: skip
        return TemplateResponse(request, "admin/act_on_many.html", context)


async def _create(visitor: Any, asked: dict[str, Any], rows: list[Any]) -> list[Outcome]:
    found: list[Outcome] = []
    for row in rows:
        prefix = asked["prefix"] if len(rows) == 1 else f"{asked['prefix']}-{row.name}"
        found += await template_services.create_from_template(visitor, row.name, prefix, asked["count"])
    return found


async def _apply(visitor: Any, asked: dict[str, Any], rows: list[Any]) -> list[Outcome]:
    return _named(rows, await template_services.apply_preset(visitor, asked["preset"].name, tuple(row.id for row in rows)))


def _act(action: str) -> Work:
    async def act(visitor: Any, _: dict[str, Any], rows: list[Any]) -> list[Outcome]:
        return _named(rows, await template_services.act_on_many(visitor, action, tuple(row.id for row in rows)))

    return act


def _named(rows: list[Any], outcomes: list[Outcome]) -> list[Outcome]:
    names = {row.id: row.name for row in rows}
    return [Outcome(names.get(one.target, one.target), one.done, one.message, one.code, one.hint) for one in outcomes]


class StaffPage(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """What staff may do in the panel it may do here."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    has_add_permission = has_module_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


class KeptAdmin(StaffPage):
    list_display: tuple[str, ...] = ("name", "description")
    search_fields = ("name", "description")


@admin.register(Template)
class TemplateAdmin(KeptAdmin):
    actions = (ConfirmedAction("create_containers", "Create containers from the selected templates", _create, CreateForm),)


@admin.register(LimitPreset)
class LimitPresetAdmin(KeptAdmin):
    list_display = (*KeptAdmin.list_display, "limits")


@admin.register(ListedContainer)
class ContainerAdmin(StaffPage):
    """The list as the worker has it at this moment; the panel's own pages say more."""

    list_display = ("name", "engine", "state", "image", "owner", "created")
    list_filter = ("engine", "state", "owner")
    search_fields = ("name", "id", "image")
    list_display_links = None
    actions = (
        ConfirmedAction("apply_preset", "Apply a preset of limits to the selected containers", _apply, PresetForm),
        ConfirmedAction("start", "Start the selected containers", _act("start")),
        ConfirmedAction("stop", "Stop the selected containers", _act("stop")),
        ConfirmedAction("remove", "Remove the selected containers with their files", _act("remove")),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: Any, extra_context: Any = None) -> Any:
        try:
            _copy(async_to_sync(services.list_containers)(request.visitor, limit=MOST_LISTED).containers)
        except TerrariumError as error:
            messages.warning(request, f"{error.message} {error.hint} This list is the last one known.")
        return super().changelist_view(request, extra_context)


MOST_LISTED = 100_000


def _copy(containers: list[Any]) -> None:
    rows = [
        ListedContainer(
            id=one.id, name=one.name, engine=one.engine, state=one.state, image=one.image, owner=one.owner,
            created=datetime.fromtimestamp(one.created_at, UTC),
        )
        for one in containers
    ]  # fmt: skip
    fields = ("name", "engine", "state", "image", "owner", "created")
    ListedContainer.objects.bulk_create(rows, update_conflicts=True, update_fields=fields, unique_fields=("id",), batch_size=100)
    gone = set(ListedContainer.objects.values_list("id", flat=True)) - {row.id for row in rows}
    ListedContainer.objects.filter(id__in=list(gone)[:900]).delete()
