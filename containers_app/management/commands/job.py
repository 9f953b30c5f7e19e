"""``manage.py job list|cancel``: work that takes its time, from the command line."""

from __future__ import annotations

from typing import Any

from containers_app import image_services
from containers_app.management.service_command import Handler, Options, ServiceCommand
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Job

_COLUMNS = ("ID", "KIND", "TARGET", "STATE", "OWNER", "DONE", "OF", "PHASE")


class Command(ServiceCommand):
    help = "Lists and cancels imports, pulls, clones and commits, as the panel does."

    def add_actions(self, actions: Any) -> None:
        actions.add_parser("list", help="list jobs, newest first")
        actions.add_parser("cancel", help="call one off; nothing of it is left").add_argument("id")

    def handlers(self) -> dict[str, Handler]:
        return {"list": self._list, "cancel": self._cancel}

    async def _list(self, visitor: Visitor, options: Options) -> int:
        jobs = await image_services.list_jobs(visitor)
        if options["json"]:
            self.print_json({"items": jobs, "next": None})
        else:
            self.print_table(_COLUMNS, [_row(job) for job in jobs])
        return 0

    async def _cancel(self, visitor: Visitor, options: Options) -> int:
        job = await image_services.cancel_job(visitor, options["id"])
        if options["json"]:
            self.print_json(job)
        else:
            self.print_table(_COLUMNS, [_row(job)])
        return 0


def _row(job: Job) -> list[str]:
    words = job.phase if job.state == "running" else job.message
    return [job.id, job.kind, job.target, job.state, job.owner or "-", str(job.done), str(job.total or "-"), words]
