"""Templates and presets: kept descriptions that are used again, on one or on many containers at once.

Many at once never fail as a whole: each has its own outcome, in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.core.exceptions import ValidationError

from . import audits, database, services
from .errors import Conflict, InvalidInput, NotFound, TerrariumError
from .models import Kept, LimitPreset, Template
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


@dataclass(frozen=True)
class Kind:
    """Templates or presets: where they are kept and how one is shown; ``view`` takes name, description and content."""

    word: str
    model: type[Kept]
    view: type[TemplateView] | type[PresetView]

    def show(self, row: Kept) -> TemplateView | PresetView:
        return self.view(row.name, row.description, getattr(row, row.content))


TEMPLATES = Kind("template", Template, TemplateView)
PRESETS = Kind("preset", LimitPreset, PresetView)


async def list_kept(visitor: Visitor, kind: Kind) -> list[Any]:
    return [kind.show(row) for row in await database.run(lambda: list(kind.model._default_manager.all()))]


@audits.carried_out
async def keep(visitor: Visitor, kind: Kind, name: str, description: str, content: dict[str, Any]) -> TemplateView | PresetView:
    services.staff_only(visitor, f"Keeping {kind.word}s")
    row = kind.model(name=name, description=description, **{kind.model.content: content})
    await database.run(_add, row)
    await audits.audit(visitor, f"save {kind.word}", name)
    return kind.show(row)


@audits.carried_out
async def remove_kept(visitor: Visitor, kind: Kind, name: str) -> None:
    services.staff_only(visitor, f"Removing {kind.word}s")
    await database.run(lambda: _get(kind.model, name).delete())
    await audits.audit(visitor, f"remove {kind.word}", name)


def _add(row: Kept) -> None:
    try:
        row.full_clean(validate_unique=False)
    except ValidationError as error:
        field, sentences = next(iter(error.message_dict.items()))
        raise InvalidInput(f"{field}: {sentences[0]}") from None
    if type(row)._default_manager.filter(name=row.name).exists():
        raise Conflict(f"There is one called “{row.name}” already.", hint="Remove it first.", code="name_taken")
    row.save()


def _get(model: type[Kept], name: str) -> Any:
    row = model._default_manager.filter(name=name).first()
    if row is None:
        raise NotFound(f"There is no {model._meta.verbose_name} of that name.", hint="The list shows what there is.")
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
