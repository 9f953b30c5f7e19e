"""Templates and presets: kept descriptions that are used again, on one or on many containers at once.

Many at once never fail as a whole: each has its own outcome, in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.db import models

from . import audits, database, services
from .errors import Conflict, InvalidInput, NotFound, TerrariumError
from .models import LimitPreset, Template
from .spec import parse_container, parse_limits
from .visitors import Visitor

MOST_AT_ONCE = 100
FEW = 4  # worked on at a time


class Outcome(msgspec.Struct, frozen=True):
    """What became of one of many: ``code`` and ``message`` are the error's where it was not done."""

    target: str
    done: bool
    message: str
    code: str = ""
    hint: str = ""


class TemplateView(msgspec.Struct, frozen=True):
    name: str
    description: str
    spec: dict[str, Any]


class PresetView(msgspec.Struct, frozen=True):
    name: str
    description: str
    limits: dict[str, Any]


# ── kept ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def list_templates(visitor: Visitor) -> list[TemplateView]:
    rows = await database.run(lambda: list(Template.objects.all()))
    return [TemplateView(row.name, row.description, row.spec) for row in rows]


async def list_presets(visitor: Visitor) -> list[PresetView]:
    rows = await database.run(lambda: list(LimitPreset.objects.all()))
    return [PresetView(row.name, row.description, row.limits) for row in rows]


async def save_template(visitor: Visitor, name: str, description: str, spec: dict[str, Any]) -> TemplateView:
    services.staff_only(visitor, "Keeping templates")
    await database.run(_add, Template(name=name, description=description, spec=spec))
    await audits.audit(visitor, "save template", name)
    return TemplateView(name, description, spec)


async def save_preset(visitor: Visitor, name: str, description: str, limits: dict[str, Any]) -> PresetView:
    services.staff_only(visitor, "Keeping presets")
    await database.run(_add, LimitPreset(name=name, description=description, limits=limits))
    await audits.audit(visitor, "save preset", name)
    return PresetView(name, description, limits)


async def remove_template(visitor: Visitor, name: str) -> None:
    services.staff_only(visitor, "Removing templates")
    await database.run(_remove, Template, name)
    await audits.audit(visitor, "remove template", name)


async def remove_preset(visitor: Visitor, name: str) -> None:
    services.staff_only(visitor, "Removing presets")
    await database.run(_remove, LimitPreset, name)
    await audits.audit(visitor, "remove preset", name)


def _add(row: models.Model) -> None:
    try:
        row.full_clean(validate_unique=False)
    except ValidationError as error:
        field, sentences = next(iter(error.message_dict.items()))
        raise InvalidInput(f"{field}: {sentences[0]}") from None
    if type(row).objects.filter(name=row.name).exists():  # type: ignore[attr-defined]  # of both kinds
        raise Conflict(f"There is one called “{row.name}” already.", hint="Remove it first.", code="name_taken")  # type: ignore[attr-defined]
    row.save()


def _remove(kind: Any, name: str) -> None:
    _get(kind, name).delete()


def _get(kind: Any, name: str) -> Any:
    row = kind.objects.filter(name=name).first()
    if row is None:
        raise NotFound(f"There is no {kind._meta.verbose_name} of that name.", hint="The list shows what there is.")
    return row


# ── used ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def create_from_template(visitor: Visitor, name: str, prefix: str, count: int) -> list[Outcome]:
    """``count`` containers called PREFIX-1, PREFIX-2 …; with one, PREFIX alone."""
    if not 1 <= count <= MOST_AT_ONCE:
        raise InvalidInput(f"count is from 1 to {MOST_AT_ONCE}.")
    template = await database.run(_get, Template, name)
    names = [prefix] if count == 1 else [f"{prefix}-{number}" for number in range(1, count + 1)]

    async def create(wanted: str) -> str:
        container = await services.create_container(visitor, parse_container({**template.spec, "name": wanted}))
        return f"{container.state}, {container.id[:12]}"

    return await _each(names, create)


async def apply_preset(visitor: Visitor, name: str, references: tuple[str, ...]) -> list[Outcome]:
    """Each container takes all of the preset's limits or, where one can't be set, none of them."""
    if not 1 <= len(references) <= MOST_AT_ONCE:
        raise InvalidInput(f"Choose from 1 to {MOST_AT_ONCE} containers.")
    preset = await database.run(_get, LimitPreset, name)
    changes = parse_limits(preset.limits)

    async def apply(reference: str) -> str:
        readings = await services.update_limits(visitor, reference, changes)
        return ", ".join(f"{limit} {'none' if (kernel := readings[limit].kernel) is None else kernel}" for limit in changes)

    outcomes = await _each(references, apply)
    await audits.settle()  # nobody drags a preset
    return outcomes


ACTS = {
    "start": services.start_container, "stop": services.stop_container, "kill": services.kill_container,
    "restart": services.restart_container, "pause": services.pause_container, "resume": services.resume_container,
}  # fmt: skip


async def act_on_many(visitor: Visitor, action: str, references: tuple[str, ...]) -> list[Outcome]:
    """``action`` of ACTS, or "remove" (by force)."""
    if not 1 <= len(references) <= MOST_AT_ONCE:
        raise InvalidInput(f"Choose from 1 to {MOST_AT_ONCE} containers.")
    if action != "remove" and action not in ACTS:
        raise InvalidInput("There is no such action.", hint="Actions are " + ", ".join([*ACTS, "remove"]) + ".")

    async def act(reference: str) -> str:
        if action == "remove":
            await services.remove_container(visitor, reference, force=True)
            return "removed"
        return (await ACTS[action](visitor, reference)).state

    return await _each(references, act)


async def _each(targets: Sequence[str], work: Callable[[str], Awaitable[str]]) -> list[Outcome]:
    """In the order of the targets, a few at a time: a stop may wait for its time-out."""
    turn = asyncio.Semaphore(FEW)

    async def outcome(target: str) -> Outcome:
        async with turn:
            try:
                return Outcome(target, True, await work(target))
            except TerrariumError as error:
                return Outcome(target, False, error.message, error.code, error.hint)

    return await asyncio.gather(*map(outcome, targets))
