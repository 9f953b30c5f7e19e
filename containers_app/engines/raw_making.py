"""A new sandbox's record: its id, its user ids, its address, and the names that it finds in /etc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator

import msgspec

from ..errors import Conflict, InvalidInput, Unsupported
from ..kernel import resolver
from ..kernel.images import Image
from ..kernel.networks import Networks
from ..spec import ContainerSpec
from . import raw_plan
from .policy import Policy
from .raw_joins import Joiner, held_addresses
from .raw_store import Record, Store, free_uid_base

NAMES = ("hostname", "hosts", "resolv.conf")  # what tells a sandbox in /etc of itself and of others


def addresses(records: Iterable[Record]) -> set[str]:
    """In use on the bridge: given to a sandbox, or kept by whoever has joined its network namespace."""
    records = list(records)
    return {record.attachment.address for record in records if record.attachment is not None} | held(records)


def held(records: Iterable[Record]) -> set[str]:
    return held_addresses((record.spec, record.run.pid if record.run else 0) for record in records if record.phase == "running")


def with_defaults(spec: ContainerSpec, image: Image) -> ContainerSpec:
    """What the spec leaves open is the image's. Raises InvalidInput."""
    command = spec.command or image.command
    if not command:
        raise InvalidInput(
            f"The image {image.name} names no program.", code="invalid_command", hint='Give a command, for example ["sh"].'
        )
    return msgspec.structs.replace(spec, command=command, cwd=spec.cwd or image.cwd, user=spec.user or image.user)


def check_published(spec: ContainerSpec, networks: Networks) -> None:
    """NotFound when there is no such network."""
    if spec.ports and not networks.get(spec.network).nat:
        raise Unsupported(
            f"The network {spec.network} is internal: nobody outside reaches it.",
            hint="Leave ports out, or use a network with nat.",
        )


def _own_uid_base(spec: ContainerSpec, others: Iterable[Record]) -> int:
    """Root's id of a map that the user wrote. Conflict when another sandbox's processes would have the same ids."""
    for other in others:
        for line in spec.id_map:
            for first, count in other.id_ranges():
                if line.outside < first + count and first < line.outside + line.count:
                    raise Conflict(
                        f"{other.spec.name} has the ids from {first} to {first + count - 1}.",
                        code="ids_taken",
                        hint="Map to other ids; only sandboxes that share a user namespace share ids.",
                    )
    return next(line.outside - line.inside for line in spec.id_map if line.inside == 0)


class Maker:
    def __init__(self, node: str, policy: Policy, store: Store, joiner: Joiner) -> None:
        self._node, self._policy, self._store, self._joiner = node, policy, store, joiner

    def new_record(self, spec: ContainerSpec, owner: str, others: list[Record], networks: Networks | None) -> Record:
        uid_base = 0
        if spec.id_map:
            uid_base = _own_uid_base(spec, others)
        elif spec.namespaces.user == "private":
            uids = self._policy.uids
            uid_base = free_uid_base(uids.base, uids.count, (line for other in others for line in other.id_ranges()))
        elif spec.namespaces.user != "host":
            uid_base = self._joined_uid_base(spec, others)
        attachment = None
        if spec.namespaces.net == "bridge":
            assert networks is not None
            check_published(spec, networks)
            attachment = networks.attachment(addresses(others), spec.network)
        return Record(
            id=self._store.new_id(), node=self._node, spec=spec, owner=owner, created_at=time.time(),
            uid_base=uid_base, requested=dict(spec.limits), attachment=attachment,
        )  # fmt: skip

    def _joined_uid_base(self, spec: ContainerSpec, others: list[Record]) -> int:
        """Another sandbox's ids are known also while it does not run."""
        wanted = spec.namespaces.user.removeprefix("container:")
        for other in others:
            if wanted in (other.id, other.spec.name) and other.uid_base and not other.spec.id_map:
                return other.uid_base
        return self._joiner.uid_base(spec)

    def make_files(self, record: Record) -> None:
        """Its own layer and the names in it, before anything runs there."""
        self._store.make_layer(record)
        make_etc(record, self._store.home(record.id))
        self.write_etc(record)

    def make_spare_files(self, record: Record, home: str) -> None:
        """The same for who has no name yet. What is written later goes into files that are there: below an overlay that is
        mounted no directory may change (Documentation/filesystems/overlayfs.rst)."""
        self._store.make_layer(record, home)
        make_etc(record, home)

    def move_in(self, record: Record) -> None:
        """A spare's layer becomes this sandbox's."""
        self._store.take_spare(record.id)
        self.write_etc(record)

    def write_etc(self, record: Record) -> None:
        """Its names, into the files of ``make_etc``: later those are the sandbox's own, and we write there no more."""
        name = raw_plan.hostname(record.spec)
        address = record.attachment.address if record.attachment is not None else "127.0.1.1"
        on_host = record.spec.namespaces.net == "host"
        ipv6 = on_host or (record.attachment is not None and bool(record.attachment.address6))
        hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", f"{address}\t{name}"]
        if record.attachment is not None and record.attachment.address6:
            hosts.append(f"{record.attachment.address6}\t{name}")
        hosts += [f"{place}\t{host}" for host, place in record.spec.extra_hosts.items()]
        servers = resolver.resolv_conf(record.spec.dns, ipv6=ipv6, on_host=on_host)
        texts = (f"{name}\n", "".join(f"{one}\n" for one in hosts), servers)
        with _etc(self._store.home(record.id)) as etc:
            for file_name, text in zip(NAMES, texts, strict=True) if etc is not None else ():
                file = os.open(file_name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=etc)
                try:
                    os.write(file, text.encode())
                finally:
                    os.close(file)


def make_etc(record: Record, home: str) -> None:
    """Empty files for its names, in a layer that nothing runs in.

    A clone's layer has what the other one left there, so no link is followed.
    """
    place = f"{home}/upper/etc"
    with contextlib.suppress(FileExistsError):
        os.mkdir(place)
        os.chmod(place, 0o755)  # noqa: S103  whatever our umask is: everybody inside reads it
        os.chown(place, record.uid_base, record.uid_base)
    with _etc(home) as etc:
        for name in NAMES if etc is not None else ():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            try:
                file = os.open(name, flags, 0o600, dir_fd=etc)
            except FileExistsError:
                os.unlink(name, dir_fd=etc)
                file = os.open(name, flags, 0o600, dir_fd=etc)
            try:
                os.fchown(file, record.uid_base, record.uid_base)
                os.fchmod(file, 0o644)
            finally:
                os.close(file)


@contextlib.contextmanager
def _etc(home: str) -> Iterator[int | None]:
    """/etc of the layer; None where another one's root has put something else there."""
    try:
        etc = os.open(f"{home}/upper/etc", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield etc
    finally:
        os.close(etc)
