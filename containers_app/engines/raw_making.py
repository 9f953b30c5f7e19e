"""A new sandbox's record: its id, its user ids, its address, and the names that it finds in /etc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from ..kernel import resolver
from ..kernel.network import Network
from ..spec import ContainerSpec
from . import raw_plan
from .policy import Policy
from .raw_joins import Joiner, held_addresses
from .raw_store import Record, Store, free_uid_base, write_new


def addresses(records: Iterable[Record]) -> set[str]:
    """In use on the bridge: given to a sandbox, or kept by whoever has joined its network namespace."""
    records = list(records)
    return {record.attachment.address for record in records if record.attachment is not None} | held(records)


def held(records: Iterable[Record]) -> set[str]:
    return held_addresses((record.spec, record.run.pid if record.run else 0) for record in records if record.phase == "running")


class Maker:
    def __init__(self, node: str, policy: Policy, store: Store, joiner: Joiner) -> None:
        self._node, self._policy, self._store, self._joiner = node, policy, store, joiner

    def new_record(self, spec: ContainerSpec, owner: str, others: list[Record], network: Network | None) -> Record:
        uid_base = 0
        if spec.namespaces.user == "private":
            uids = self._policy.uids
            uid_base = free_uid_base(uids.base, uids.count, (other.uid_base for other in others))
        elif spec.namespaces.user != "host":
            uid_base = self._joined_uid_base(spec, others)
        attachment = None
        if spec.namespaces.net == "bridge":
            assert network is not None
            attachment = network.attachment(addresses(others))
        return Record(
            id=self._store.new_id(), node=self._node, spec=spec, owner=owner, created_at=time.time(),
            uid_base=uid_base, requested=dict(spec.limits), attachment=attachment,
        )  # fmt: skip

    def _joined_uid_base(self, spec: ContainerSpec, others: list[Record]) -> int:
        """Another sandbox's ids are known also while it does not run."""
        wanted = spec.namespaces.user.removeprefix("container:")
        for other in others:
            if wanted in (other.id, other.spec.name) and other.uid_base:
                return other.uid_base
        return self._joiner.uid_base(spec)

    def make_files(self, record: Record) -> None:
        """Its own layer and the names in it, before anything runs there: later it is the sandbox's, and we keep out."""
        self._store.make_layer(record)
        etc = f"{self._store.home(record.id)}/upper/etc"
        os.mkdir(etc)
        os.chmod(etc, 0o755)  # noqa: S103  whatever our umask is: everybody inside reads it
        name = raw_plan.hostname(record.spec)
        address = record.attachment.address if record.attachment is not None else "127.0.1.1"
        files = {
            "hostname": f"{name}\n",
            "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{address}\t{name}\n",
            "resolv.conf": resolver.resolv_conf(),
        }
        for file_name, text in files.items():
            write_new(f"{etc}/{file_name}", text.encode(), 0o644, record.uid_base)
        os.chown(etc, record.uid_base, record.uid_base)
