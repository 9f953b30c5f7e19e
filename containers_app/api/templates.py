"""/api/v1/templates and /api/v1/presets; and one act on many containers."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import template_services
from ..template_services import PRESETS, TEMPLATES, Outcome, PresetView, TemplateView, keep, list_kept, remove_kept
from . import shapes
from .route import Call, Route


class TemplateBody(shapes.Body, frozen=True):
    name: str
    spec: dict[str, Any]
    description: str = ""


class PresetBody(shapes.Body, frozen=True):
    name: str
    limits: dict[str, Any]
    description: str = ""


class CreateBody(shapes.Body, frozen=True):
    """Containers PREFIX-1 to PREFIX-COUNT; with a count of 1, PREFIX alone."""

    prefix: str
    count: int = 1


class ManyBody(shapes.Body, frozen=True):
    containers: tuple[str, ...]


class Templates(msgspec.Struct, frozen=True):
    items: list[TemplateView]
    next: None = None


class Presets(msgspec.Struct, frozen=True):
    items: list[PresetView]
    next: None = None


class Outcomes(msgspec.Struct, frozen=True):
    items: list[Outcome]
    next: None = None


async def list_templates(call: Call) -> object:
    return Templates(await list_kept(call.visitor, TEMPLATES))


async def save_template(call: Call) -> object:
    body: TemplateBody = call.body
    return await keep(call.visitor, TEMPLATES, body.name, body.description, body.spec)


async def remove_template(call: Call) -> object:
    return await remove_kept(call.visitor, TEMPLATES, call.path["name"])


async def create_from_template(call: Call) -> object:
    body: CreateBody = call.body
    return Outcomes(await template_services.create_from_template(call.visitor, call.path["name"], body.prefix, body.count))


async def list_presets(call: Call) -> object:
    return Presets(await list_kept(call.visitor, PRESETS))


async def save_preset(call: Call) -> object:
    body: PresetBody = call.body
    return await keep(call.visitor, PRESETS, body.name, body.description, body.limits)


async def remove_preset(call: Call) -> object:
    return await remove_kept(call.visitor, PRESETS, call.path["name"])


async def apply_preset(call: Call) -> object:
    return Outcomes(await template_services.apply_preset(call.visitor, call.path["name"], call.body.containers))


async def act_on_many(call: Call) -> object:
    return Outcomes(await template_services.act_on_many(call.visitor, call.path["action"], call.body.containers))


ROUTES = (
    Route("GET", "/templates", list_templates, "List templates", Templates, tag="templates"),
    Route("POST", "/templates", save_template, "Keep a template", TemplateView, TemplateBody, status=201, tag="templates"),
    Route("DELETE", "/templates/{name}", remove_template, "Remove a template", status=204, tag="templates"),
    Route("POST", "/templates/{name}/create", create_from_template, "Use it", Outcomes, CreateBody, tag="templates"),
    Route("GET", "/presets", list_presets, "List presets of limits", Presets, tag="templates"),
    Route("POST", "/presets", save_preset, "Keep a preset", PresetView, PresetBody, status=201, tag="templates"),
    Route("DELETE", "/presets/{name}", remove_preset, "Remove a preset", status=204, tag="templates"),
    Route("POST", "/presets/{name}/apply", apply_preset, "Set its limits on containers", Outcomes, ManyBody, tag="templates"),
    Route("POST", "/many/{action}", act_on_many, "Do one thing to several", Outcomes, ManyBody, tag="templates"),
)  # fmt: skip
