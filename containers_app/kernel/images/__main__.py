"""The import program: one task as JSON in its argument, its reports as lines of JSON on standard output.

It works in a mount and pid namespace of its own. Killing it, or its worker's death, ends all that it started and takes its
mounts along; what it wrote lies in its scratch directory until the last step, a rename.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import msgspec

from ...errors import Conflict, InvalidInput, TerrariumError
from ...spec import DebootstrapSource, DirectorySource, DockerImageSource, OciSource, ProgramsSource, PullSource, RegistrySource
from .. import syscalls as sc
from . import debootstrap, layers, programs, registry, views
from .confined import run_inside
from .reading import PIECE, Plain
from .references import parse_reference
from .store import Image, install_image, read_image, write_facts
from .task import Budget, Commit, CopyLayer, Defaults, Done, Export, Failed, Import, Reporter, Task, failed
from .tree import complete
from .unpack import Unpacker

_LEFT_OUT = {"devices": "device files", "attributes": "extended attributes"}
MEMORY = 3 << 30  # bytes of address space: no header or dictionary of a hostile stream fills the host's memory


def main(words: list[str]) -> int:
    """``words``: the task, and the worker's pid. Exit code 0 when something was reported; the last report tells."""
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(words[1]):
        return 1  # the worker has died before that
    task = msgspec.json.decode(words[0], type=Task)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWPID)
    ours = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) and 1
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([ours], [], [], 0)[0]:
        return 1
    os.close(ours)
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    reporter = Reporter()
    try:
        reporter.say(Done(execute(task, reporter)))
    except TerrariumError as error:
        reporter.say(failed(error))
    except MemoryError:
        reporter.say(Failed("too_large", "It takes too much memory to read.", "Pack it with smaller headers."))
    except FileNotFoundError as error:  # no mistake of ours: whoever owns it has removed it
        print(f"gone meanwhile: {error}", file=sys.stderr)
        reporter.say(Failed("kernel", "What it works on has gone meanwhile.", "Look whether it is still there, and try again."))
    except OSError as error:
        traceback.print_exc(file=sys.stderr)
        hint = (
            "Make room on the disk that holds the data directory." if error.errno in (28, 122) else "The worker's log says more."
        )
        reporter.say(Failed("kernel", f"The kernel refused: {error.strerror}.", hint))
    except Exception:
        traceback.print_exc(file=sys.stderr)
        reporter.say(Failed("internal", "The import made a mistake.", "The worker's log says more."))
    return 0


def execute(task: Task, reporter: Reporter) -> str:
    """Returns what is worth saying about it."""
    if isinstance(task, Import):
        return Importer(task, reporter).run()
    if isinstance(task, Commit):
        return commit(task, reporter)
    if isinstance(task, CopyLayer):
        reporter.progress("Copying its files")
        views.copy_layer(task.source, task.source_base, task.target, task.target_base, task.scratch)
        return ""
    return export(task)


def export(task: Export) -> str:
    process = views.pack(views.attach_view(task.view, task.scratch), task.output)
    os.close(task.output)
    views.finish(process)
    return ""


def commit(task: Commit, reporter: Reporter) -> str:
    reporter.progress("Copying its files")
    merged = views.attach_view(task.view, task.scratch)
    root = new_root(task.scratch)
    budget = Budget(task.bounds)
    facts, _ = unpack_packed(merged, root, budget, reporter, "Copying its files", task.defaults)
    views.detach(merged, f"{task.scratch}/layer", f"{task.scratch}/image")
    return finish(task, f"sandbox:{task.sandbox}", "", task.defaults, facts)


class Importer:
    def __init__(self, task: Import, reporter: Reporter) -> None:
        self._task, self._reporter = task, reporter
        self._budget = Budget(task.bounds)
        self._root = new_root(task.scratch)

    def run(self) -> str:
        task, source = self._task, self._task.source
        digest, defaults, origin = "", task.defaults, ""
        if isinstance(source, RegistrySource):
            reference = parse_reference(source.reference)
            layout = f"{task.scratch}/layout"
            fetched = Budget(task.bounds)
            registry.Registry(reference, task.registries, fetched).fetch(layout, self._reporter.progress)
            facts, defaults, digest = self._layers(layers.Directory(_open(layout)))
            origin = f"registry:{reference.host}/{reference.name}:{reference.tag}"
        elif isinstance(source, (OciSource, DockerImageSource)):
            facts, defaults, digest = self._layers(self._files())
            origin = f"oci:{source.path or 'upload'}" if isinstance(source, OciSource) else f"docker-image:{source.reference}"
        elif isinstance(source, DirectorySource):
            os.fchdir(_open(source.path))
            facts, _ = unpack_packed(".", self._root, self._budget, self._reporter, "Copying files", defaults)
            origin = f"directory:{source.path}"
        elif isinstance(source, ProgramsSource):
            facts, defaults = self._programs(source)
            origin = "programs:" + " ".join(source.programs)[:200]
        elif isinstance(source, DebootstrapSource):
            mirror = debootstrap.bootstrap(source, self._root, self._reporter)
            facts = run_inside(self._root, lambda: complete("0:0"))
            defaults = Defaults(command=("/bin/bash", "-c", "sleep infinity"))
            origin = f"debootstrap:{source.suite} {mirror}"
        else:
            descriptor = _open_file(source.path) if not task.stream and hasattr(source, "path") else 0
            total = os.fstat(descriptor).st_size if descriptor else 0
            facts, digest = unpack_stream(descriptor, self._root, self._budget, self._reporter, "Unpacking", defaults, total)
            assert not isinstance(source, PullSource)  # an engine's own, and refused at the border for this one
            origin = f"tar:{source.path or 'upload'}" if hasattr(source, "path") else f"docker-container:{source.container}"
        return finish(task, origin, digest, defaults, facts)

    def _files(self) -> layers.Files:
        """An uploaded archive and what Docker saves are read more than once: they are spooled first."""
        task = self._task
        path = getattr(task.source, "path", "")
        if path:
            return layers.Directory(_open(path)) if os.path.isdir(path) else self._archive(_open_file(path))
        return self._archive(0)

    def _archive(self, descriptor: int) -> layers.Files:
        spool, spooled = f"{self._task.scratch}/archive.tar", Budget(self._task.bounds)
        plain = Plain(descriptor, spooled, lambda count: self._reporter.progress("Receiving", count))
        with open(spool, "wb") as file:
            while data := plain.read(PIECE):
                file.write(data)
        return layers.Archive(spool, self._task.bounds.entries)

    def _layers(self, files: layers.Files) -> tuple[dict[str, str], Defaults, str]:
        found = layers.read_layers(files)
        unpacker = Unpacker(self._budget, lambda _: None)
        total, done = sum(blob.length for blob in found.blobs), 0

        def work() -> dict[str, str]:
            nonlocal done
            for number, blob in enumerate(found.blobs, 1):
                phase = f"Unpacking layer {number} of {len(found.blobs)}"
                before = done

                def told(count: int, phase: str = phase, before: int = before) -> None:
                    self._reporter.progress(phase, before + count, total)

                plain = Plain(blob.descriptor, self._budget, told, length=blob.length, hash_plain=blob.of_plain)
                unpacker.unpack(plain, whiteouts=True)
                if blob.digest and plain.digest != blob.digest:
                    raise InvalidInput("A layer is not what its digest says.", code="wrong_digest", hint="Fetch it again.")
                done += blob.length
            return complete(found.defaults.user) | unpacker.left_out

        return run_inside(self._root, work), found.defaults, found.digest

    def _programs(self, source: ProgramsSource) -> tuple[dict[str, str], Defaults]:
        self._reporter.progress("Looking for libraries")
        paths = programs.closure(source.programs)
        programs.copy(paths, self._root, self._budget)
        first = programs.find(source.programs[0])
        return run_inside(self._root, lambda: complete("0:0")), Defaults(command=(first,))


def new_root(scratch: str) -> str:
    """Its mode is set: whatever our umask is, a sandbox enters it."""
    root = f"{scratch}/rootfs"
    os.mkdir(root)
    os.chmod(root, 0o755)  # noqa: S103
    os.umask(0o022)
    return root


def unpack_packed(
    directory: str, root: str, budget: Budget, reporter: Reporter, phase: str, defaults: Defaults
) -> tuple[dict[str, str], str]:
    """What lies below one directory, into another: packed and unpacked, so that there is one way in."""
    reading, writing = os.pipe()
    process = views.pack(directory, writing)
    os.close(writing)
    try:
        found = unpack_stream(reading, root, budget, reporter, phase, defaults, 0)
    finally:
        os.close(reading)
        if process.poll() is None:
            process.terminate()
        process.wait()
    return found


def unpack_stream(
    descriptor: int, root: str, budget: Budget, reporter: Reporter, phase: str, defaults: Defaults, total: int
) -> tuple[dict[str, str], str]:
    """(facts of ``complete``, digest of the stream)"""
    unpacker = Unpacker(budget, lambda _: None)

    def work() -> dict[str, str]:
        plain = Plain(descriptor, budget, lambda count: reporter.progress(phase, count, total))
        unpacker.unpack(plain, whiteouts=False)
        return complete(defaults.user) | unpacker.left_out | {"digest": plain.digest}

    facts = run_inside(root, work)
    return facts, facts["digest"]


def finish(task: Import | Commit, source: str, digest: str, defaults: Defaults, facts: dict[str, str]) -> str:
    """Write image.json, see that all is on the disk, and give it its name."""
    scratch = Path(task.scratch)
    place = Path(task.images_dir, task.name)
    if read_image(task.images_dir, task.name) is not None:
        raise Conflict(f"There is an image “{task.name}” already.", hint="Choose another name.", code="name_taken")
    image = Image(
        name=task.name, source=source, digest=digest, created_at=time.time(), size=int(facts["size"]), command=defaults.command,
        env=defaults.env, cwd=defaults.cwd if defaults.cwd.startswith("/") else "/", user=facts["user"],
        owner=task.owner,
    )  # fmt: skip
    new = scratch / "new"
    new.mkdir(mode=0o700)
    (scratch / "rootfs").rename(new / "rootfs")
    write_facts(new, image)
    views.run(["sync", "-f", str(new)], "The image could not be written")
    install_image(new, place)
    left_out = [f"{facts[kind]} {words}" for kind, words in _LEFT_OUT.items() if facts.get(kind, "0") != "0"]
    return f"Left out: {', '.join(left_out)}." if left_out else ""


def _open(path: str) -> int:
    """A directory, by a path without links: the policy looked at this very path."""
    resolve = sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
    return sc.openat2(-100, path, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)


def _open_file(path: str) -> int:
    resolve = sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
    return sc.openat2(-100, path, os.O_RDONLY, resolve=resolve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
